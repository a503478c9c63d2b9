package remote

import (
	"context"
	"errors"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"millrace.dev/record"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a server that predicts the number in a row's only column, but for what its function says.
type fake struct {
	mu    sync.Mutex
	calls [][]float64 // the numbers of each call
	says  func(n int, numbers []float64) *Error
}

func (f *fake) call(ctx context.Context, r *Request, rows []int) (*Answer, *Error) {
	a := &Answer{Model: "fake@1"}
	for _, row := range rows {
		a.Scores = append(a.Scores, r.Frame.Columns[0].Numbers[row])
	}
	f.mu.Lock()
	f.calls = append(f.calls, slices.Clone(a.Scores))
	n := len(f.calls)
	f.mu.Unlock()
	if f.says != nil {
		if err := f.says(n, a.Scores); err != nil {
			if errors.Is(err.Err, errTimeout) {
				<-ctx.Done()
			}
			return nil, err
		}
	}
	return a, nil
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls)
}

func faked(t *testing.T, o Options, says func(n int, numbers []float64) *Error) (*client, *fake) {
	t.Helper()
	f := &fake{says: says}
	r := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	o.Random = func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64()
	}
	c := newClient(withDefaults(o), "http://fake", f, func() {})
	t.Cleanup(c.Close)
	return c, f
}

// numbers returns a request for rows with one column.
func numbers(values ...float64) *Request {
	r := &Request{Frame: &record.Frame{Rows: len(values), Columns: []record.Column{{Name: "x", Type: record.Numeric, Numbers: values}}}}
	for i := range values {
		r.Rows = append(r.Rows, i)
	}
	return r
}

func fails(class Class) *Error { return &Error{Class: class, Err: errors.New("it fails")} }

// refuses returns a server that refuses calls with one of these numbers.
func refuses(class Class, bad ...float64) func(int, []float64) *Error {
	return func(_ int, have []float64) *Error {
		for _, v := range bad {
			if slices.Contains(have, v) {
				return fails(class)
			}
		}
		return nil
	}
}

func TestScoreRetries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		retries int
		fail    int // the first so many calls
		class   Class
		calls   int
	}{
		{"none", 0, 0, "", 1},
		{"one failure, no retry", 0, 1, Unavailable, 1},
		{"one failure", 2, 1, "", 2},
		{"two failures", 2, 2, "", 3},
		{"too many", 1, 100, Unavailable, 2},
		{"too many, and each row alone too", 2, 100, Unavailable, 6},
		{"without end", -1, 30, "", 31},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m, f := faked(t, Options{Retries: c.retries}, func(n int, _ []float64) *Error {
					if n <= c.fail {
						return fails(Unavailable)
					}
					return nil
				})
				a, err := m.Score(t.Context(), numbers(1, 2, 3))
				if c.class != "" {
					if e, ok := errors.AsType[*Error](err); !ok || e.Class != c.class || e.Where != "http://fake" {
						t.Fatalf("got %v, want class %s", err, c.class)
					}
				} else if err != nil || !slices.Equal(a.Scores, []float64{1, 2, 3}) || a.Problems != nil || a.Model != "fake@1" {
					t.Fatalf("got %+v, %v", a, err)
				}
				if f.count() != c.calls {
					t.Errorf("%d calls, want %d", f.count(), c.calls)
				}
			})
		})
	}
}

func TestPauseIsJitteredAndBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, _ := faked(t, Options{}, nil)
		for tries := 1; tries < 40; tries++ {
			bound := min(maxPause, minPause<<min(tries-1, 10))
			seen := map[time.Duration]bool{}
			for range 20 {
				start := time.Now()
				if !m.pause(t.Context(), tries, 0) {
					t.Fatal("the pause has failed")
				}
				d := time.Since(start)
				if d > bound {
					t.Fatalf("try %d: a pause of %v, more than %v", tries, d, bound)
				}
				seen[d] = true
			}
			if len(seen) < 15 {
				t.Errorf("try %d: %d different pauses among 20", tries, len(seen))
			}
		}
		start := time.Now()
		if m.pause(t.Context(), 1, 3*time.Second); time.Since(start) < 3*time.Second {
			t.Error("Retry-After is not kept to")
		}
	})
}

