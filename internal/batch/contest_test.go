package batch

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"millrace.dev/internal/source"
	"millrace.dev/model"
)

// trainTested trains on flats and keeps the test rows.
func trainTested(t *testing.T, o TrainOptions) (*model.Bundle, Tested) {
	t.Helper()
	var tested Tested
	o.Tested = func(x Tested) { tested = x }
	b, err := TrainModel(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = b.Encode() // which fills in what a registered bundle has
	if err != nil {
		t.Fatal(err)
	}
	return b, tested
}

// TestCompete compares models with ones that are as good, better and worse.
func TestCompete(t *testing.T) {
	t.Parallel()
	o := flats(t, flatRows(2000))
	good, tested := trainTested(t, o)
	if len(tested.Rows) != good.Lineage.Rows.Test || len(tested.Labels) != len(tested.Rows) || len(tested.Predictions) != len(tested.Rows) {
		t.Fatalf("%d, %d and %d test rows, of %d", len(tested.Rows), len(tested.Labels), len(tested.Predictions), good.Lineage.Rows.Test)
	}
	weak := o
	weak.Params.NTrees = 1
	bad, badTested := trainTested(t, weak)
	other := o
	other.Split.Seed = 7
	elsewhere, _ := trainTested(t, other)
	for name, c := range map[string]struct {
		options ContestOptions
		worse   bool
		known   func(int) bool
	}{
		"the same":            {ContestOptions{Candidate: good, Tested: tested, Champion: good}, false, func(n int) bool { return n == 0 }},
		"better":              {ContestOptions{Candidate: good, Tested: tested, Champion: bad}, false, func(n int) bool { return n == 0 }},
		"worse":               {ContestOptions{Candidate: bad, Tested: badTested, Champion: good}, true, func(n int) bool { return n == 0 }},
		"worse, by mae":       {ContestOptions{Candidate: bad, Tested: badTested, Champion: good, Squared: false}, true, func(n int) bool { return n == 0 }},
		"worse, as allowed":   {ContestOptions{Candidate: bad, Tested: badTested, Champion: good, WorseBy: 50}, false, func(n int) bool { return n == 0 }},
		"that knows the rows": {ContestOptions{Candidate: good, Tested: tested, Champion: elsewhere}, false, func(n int) bool { return n > len(tested.Rows)/2 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.options.Data, c.options.Confidence = o.Data, 0.95
			c.options.Squared = !strings.Contains(name, "mae")
			k, err := Compete(t.Context(), c.options)
			if err != nil {
				t.Fatal(err)
			}
			if k.Worse != c.worse || k.Worse != (k.Low > 0) || k.Rows != len(c.options.Tested.Rows) || k.Unscored != 0 || !c.known(k.Known) {
				t.Errorf("%+v", k)
			}
			own, its := c.options.Candidate.Metrics.Test, c.options.Champion.Metrics.Test
			want, wantIts := own.RMSE, its.RMSE
			if !c.options.Squared {
				want, wantIts = own.MAE, its.MAE
			}
			if math.Abs(k.Candidate-want) > 1e-9*want || c.options.Champion != elsewhere && math.Abs(k.Champion-wantIts) > 1e-9*wantIts {
				t.Errorf("%+v: training measured %v, and %v of the champion", k, want, wantIts)
			}
		})
	}
}

// TestCompeteRejects counts the test rows that the champion makes no prediction of.
func TestCompeteRejects(t *testing.T) {
	t.Parallel()
	rows := flatRows(300)
	o := flats(t, rows)
	champion, _ := trainTested(t, o)
	o = flats(t, strings.ReplaceAll(rows, "Ulm", ""))
	candidate, tested := trainTested(t, o)
	k, err := Compete(t.Context(), ContestOptions{Candidate: candidate, Tested: tested, Champion: champion, Data: o.Data, Confidence: 0.95})
	if err != nil || k.Known != -1 || k.Rows+k.Unscored != len(tested.Rows) {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestCompeteFails(t *testing.T) {
	t.Parallel()
	o := flats(t, flatRows(300))
	b, tested := trainTested(t, o)
	other := *b
	other.Manifest.Label = "price"
	blind := flats(t, strings.ReplaceAll(flatRows(300), "size,", "width,"))
	huge := Tested{Rows: tested.Rows, Labels: tested.Labels, Predictions: slices.Repeat([]float64{1e200}, len(tested.Rows))}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		options ContestOptions
		want    error
		text    string
	}{
		"another label":  {ContestOptions{Champion: &other, Data: o.Data}, ErrNoContest, "it predicts price"},
		"no such column": {ContestOptions{Champion: b, Data: blind.Data}, ErrNoContest, "size"},
		"other data":     {ContestOptions{Champion: b, Data: flats(t, flatRows(301)).Data}, source.ErrChanged, "changed"},
		"no test rows":   {ContestOptions{Champion: b, Data: o.Data, Tested: Tested{Rows: tested.Rows[:1], Labels: tested.Labels[:1], Predictions: tested.Predictions[:1]}}, ErrNoContest, "1 of the 1 test rows"},
		"huge errors":    {ContestOptions{Champion: b, Data: o.Data, Squared: true, Tested: huge}, ErrNoContest, "too large"},
		"stopped":        {ContestOptions{Champion: b, Data: o.Data}, context.Canceled, ""},
	} {
		c.options.Candidate, c.options.Confidence = b, 0.95
		if c.options.Tested.Rows == nil {
			c.options.Tested = tested
		}
		ctx := t.Context()
		if name == "stopped" {
			ctx = stopped
		}
		if _, err := Compete(ctx, c.options); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestJudge holds the test to scipy.stats.ttest_rel(alternative="greater"), of SciPy 1.17.1.
func TestJudge(t *testing.T) {
	t.Parallel()
	p := pairing{o: &ContestOptions{Confidence: 0.95}, c: &Contest{Rows: 8}, differences: []float64{1.5, -0.25, 2, 0.125, 3.75, -1, 0.5, 4}}
	p.judge()
	for _, x := range []struct {
		what      string
		got, want float64
	}{
		{"difference", p.c.Difference, 1.328125},
		{"p", p.c.P, 0.039827667318653066},
		{"low", p.c.Low, 0.10005509184692096},
		{"high", p.c.High, 2.5561949081530786},
	} {
		if math.Abs(x.got-x.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", x.what, x.got, x.want)
		}
	}
	for name, c := range map[string]struct {
		differences []float64
		p           float64
	}{"nothing differs": {[]float64{0, 0, 0}, 1}, "all by the same": {[]float64{2, 2, 2}, 0}, "all for the better": {[]float64{-2, -2, -2}, 1}} {
		p := pairing{o: &ContestOptions{Confidence: 0.95}, c: &Contest{Rows: 3}, differences: c.differences}
		if p.judge(); p.c.P != c.p || p.c.Worse != (c.p == 0) {
			t.Errorf("%s: %+v", name, p.c)
		}
	}
}
