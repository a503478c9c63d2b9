package batch

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/source"
	"millrace.dev/internal/watch"
	"millrace.dev/model"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// watched trains a model of flats, and returns how data is counted with it. Data is of the form of flatRows.
func watched(t *testing.T, every watch.Every, data string) (*model.Bundle, WatchOptions) {
	t.Helper()
	o := flats(t, flatRows(600))
	o.EventTime = "since"
	b, err := TrainModel(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "new.csv")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return b, WatchOptions{
		Data: path, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Windows: watch.Options{
			Every: every, By: "m", Reference: b.Profile.Select(func(c *profile.Column) bool { return c.Role != profile.Label }),
			Layout: profile.NewLayout(b.Schema, b.Plan.Inputs(), b.Manifest.Label).Unlabelled(),
		},
	}
}

// TestWatchTime holds windows of time, and the errors of their predictions, to what the records say one by one.
func TestWatchTime(t *testing.T) {
	t.Parallel()
	extra := []string{"50,Ulm,,400", "x,Ulm,2020-01-01,1", "50,Ulm,2099-01-01,1", "700,Ulm,2020-01-02,9", "60,Ulm,2020-01-02,"}
	b, o := watched(t, watch.Every{Time: 7 * 24 * time.Hour}, flatRows(2000, extra...))
	w, err := Watch(t.Context(), b, o)
	if err != nil {
		t.Fatal(err)
	}
	if w.Records != 2005 || w.Rejected != 1 || w.Untimed != 2 || !w.Labelled || w.Unlabelled != "" || w.Digest == "" {
		t.Errorf("%+v", w)
	}
	rows, labels := uint64(0), 0
	for i := range w.Windows {
		c := &w.Windows[i]
		rows += c.Profile.Rows
		labels += c.Errors.Rows
		if c.To-c.From != (7*24*time.Hour).Microseconds() || i > 0 && c.From < w.Windows[i-1].To {
			t.Errorf("window %d: %d to %d", i, c.From, c.To)
		}
	}
	// Of the records in windows one has no label, and one is what training leaves out.
	if rows != 2002 || labels != 2000 || len(w.Windows) != 5 {
		t.Errorf("%d rows, %d labels in %d windows", rows, labels, len(w.Windows))
	}
}

// TestWatchRecords holds windows of records to have just as many.
func TestWatchRecords(t *testing.T) {
	t.Parallel()
	for _, n := range []uint64{1, 100, 1024, 1500, 5000} {
		lines := 2500
		if n == 1 {
			lines = 30
		}
		text := strings.Replace(flatRows(lines), "20,Ulm", "x,Ulm", 1) // the first is rejected
		b, o := watched(t, watch.Every{Records: n}, text)
		w, err := Watch(t.Context(), b, o)
		if err != nil {
			t.Fatal(err)
		}
		rows := uint64(0)
		for i := range w.Windows {
			c := &w.Windows[i]
			if last := i == len(w.Windows)-1; c.Profile.Rows != n && !last || c.Profile.Rows > n || c.Window != int64(i) || c.Errors.Rows != int(c.Profile.Rows) {
				t.Errorf("window %d of %d records: number %d, %d rows, %d labels", i, n, c.Window, c.Profile.Rows, c.Errors.Rows)
			}
			rows += c.Profile.Rows
		}
		if rows != uint64(lines-1) {
			t.Errorf("%d rows in all", rows)
		}
	}
}