func TestHalving(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(rt, "rows")
		class := rapid.SampledFrom([]Class{Refused, Failed, Invalid}).Draw(rt, "class")
		retries := rapid.SampledFrom([]int{-1, 0, 5}).Draw(rt, "retries")
		switch class {
		case Invalid:
			retries = 5 // without tries enough, it is not known to be the row's fault
		case Failed:
			retries = max(0, retries) // who waits without end blames no row
		default:
		}
		bad := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, min(n, 5), rapid.ID).Draw(rt, "bad")
		var values, poison []float64
		for i := range n {
			values = append(values, float64(i))
		}
		for _, i := range bad {
			poison = append(poison, float64(i))
		}
		synctest.Test(t, func(t *testing.T) {
			m, f := faked(t, Options{Retries: retries}, refuses(class, poison...))
			if _, err := m.Score(t.Context(), numbers(-1)); err != nil { // as golden rows are
				rt.Fatal(err)
			}
			a, err := m.Score(t.Context(), numbers(values...))
			if err != nil {
				rt.Fatal(err)
			}
			for i := range n {
				isBad := slices.Contains(bad, i)
				var p *record.Problem
				if a.Problems != nil {
					p = a.Problems[i]
				}
				if (p != nil) != isBad || p == nil && a.Scores[i] != values[i] {
					rt.Fatalf("row %d: problem %v, score %v", i, p, a.Scores[i])
				}
				if p != nil && (p.Stage != record.StageScore || p.Class != string(class)) {
					rt.Fatalf("row %d: %+v", i, p)
				}
			}
			// Each row at fault is looked for through a level for each bit of n, with two halves, their tries and a witness.
			if most := 2 + len(bad)*(bits.Len(uint(n))+1)*2*(persistent+2); f.count() > most {
				rt.Fatalf("%d calls, want at most %d", f.count(), most)
			}
			if got := m.Stats().Refused; got != uint64(len(bad)) {
				rt.Fatalf("%d rows counted, want %d", got, len(bad))
			}
		})
	})
}

// TestEverythingRefused tells a server that is set up otherwise, or not ready, from rows at fault.
func TestEverythingRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		rows int
		most int // calls
	}{{"one row", 1, 1}, {"a few", 4, 5}, {"a batch", 1000, candidates + 1}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, f := faked(t, Options{}, func(int, []float64) *Error { return fails(Refused) })
			_, err := m.Score(t.Context(), numbers(make([]float64, c.rows)...))
			if e, ok := errors.AsType[*Error](err); !ok || e.Class != Refused {
				t.Fatalf("got %v", err)
			}
			if f.count() > c.most {
				t.Errorf("%d calls, want at most %d", f.count(), c.most)
			}
		})
	}
	t.Run("after it has predicted", func(t *testing.T) {
		t.Parallel()
		broken := false
		m, f := faked(t, Options{}, func(int, []float64) *Error {
			if broken {
				return fails(Refused)
			}
			return nil
		})
		if _, err := m.Score(t.Context(), numbers(1, 2)); err != nil {
			t.Fatal(err)
		}
		broken = true
		if a, err := m.Score(t.Context(), numbers(3)); err == nil {
			t.Errorf("got %+v: a record is blamed for what its server does", a)
		}
		if f.count() != 3 {
			t.Errorf("%d calls, want 3", f.count())
		}
	})
	t.Run("but for some rows", func(t *testing.T) { // the first batch ever has a bad row
		t.Parallel()
		m, _ := faked(t, Options{}, refuses(Refused, 5))
		a, err := m.Score(t.Context(), numbers(1, 2, 3, 4, 5, 6))
		if err != nil || a.Problems[4] == nil || a.Scores[5] != 6 {
			t.Errorf("got %+v, %v", a, err)
		}
	})
}

// TestPatient has a server that fails at one row for a while, and predicts others: who waits without end blames no row.
func TestPatient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		m, _ := faked(t, Options{Retries: -1}, func(_ int, have []float64) *Error {
			if slices.Contains(have, 3) && time.Since(start) < time.Hour {
				return fails(Failed)
			}
			return nil
		})
		a, err := m.Score(t.Context(), numbers(1, 2, 3, 4))
		if err != nil || a.Problems != nil || a.Scores[2] != 3 || time.Since(start) < time.Hour {
			t.Errorf("got %+v, %v after %v", a, err, time.Since(start))
		}
	})
}

