package serve_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/serve"
)

// TestSameBits sends random requests from many goroutines, and wants of each row what the path makes of it alone.
func TestSameBits(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	for _, o := range []serve.Options{
		{Workers: 1, MaxRows: 1},
		{Workers: 1, MaxRows: 7, Queue: 1 << 20},
		{Workers: 2},
		{Workers: 3, MaxRows: 33, MaxWait: 100 * time.Microsecond},
		{Workers: 8, MaxRows: 100, MaxWait: time.Millisecond},
	} {
		t.Run(fmt.Sprintf("workers %d rows %d wait %s", o.Workers, o.MaxRows, o.MaxWait), func(t *testing.T) {
			t.Parallel()
			o.Queue = 1 << 20
			m := begin(t, newRegistry(w, 2, 1, 2), o)
			var all sync.WaitGroup
			for seed := range uint64(12) {
				all.Go(func() {
					r := rand.New(rand.NewPCG(seed, 1))
					for range 25 {
						request(t, w, m, r)
					}
				})
			}
			all.Wait()
			if n := m.Waiting(); n != 0 {
				t.Errorf("%d rows wait when all is done", n)
			}
		})
	}
}

// request sends a random request, and compares the answer.
func request(t *testing.T, w *world, m *serve.Models, r *rand.Rand) {
	version := 1 + r.IntN(2)
	v, err := m.Open(t.Context(), "house-prices", strconv.Itoa(version))
	if err != nil {
		t.Error(err)
		return
	}
	from := r.IntN(len(w.records))
	to := from + r.IntN(len(w.records)-from+1)
	want := w.want[version][from:to]
	var rows []serve.Row
	switch kind := r.IntN(10); {
	case kind == 0:
		to = min(to, from+20)
		want = w.want[version][from:to]
		rows, err = v.Predict(t.Context(), w.raw(from, to), serve.PredictOptions{Explain: true})
	case kind < 4:
		if rows, err = v.Score(t.Context(), w.rows(from, to)); err != nil {
			t.Error(err)
		}
		sameScores(t, rows, want)
		return
	default:
		rows, err = v.Predict(t.Context(), w.raw(from, to), serve.PredictOptions{})
		want = withoutExplanations(want)
	}
	if err != nil {
		t.Error(err)
		return
	}
	if len(rows) != len(want) || len(want) > 0 && !reflect.DeepEqual(want, rows) { // a difference takes long to tell
		t.Errorf("records %d to %d of version %d (-want +got):\n%s", from, to, version, cmp.Diff(want, rows))
	}
}

// sameScores compares predictions of inputs bit by bit; of a row without inputs there is nothing to compare.
func sameScores(t *testing.T, rows, want []serve.Row) {
	t.Helper()
	if len(rows) != len(want) {
		t.Errorf("%d rows, want %d", len(rows), len(want))
		return
	}
	for i := range want {
		if want[i].Problem == nil && (math.Float64bits(rows[i].Prediction) != math.Float64bits(want[i].Prediction) || rows[i].Problem != nil) {
			t.Errorf("row %d: %v, want %v", i, rows[i].Prediction, want[i].Prediction)
		}
	}
}

func withoutExplanations(rows []serve.Row) []serve.Row {
	out := make([]serve.Row, len(rows))
	for i, r := range rows {
		r.Explanation = nil
		out[i] = r
	}
	return out
}

// TestWorldHasAll wants the records of the tests to have what they are to have: else they would prove less.
func TestWorldHasAll(t *testing.T) {
	t.Parallel()
	classes, checks, differ := map[string]int{}, map[string]int{}, 0
	w := theWorld(t)
	for i, r := range w.want[1] {
		if r.Problem != nil {
			classes[r.Problem.Class]++
			continue
		}
		checks[r.Checks]++
		if r.Prediction != w.want[2][i].Prediction {
			differ++
		}
		sum := r.Explanation.Expected
		for _, in := range r.Explanation.Inputs {
			sum += in.Adds
		}
		if math.Abs(sum-r.Prediction) > 1e-6*r.Prediction {
			t.Errorf("record %d: the inputs add up to %v, and the prediction is %v", i, sum, r.Prediction)
		}
	}
	for _, class := range []string{"invalid_json", "wrong_type", "bare"} {
		if classes[class] == 0 {
			t.Errorf("no record has a problem of class %s: %v", class, classes)
		}
	}
	for _, names := range []string{"", "large", "high", "large,high"} {
		if checks[names] == 0 {
			t.Errorf("no record breaks just the rules %q: %v", names, checks)
		}
	}
	if differ < 200 {
		t.Errorf("the versions differ in %d records", differ)
	}
}

