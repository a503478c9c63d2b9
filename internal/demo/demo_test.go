package demo

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace.dev/gbm"
	"millrace.dev/internal/app"
	"millrace.dev/internal/config"
	"millrace.dev/internal/house"
	"millrace.dev/internal/testenv"
	"millrace.dev/record"
)

func options(t *testing.T) Options {
	t.Helper()
	return Options{
		App: &app.App{
			Log: slog.New(slog.DiscardHandler), Now: time.Now, Version: "test",
			Env: func(string) (string, bool) { return "", false },
		},
		Dir: filepath.Join(t.TempDir(), "demo"), Duration: 2 * time.Second, Rate: 500,
		Show: Show{
			Step:  func(title string) { t.Log(title) },
			Say:   func(format string, args ...any) { t.Logf(format, args...) },
			Round: func(gbm.Round) {}, Trained: func(*app.Trained) {}, Live: func(Live) {},
		},
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	o := options(t)
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Records < 91_000 || r.Predictions+r.DeadLetters != r.Records || r.DeadLetters == 0 || r.Mismatches != 0 {
		t.Errorf("%+v: %s", r, r.First)
	}
	if r.R2 == nil || r.Ceiling == nil || *r.R2 < 0.7 || *r.Ceiling > 0.95 {
		t.Errorf("r2 %v of %v", r.R2, r.Ceiling)
	}
	holdChecks(t, r)
	// What it leaves is a pipeline that works on.
	p, err := o.App.Load(filepath.Join(r.Dir, "pipeline.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	split := (&demo{}).split()
	want := config.Split{Train: split.Train, Validation: split.Validation, Test: split.Test, Seed: uint64(split.Seed)}
	if p.Train.Split != want {
		t.Errorf("the pipeline file splits by %+v, the demo by %+v", p.Train.Split, want)
	}
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a folder that is not empty: %v", err)
	}
}

// holdChecks holds the checks of a demo to pass all windows of sales, and none of mock houses, and to say why.
func holdChecks(t *testing.T, r *Result) {
	t.Helper()
	c := &r.Checks
	if h := c.Houses; h.Windows < 3 || h.OK != h.Windows {
		t.Errorf("windows of sales: %+v", h)
	}
	if m := c.Mock; m.Windows < 1 || m.Fail != m.Windows {
		t.Errorf("windows of mock houses: %+v", m)
	}
	for _, want := range []string{
		`^prediction: the median went from .* to .*, -..*: limit 10 %$`, `^condition: 2. % have a value that training has never seen$`,
		`^floors: 6. % are 0 to 1, 4. % in training, where none is below 1$`, `^statezip: 100 % are WA 98155, 1\.. % in training$`,
	} {
		if !slices.ContainsFunc(c.Words, regexp.MustCompile(want).MatchString) {
			t.Errorf("the demo does not say %s, but %q", want, c.Words)
		}
	}
}

func TestDemoOnRealSales(t *testing.T) {
	if testing.Short() {
		t.Skip("what runs at a time is the same as in TestDemo")
	}
	t.Parallel()
	o := options(t)
	o.Data = filepath.Join(testenv.Data(t), "housedata.csv")
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Mismatches != 0 || r.Ceiling != nil || r.R2 == nil || *r.R2 < 0.5 {
		t.Errorf("%+v: %s", r, r.First)
	}
	holdChecks(t, r)
}

func TestDemoRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":         "",
		"other columns": "a,b\n1,2\n",
		"no number":     house.CSVHeader + strings.Repeat("2014-05-02 00:00:00,x"+strings.Repeat(",1", 16)+"\n", 50),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.Data = filepath.Join(t.TempDir(), "sales.csv")
			if err := os.WriteFile(o.Data, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Run(t.Context(), o)
			if code, hint := app.Explain(err); code != app.Usage || !strings.Contains(hint, "millrace init") {
				t.Errorf("code %d, hint %q, error %v", code, hint, err)
			}
		})
	}
}

// TestCheckerFinds holds the demo's own check to finding what can go wrong.
func TestCheckerFinds(t *testing.T) {
	t.Parallel()
	good := record.Raw{Key: []byte("a"), Value: []byte(`{"predicted_price":1}`)}
	bad := record.Raw{Key: []byte("b"), Value: []byte("{"), Headers: []record.Header{{Key: "millrace.dlq.class", Value: []byte("invalid_json")}}}
	changed := func(r record.Raw, change func(*record.Raw)) record.Raw {
		change(&r)
		return r
	}
	type results struct{ predictions, letters []record.Raw }
	for name, c := range map[string]struct {
		wrong   bool
		results results
	}{
		"right":        {false, results{[]record.Raw{good}, []record.Raw{bad}}},
		"lost":         {true, results{nil, []record.Raw{bad}}},
		"twice":        {true, results{[]record.Raw{good, good}, nil}}, // and the other one is lost
		"other bytes":  {true, results{[]record.Raw{changed(good, func(r *record.Raw) { r.Value = []byte(`{"predicted_price":2}`) })}, []record.Raw{bad}}},
		"other letter": {true, results{[]record.Raw{good}, []record.Raw{changed(bad, func(r *record.Raw) { r.Value = []byte("}") })}}},
		"other class":  {true, results{[]record.Raw{good}, []record.Raw{changed(bad, func(r *record.Raw) { r.Headers = nil })}}},
		"predicted":    {true, results{[]record.Raw{good, changed(good, func(r *record.Raw) { r.Key = bad.Key })}, nil}},
		"stranger":     {true, results{[]record.Raw{good, changed(good, func(r *record.Raw) { r.Key = []byte("c") })}, []record.Raw{bad}}},
	} {
		list := []listing{{key: []byte("a"), want: good.Value, price: 1, times: 2}, {key: []byte("b"), value: bad.Value, fault: house.InvalidJSON, times: 2}}
		check := newChecker(list)
		for range 2 {
			check.results(c.results.predictions, check.prediction)
			check.results(c.results.letters, check.letter)
		}
		got := check.result(list)
		if (got.Mismatches > 0) != c.wrong || (got.First != "") != c.wrong {
			t.Errorf("%s: %d mismatches: %s", name, got.Mismatches, got.First)
		}
	}
}
