package shadow

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"millrace.dev/internal/experiment"
)

func taken(t *testing.T, o Options, pairs [][2]float64) (*Tally, *Report) {
	t.Helper()
	tally := NewTally(o)
	for i, p := range pairs {
		at := int64(1_700_000_000_000 + i*1000)
		tally.Add(Stream{Source: int32(i % 3)}, &Prediction{Offset: int64(i / 3), Value: p[0], Timestamp: at, Model: int32(i % 2)}, &Prediction{Offset: int64(i / 3), Value: p[1]})
	}
	r := &Report{}
	tally.Into(r, func(m int32) string { return string('a' + m) })
	if _, err := json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	return tally, r
}

func TestTally(t *testing.T) {
	t.Parallel()
	pairs := [][2]float64{{100, 100}, {100, 101}, {200, 190}, {300, 360}, {400, 400}, {500, 500.2}}
	tally, r := taken(t, Options{Beyond: 1, Top: 2}, pairs)
	if r.Pairs != 6 || r.Agreement.Same != 2 || r.Agreement.Different != 2 {
		t.Errorf("%+v", r.Agreement)
	}
	if got := float64(r.Difference.Mean); math.Abs(got-51.2/6) > 1e-12 || r.Difference.Least != -10 || r.Difference.Largest != 60 {
		t.Errorf("%+v", r.Difference)
	}
	if top := tally.Top(); len(top) != 2 || top[0].Size() != 60 || top[1].Size() != 10 {
		t.Errorf("%+v", top)
	}
	want := []float64{3.0 / 6, 4.0 / 6, 5.0 / 6, 5.0 / 6} // within 0.1 %, 1 %, 5 % and 10 %
	for i, w := range r.Agreement.Within {
		if float64(w.Share) != want[i] {
			t.Errorf("within %g: %g, want %g", w.Part, w.Share, want[i])
		}
	}
	// Spearman's: ranks 1.5 1.5 3 4 5 6 and 1 2 3 4 5 6.
	if got := float64(r.Agreement.Ranks); math.Abs(got-17/math.Sqrt(17*17.5)) > 1e-12 {
		t.Errorf("rank correlation %g", got)
	}
	if len(r.Partitions) != 3 || r.Partitions[0] != (Range{Partition: 0, From: 0, To: 2, Pairs: 2}) || *r.From != 1_700_000_000_000 || *r.To != 1_700_000_005_000 {
		t.Errorf("%+v", r.Partitions)
	}
	if len(r.Models) != 2 || r.Models[0].Model != "a" || r.Models[0].Pairs != 3 || tally.Leading() != 0 {
		t.Errorf("%+v", r.Models)
	}
	n := 0
	for _, b := range r.Bins {
		n += b.Pairs
	}
	if n != 6 {
		t.Errorf("%d pairs in bins", n)
	}
}

func TestTallySame(t *testing.T) {
	t.Parallel()
	_, r := taken(t, Options{Top: 3}, [][2]float64{{1, 1}, {2, 2}, {3, 3}})
	if r.Agreement.Same != 3 || r.Agreement.Different != 0 || len(r.Bins) != 1 || r.Agreement.Correlation < 1-1e-12 || r.Agreement.Ranks < 1-1e-12 {
		t.Errorf("%+v", r)
	}
	_, r = taken(t, Options{}, nil)
	if r.Pairs != 0 || len(r.Bins) != 0 || r.From != nil {
		t.Errorf("%+v", r)
	}
	_, r = taken(t, Options{}, [][2]float64{{math.MaxFloat64, -math.MaxFloat64}, {0, 0}}) // whose difference is no number
	if r.Pairs != 2 {
		t.Errorf("%+v", r)
	}
}

// TestSample: the sample is the same in any order, and its quantiles are those of all pairs, nearly.
func TestSample(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 7))
	a, b := newSample(1000), newSample(1000)
	order := rng.Perm(20_000)
	for i := range order {
		a.add(item{a: 0, b: float64(i)}, uint64(i))
		b.add(item{a: 0, b: float64(order[i])}, uint64(order[i]))
	}
	var ra, rb Report
	a.into(&ra)
	b.into(&rb)
	if ra.Sampled != 1000 || rb.Sampled != 1000 {
		t.Fatalf("%d and %d", ra.Sampled, rb.Sampled)
	}
	for i := range ra.Difference.Quantiles {
		x, y := ra.Difference.Quantiles[i], rb.Difference.Quantiles[i]
		if x != y {
			t.Errorf("%v in one order, %v in another", x, y)
		}
		if math.Abs(float64(x.Value)-20_000*x.Of) > 1000 {
			t.Errorf("the %g quantile of 0 to 20000 is %g", x.Of, x.Value)
		}
	}
}

func TestLosses(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 3))
	for name, c := range map[string]struct {
		shift float64 // of the candidate's errors
		want  experiment.Verdict
	}{
		"worse": {3, experiment.Worse}, "none": {0, experiment.NoDifference},
	} {
		l := NewLosses(LossOptions{Metric: Squared, WorseBy: 0.05, Alpha: 0.05})
		for range 4000 {
			label, noise := 100*rng.Float64(), 10*rng.NormFloat64()
			l.Add(label+noise, label+noise+c.shift+0.01*rng.NormFloat64(), label)
		}
		l.Add(1e80, 0, 0) // is too large
		var out Labels
		if err := l.Into(&out); err != nil {
			t.Fatal(err)
		}
		if out.Verdict.Verdict != c.want || out.Pairs != 4000 || out.Skipped != 1 || len(out.Progress) < 10 {
			t.Errorf("%s: %+v, %+v", name, out, out.Verdict)
		}
	}
}