// TestWait holds to how long rows wait: for a worker alone, or at most MaxWait until their batch is full.
func TestWait(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	for _, test := range []struct {
		name string
		wait time.Duration
		rows int
		want time.Duration
	}{
		{"an idle worker takes a row at once", 0, 1, 0},
		{"a row waits for others", 20 * time.Millisecond, 1, 20 * time.Millisecond},
		{"a full batch waits for nothing", 20 * time.Millisecond, 10, 0},
		{"what is left of a large request waits no longer", 20 * time.Millisecond, 13, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := begin(t, newRegistry(w, 1, 1), serve.Options{Workers: 2, MaxRows: 10, MaxWait: test.wait})
				began := time.Now()
				if _, err := open(t, m, "").Predict(t.Context(), w.raw(0, test.rows), serve.PredictOptions{}); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != test.want {
					t.Errorf("it took %s, want %s", took, test.want)
				}
			})
		})
	}
}

// TestOneBatch puts rows of several requests into one batch.
func TestOneBatch(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	synctest.Test(t, func(t *testing.T) {
		m := begin(t, newRegistry(w, 1, 1), serve.Options{Workers: 2, MaxRows: 100, MaxWait: time.Millisecond})
		v := open(t, m, "")
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				if _, err := v.Predict(t.Context(), w.raw(i, i+3), serve.PredictOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if s := m.Stats()[0].Versions[0]; s.Requests != 10 || s.Rows != 30 || s.Batches != 1 || s.Sizes.Sum != 30 {
			t.Errorf("%d requests with %d rows in %d batches with %d, want 10 with 30 in 1", s.Requests, s.Rows, s.Batches, s.Sizes.Sum)
		}
	})
}

// TestCancel ends requests that wait; others are answered.
func TestCancel(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	synctest.Test(t, func(t *testing.T) {
		m := begin(t, newRegistry(w, 1, 1), serve.Options{Workers: 1, MaxRows: 100, MaxWait: time.Second})
		v := open(t, m, "")
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := v.Predict(ctx, w.raw(0, 5), serve.PredictOptions{}); !errors.Is(err, context.Canceled) {
					t.Errorf("%v, want that it was cancelled", err)
				}
			})
		}
		all.Go(func() {
			rows, err := v.Predict(t.Context(), w.raw(0, 2), serve.PredictOptions{})
			if diff := cmp.Diff(withoutExplanations(w.want[1][:2]), rows); err != nil || diff != "" {
				t.Errorf("%v, (-want +got):\n%s", err, diff)
			}
		})
		synctest.Wait()
		if n := m.Waiting(); n != 17 {
			t.Errorf("%d rows wait, want 17", n)
		}
		began := time.Now()
		cancel()
		synctest.Wait()
		if n := m.Waiting(); n != 2 || time.Since(began) != 0 {
			t.Errorf("%d rows wait after %s, want 2 at once", n, time.Since(began))
		}
		all.Wait()
		if s := m.Stats()[0].Versions[0]; s.Cancelled != 3 || s.Rows != 2 {
			t.Errorf("%d requests were cancelled, and %d rows predicted: want 3 and 2", s.Cancelled, s.Rows)
		}
		if _, err := v.Predict(ctx, w.raw(0, 2), serve.PredictOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want that nobody waits for it", err)
		}
	})
}

// TestBusy refuses what the queue has no room for, and nothing else.
func TestBusy(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	synctest.Test(t, func(t *testing.T) {
		m := begin(t, newRegistry(w, 1, 1), serve.Options{Workers: 1, MaxRows: 100, MaxWait: time.Second, Queue: 20})
		v := open(t, m, "")
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if rows, err := v.Predict(t.Context(), w.raw(0, 5), serve.PredictOptions{}); err != nil || len(rows) != 5 {
					t.Errorf("%d rows, %v", len(rows), err)
				}
			})
		}
		synctest.Wait()
		_, err := v.Predict(t.Context(), w.raw(0, 1), serve.PredictOptions{})
		busy, ok := errors.AsType[*serve.BusyError](err)
		if !ok || !errors.Is(err, serve.ErrBusy) || busy.Waiting != 20 || busy.RetryAfter <= 0 {
			t.Errorf("%v, want that 20 rows wait, and when to try again", err)
		}
		all.Wait()
		if rows, err := v.Predict(t.Context(), w.raw(0, 150), serve.PredictOptions{}); err != nil || len(rows) != 150 {
			t.Errorf("%d rows, %v: a request that is larger than the queue has to pass where nothing waits", len(rows), err)
		}
		if s := m.Stats()[0].Versions[0]; s.Busy != 1 || s.Requests != 5 {
			t.Errorf("%d busy, %d requests: want 1 and 5", s.Busy, s.Requests)
		}
	})
}