func TestWatchLabels(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(flatRows(300), ",rent", ",other")
	b, o := watched(t, watch.Every{Records: 1000}, text)
	w, err := Watch(t.Context(), b, o)
	if err != nil || w.Labelled || !strings.Contains(w.Unlabelled, "no column rent") {
		t.Errorf("%+v, %v", w, err)
	}
	sold := filepath.Join(t.TempDir(), "sold.jsonl")
	if err := os.WriteFile(sold, []byte(`{"city":"Ulm","paid":900}`+"\n"+`{"city":"Bonn","paid":100}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Labels = Labels{Data: sold, Key: "city", Field: "paid"}
	if w, err = Watch(t.Context(), b, o); err != nil || w.Windows[0].Errors.Rows != 200 {
		t.Errorf("labels by key: %+v, %v", w, err)
	}
	o.Labels.Key = "nowhere"
	if _, err = Watch(t.Context(), b, o); err == nil {
		t.Error("a key that is no field")
	}
	o.Labels = Labels{}
	o.Data = filepath.Join(t.TempDir(), "none.csv")
	if _, err = Watch(t.Context(), b, o); err == nil {
		t.Error("data that is not there")
	}
	var e *source.DataError
	o.Data = sold
	o.Windows.Every = watch.Every{Time: time.Hour}
	if w, err = Watch(t.Context(), b, o); errors.As(err, &e) || err == nil && len(w.Windows) > 0 {
		t.Errorf("records of another form: %+v, %v", w, err)
	}
}

// TestTooManyWindows bounds the memory.
func TestTooManyWindows(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("size,city,since,rent\n")
	for i := range mostWindows + 10 {
		fmt.Fprintf(&text, "50,Ulm,%s,1\n", time.Unix(int64(i), 0).UTC().Format(time.DateTime))
	}
	b, o := watched(t, watch.Every{Time: time.Second}, text.String())
	if _, err := Watch(t.Context(), b, o); !errors.Is(err, ErrManyWindows) {
		t.Error(err)
	}
}

// TestEffects holds effects to what the predictions of the records would have been before they were changed.
func TestEffects(t *testing.T) {
	t.Parallel()
	true0 := flatRows(3000)
	var changed strings.Builder
	for i, line := range strings.Split(strings.TrimSpace(true0), "\n") {
		if cells := strings.Split(line, ","); i > 0 {
			var size int
			if _, err := fmt.Sscan(cells[0], &size); err != nil {
				t.Fatal(err)
			}
			cells[0], cells[1] = fmt.Sprint(float64(size)/10), strings.Replace(cells[1], "Kiel", "KIEL", 1)
			line = strings.Join(cells, ",")
		}
		changed.WriteString(line + "\n")
	}
	mean := func(text string) float64 {
		b, o := watched(t, watch.Every{Records: 10_000}, text)
		w, err := Watch(t.Context(), b, o)
		if err != nil {
			t.Fatal(err)
		}
		c, _ := w.Windows[0].Profile.Column("prediction")
		return c.Mean
	}
	before, after := mean(true0), mean(changed.String())
	b, o := watched(t, watch.Every{Records: 10_000}, changed.String())
	w, err := Watch(t.Context(), b, o)
	if err != nil {
		t.Fatal(err)
	}
	e, err := FindEffects(t.Context(), b, o, &w.Windows[0], []string{"size", "city", "since", "big"})
	if err != nil {
		t.Fatal(err)
	}
	if d := float64(e.Together.Restored)/before - 1; math.Abs(d) > 0.01 || math.Abs(float64(e.Together.Mean)-after) > 1e-6*after || e.Together.Rows != 3000 {
		t.Errorf("all put back: %+v, want from %v to %v", e.Together, after, before)
	}
	if e.By["size"] == nil || e.By["city"] == nil || e.By["since"] != nil || float64(e.By["size"].Restored) < 1.5*after {
		t.Errorf("%+v", e.By)
	}
	if u := e.Unseen["city"]; len(u) != 1 || u[0].Text != "KIEL" || u[0].N != 1000 {
		t.Errorf("unseen: %v", e.Unseen)
	}
}

// TestPutBack holds what is put back to the distribution of the reference, with as few changes as can be.
func TestPutBack(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	ref := &profile.Column{
		Kind: profile.Number, Rows: 100, Missing: 20, Min: 1, Max: 4, Edges: []float64{1, 2, 3, 4}, Counts: []uint64{20, 20, 20, 20, 0}, Distinct: 4,
	}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, missing := range []int{0, 200, 500, 1000} {
		x := make([]float64, 1000)
		for i := range x {
			x[i] = float64(10 * (1 + rng.IntN(4)))
			if i < missing {
				x[i] = nan
			}
		}
		rng.Shuffle(len(x), func(i, j int) { x[i], x[j] = x[j], x[i] })
		was := slices.Clone(x)
		putBackNumbers(x, ref)
		n := map[float64]int{}
		for i, v := range x {
			if v != v {
				n[0]++
				continue
			}
			n[v]++
			for j := range x[:i] {
				if was[i] < was[j] && v > x[j] { // of those that were there
					t.Fatalf("seed %d: the order of %v and %v has changed", seed, was[i], was[j])
				}
			}
		}
		for v := range 5 {
			if n[float64(v)] != 200 {
				t.Errorf("seed %d, %d missing: %v", seed, missing, n)
				break
			}
		}
	}

	levels := &profile.Column{Kind: profile.Level, Rows: 100, Missing: 10, Levels: []string{"a", "b", "c"}, Counts: []uint64{40, 30, 20, 0}}
	code := func(level string) int32 { return int32(level[0] - 'a') }
	codes := make([]int32, 1000)
	for i := range codes {
		codes[i] = []int32{7, 7, 7, 7, 1, 1, 1, 2, 2, record.MissingCode}[i%10] // a was renamed
	}
	was := slices.Clone(codes)
	putBackLevels(codes, levels, code)
	for i, c := range codes {
		if want := was[i]; want == 7 && c != 0 || want != 7 && c != want {
			t.Fatalf("record %d went from %d to %d", i, want, c)
		}
	}
	for i := range codes {
		codes[i] = record.MissingCode
	}
	putBackLevels(codes, levels, code)
	n := map[int32]int{}
	for _, c := range codes {
		n[c]++
	}
	if n[0] != 400 || n[1] != 300 || n[2] != 200 || n[record.MissingCode] != 100 {
		t.Errorf("all missing: %v", n)
	}
	putBackLevels(nil, levels, code)
	putBackNumbers(nil, ref)
}