// TestSlowRow has a row at which the server hangs: no row is blamed for that, and a batch that is too much is halved.
func TestSlowRow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, _ := faked(t, Options{Retries: -1}, func(_ int, have []float64) *Error {
			if len(have) > 4 {
				return &Error{Class: Unavailable, Err: errTimeout}
			}
			return nil
		})
		if _, err := m.Score(t.Context(), numbers(0)); err != nil {
			t.Fatal(err)
		}
		if a, err := m.Score(t.Context(), numbers(1, 2, 3, 4, 5, 6, 7)); err != nil || a.Problems != nil {
			t.Errorf("got %+v, %v", a, err)
		}
		m, _ = faked(t, Options{Retries: -1}, func(_ int, have []float64) *Error {
			if slices.Contains(have, 3) {
				return &Error{Class: Unavailable, Err: errTimeout}
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := m.Score(ctx, numbers(1, 2)); err != nil {
			t.Fatal(err)
		}
		if a, err := m.Score(ctx, numbers(3)); err == nil {
			t.Errorf("got %+v", a)
		}
	})
}

func TestNotFinite(t *testing.T) {
	t.Parallel()
	m, _ := faked(t, Options{}, nil)
	a, err := m.Score(t.Context(), numbers(1, math.NaN(), math.Inf(1), math.Inf(-1), 0))
	if err != nil {
		t.Fatal(err)
	}
	want := &record.Problem{Stage: record.StageScore, Class: "not_finite", Reason: "the prediction is not a finite number"}
	if diff := cmp.Diff([]*record.Problem{nil, want, want, want, nil}, a.Problems); diff != "" {
		t.Error(diff)
	}
	if a.Scores[0] != 1 || a.Scores[4] != 0 {
		t.Errorf("got %v", a.Scores)
	}
}

func TestNoRows(t *testing.T) {
	t.Parallel()
	m, f := faked(t, Options{}, nil)
	if a, err := m.Score(t.Context(), numbers()); err != nil || len(a.Scores) != 0 || f.count() != 0 {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestTimeoutAndTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen []Call
		var mu sync.Mutex
		m, _ := faked(t, Options{Timeout: 3 * time.Second, Connections: 2, Observe: func(c Call) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, c)
		}}, func(int, []float64) *Error { return &Error{Class: Unavailable, Err: errTimeout} })
		start := time.Now()
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if _, err := m.Score(t.Context(), numbers(1, 2)); !errors.Is(err, errTimeout) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		if n := m.Stats().InFlight; n != 2 {
			t.Errorf("%d calls are under way, want 2", n)
		}
		group.Wait()
		if d := time.Since(start); d != 6*time.Second { // the time of a call begins with its turn
			t.Errorf("it took %v", d)
		}
		want := Call{Rows: 2, Duration: 3 * time.Second, Class: Unavailable}
		for i := range seen {
			if !errors.Is(seen[i].Err, errTimeout) {
				t.Errorf("call %d: %v", i, seen[i].Err)
			}
			seen[i].Err = nil
		}
		if diff := cmp.Diff([]Call{want, want, want, want}, seen); diff != "" {
			t.Error(diff)
		}
		s := m.Stats()
		if s.Calls != 4 || s.Failures[Unavailable] != 4 || s.Rows != 0 || s.InFlight != 0 || s.State != Closed {
			t.Errorf("got %+v", s)
		}
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, _ := faked(t, Options{Timeout: time.Hour, Retries: -1}, func(int, []float64) *Error { return &Error{Class: Unavailable, Err: errTimeout} })
		done := make(chan error)
		go func() {
			_, err := m.Score(t.Context(), numbers(1))
			done <- err
		}()
		synctest.Wait()
		go m.Close()
		if err := <-done; !errors.Is(err, errClosed) {
			t.Errorf("got %v", err)
		}
		if _, err := m.Score(t.Context(), numbers(1)); !errors.Is(err, errClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// TestWitnessIsACopy holds on to nothing that the caller uses again.
func TestWitnessIsACopy(t *testing.T) {
	t.Parallel()
	m, f := faked(t, Options{}, refuses(Refused, 9))
	r := numbers(7)
	r.Frame.Columns = append(r.Frame.Columns, record.Column{Name: "l", Type: record.Enum, Codes: []int32{0}, Levels: []string{"a"}})
	value := []byte("{}")
	r.Value = func(int) []byte { return value }
	if _, err := m.Score(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.Frame.Columns[0].Numbers[0], r.Frame.Columns[1].Codes[0], value[0] = 9, -1, 'x'
	if a, err := m.Score(t.Context(), r); err != nil || a.Problems[0] == nil {
		t.Fatalf("got %+v, %v", a, err)
	}
	if last := f.calls[len(f.calls)-1]; !slices.Equal(last, []float64{7}) {
		t.Errorf("the witness is %v", last)
	}
	if w := m.known(); w.Frame.Columns[1].Codes[0] != 0 || string(w.Value(0)) != "{}" {
		t.Errorf("the witness is %+v", w)
	}
}