// TestClose answers what waits, and refuses what comes then.
func TestClose(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	synctest.Test(t, func(t *testing.T) {
		m, err := serve.New(serve.Options{Models: []serve.ModelOptions{{Name: "house-prices", Source: newRegistry(w, 1, 1)}}, Workers: 2, MaxRows: 100, MaxWait: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		v := open(t, m, "")
		var all sync.WaitGroup
		all.Go(func() {
			if rows, err := v.Predict(t.Context(), w.raw(0, 5), serve.PredictOptions{}); err != nil || len(rows) != 5 {
				t.Errorf("%d rows, %v", len(rows), err)
			}
		})
		synctest.Wait()
		m.Drain()
		if err := m.Ready(); !errors.Is(err, serve.ErrDraining) {
			t.Errorf("ready: %v", err)
		}
		if err := m.ModelReady("house-prices", ""); !errors.Is(err, serve.ErrDraining) {
			t.Errorf("the model is ready: %v", err)
		}
		all.Go(func() {
			if rows, err := v.Score(t.Context(), w.rows(0, 5)); err != nil || len(rows) != 5 {
				t.Errorf("%d rows of inputs, %v", len(rows), err)
			}
		})
		synctest.Wait()
		m.Close()
		all.Wait()
		if _, err := v.Predict(t.Context(), w.raw(0, 1), serve.PredictOptions{}); !errors.Is(err, serve.ErrDraining) {
			t.Errorf("%v, want that it is about to end", err)
		}
	})
}

// TestWrongFrame returns an error for inputs that are not those of the model.
func TestWrongFrame(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	m := begin(t, newRegistry(w, 1, 1), serve.Options{})
	v := open(t, m, "")
	few := w.rows(0, 5)
	few.Columns = few.Columns[1:]
	short := w.rows(0, 5)
	short.Rows = 6
	short.Columns[0].Numbers = short.Columns[0].Numbers[:5:5]
	swapped := w.rows(0, 5)
	for i := range swapped.Columns {
		if swapped.Columns[i].Type != swapped.Columns[0].Type {
			swapped.Columns[0], swapped.Columns[i] = swapped.Columns[i], swapped.Columns[0]
			break
		}
	}
	if rows, err := v.Score(t.Context(), few); err == nil {
		t.Errorf("%d rows of too few inputs", len(rows))
	}
	if rows, err := v.Score(t.Context(), short); err == nil {
		t.Errorf("%d rows of inputs that have fewer", len(rows))
	}
	if rows, err := v.Score(t.Context(), swapped); err == nil {
		t.Errorf("%d rows of inputs of other types", len(rows))
	}
}

// TestAllocations wants memory to be asked for by request, and not by row.
func TestAllocations(t *testing.T) { //nolint:paralleltest // others would count
	w := theWorld(t)
	m := begin(t, newRegistry(w, 1, 1), serve.Options{Workers: 1, Refresh: time.Hour})
	v := open(t, m, "")
	var good []int
	for i, r := range w.want[1] {
		if r.Problem == nil && r.Checks == "" {
			good = append(good, i)
		}
	}
	for _, n := range []int{1, len(good)} {
		records := w.raw(0, 0)
		for _, i := range good[:n] {
			records = append(records, w.raw(i, i+1)...)
		}
		frame := w.rows(0, n)
		predict := testing.AllocsPerRun(50, func() {
			if _, err := v.Predict(t.Context(), records, serve.PredictOptions{}); err != nil {
				t.Error(err)
			}
		})
		score := testing.AllocsPerRun(50, func() {
			if _, err := v.Score(t.Context(), frame); err != nil {
				t.Error(err)
			}
		})
		if predict > 12 || score > 12 { // some for each level that training has not seen
			t.Errorf("%d rows: %v allocations for records, %v for inputs: want at most 12", n, predict, score)
		}
	}
}

func BenchmarkPredict(b *testing.B) {
	w := theWorld(b)
	for _, n := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("rows=%d", n), func(b *testing.B) {
			m := begin(b, newRegistry(w, 2, 2), serve.Options{Refresh: time.Hour, Queue: 1 << 20})
			v := open(b, m, "")
			b.SetParallelism(4)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				records := w.raw(0, n)
				for pb.Next() {
					if _, err := v.Predict(b.Context(), records, serve.PredictOptions{}); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			runtime.KeepAlive(m)
		})
	}
}
