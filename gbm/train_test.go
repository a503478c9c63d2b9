package gbm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"millrace.dev/record"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestThreads checks that the number of threads does not change a bit of the forest or the history.
func TestThreads(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data   Dataset
		change func(*Params)
	}{
		"numeric":       {made(20_000, 8, 0, 0, 0, 1), func(*Params) {}},
		"mixed":         {made(9_000, 6, 4, 90, 0.2, 2), func(*Params) {}},
		"sampled":       {made(17_000, 6, 3, 40, 0.1, 3), func(p *Params) { p.SampleRate, p.ColSampleRate, p.ColSampleRatePerTree = 0.6, 0.7, 0.8 }},
		"log":           {made(9_000, 9, 1, 5, 0.05, 4), func(p *Params) { p.LabelTransform, p.MaxDepth = TransformLog, 8 }},
		"wide enums":    {made(12_000, 3, 6, 700, 0.1, 5), func(p *Params) { p.MinRows = 1 }},
		"many inputs":   {made(1_500, 150, 20, 30, 0.01, 6), func(p *Params) { p.NTrees = 4 }},
		"few rows":      {made(30, 3, 2, 4, 0.3, 7), func(p *Params) { p.MinRows = 1 }},
		"early stopped": {made(9_000, 6, 4, 90, 0.2, 8), func(p *Params) { p.NTrees, p.LearnRate, p.StoppingRounds = 60, 0.8, 2 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := DefaultParams()
			p.NTrees = 10
			c.change(&p)
			valid := part(c.data.Frame, 0, 20)
			var want []byte
			var rounds string
			counts := []int{1, 2, 3, 7}
			if testing.Short() {
				counts = []int{1, 3}
			}
			for _, threads := range counts {
				f, h, err := Train(t.Context(), p, c.data, &Dataset{Frame: valid, Label: c.data.Label[:20]}, Options{Threads: threads})
				if err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want, rounds = encode(t, f), fmt.Sprint(*h)
					if f.Trees() < 2 && p.StoppingRounds == 0 {
						t.Errorf("only %d trees", f.Trees())
					}
				}
				if !bytes.Equal(want, encode(t, f)) {
					t.Errorf("%d threads give another forest", threads)
				}
				if rounds != fmt.Sprint(*h) {
					t.Errorf("%d threads give another history", threads)
				}
			}
		})
	}
}

// TestTrainingScores checks that the predictions of training are those of the forest, bit for bit: the bins and
// the thresholds say the same.
func TestTrainingScores(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{1, 0.5} {
		for seed := range uint64(6) {
			d := made(3000, 3, 2, []int{5, 80, 900}[seed%3], 0.15, seed)
			for i := range d.Frame.Rows {
				switch i % 50 {
				case 0:
					d.Frame.Columns[0].Numbers[i] = math.Inf(1)
				case 1:
					d.Frame.Columns[0].Numbers[i] = math.Inf(-1)
				}
			}
			p := DefaultParams()
			p.SampleRate, p.MinRows, p.NBins = rate, 3, 20
			workers := newPool(2)
			tr := newTrainer(&p, workers, d)
			h, err := tr.run(t.Context(), nil)
			workers.Close()
			if err != nil {
				t.Fatal(err)
			}
			f, err := tr.forest(h.Best)
			if err != nil {
				t.Fatal(err)
			}
			checkScores(t, f, d.Frame)
			out := make([]float64, d.Frame.Rows)
			f.Score(d.Frame, out)
			for i := range out {
				if got := math.Ldexp(tr.score[i], tr.target.exp); got != out[i] {
					t.Fatalf("rate %g seed %d row %d: %v in training, %v in scoring", rate, seed, i, got, out[i])
				}
			}
		}
	}
}

// shuffled returns d with its columns and the levels of its enums in another order.
func shuffled(d Dataset, rng *rand.Rand) Dataset {
	fr := &record.Frame{Rows: d.Frame.Rows}
	for _, i := range rng.Perm(len(d.Frame.Columns)) {
		c := d.Frame.Columns[i]
		if c.Type == record.Enum {
			to := rng.Perm(len(c.Levels))
			levels := make([]string, len(c.Levels))
			for l, k := range to {
				levels[k] = c.Levels[l]
			}
			codes := slices.Clone(c.Codes)
			for r, k := range codes {
				if k >= 0 {
					codes[r] = int32(to[k])
				}
			}
			c.Levels, c.Codes = levels, codes
		}
		fr.Columns = append(fr.Columns, c)
	}
	return Dataset{Frame: fr, Label: d.Label}
}

// TestOrder checks that neither the order of columns nor that of levels matters, also where many splits are
// equally good: inputs have few values and come twice, under two names.
func TestOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		rng := rand.New(rand.NewPCG(seed, 5))
		d := made(200, 2, 2, rapid.SampledFrom([]int{2, 6, 40}).Draw(t, "levels"), 0.2, seed)
		for i := range d.Label {
			d.Label[i] = math.Round(d.Label[i])
			for k := range 2 {
				d.Frame.Columns[k].Numbers[i] = math.Round(d.Frame.Columns[k].Numbers[i])
			}
		}
		for _, c := range d.Frame.Columns {
			c.Name += " again"
			d.Frame.Columns = append(d.Frame.Columns, c)
		}
		p := DefaultParams()
		p.NTrees, p.NBinsCats = 8, rapid.SampledFrom([]int{4, 1024}).Draw(t, "nbins_cats")
		p.MinRows = rapid.IntRange(1, 20).Draw(t, "min_rows")
		p.CatMinRows = rapid.IntRange(0, 5).Draw(t, "cat_min_rows")
		p.ColSampleRate = rapid.SampledFrom([]float64{1, 0.5}).Draw(t, "col_sample_rate")
		p.SampleRate = rapid.SampledFrom([]float64{1, 0.5}).Draw(t, "sample_rate")
		other := shuffled(d, rng)
		out := make([][]float64, 2)
		for i, d := range []Dataset{d, other} {
			f, _, err := Train(context.Background(), p, d, nil, Options{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			out[i] = make([]float64, d.Frame.Rows)
			f.Score(d.Frame, out[i])
		}
		for i := range out[0] {
			if math.Float64bits(out[0][i]) != math.Float64bits(out[1][i]) {
				t.Fatalf("row %d: %v, in another order %v", i, out[0][i], out[1][i])
			}
		}
	})
}

// TestLossFalls checks that without sampling no tree makes the training rows worse.
func TestLossFalls(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		p := DefaultParams()
		p.LabelTransform = []string{TransformNone, TransformLog}[seed%2]
		p.LearnRate = []float64{0.1, 1}[seed/2%2]
		d := made(2000, 4, 2, 50, 0.1, seed)
		var calls int
		_, h, err := Train(t.Context(), p, d, nil, Options{Progress: func(Round) { calls++ }})
		if err != nil {
			t.Fatal(err)
		}
		if calls != len(h.Rounds)-1 || h.Best != calls || h.Stopped || h.Rounds[0].Trees != 0 {
			t.Errorf("seed %d: %d calls for %d rounds, best %d", seed, calls, len(h.Rounds), h.Best)
		}
		for i, r := range h.Rounds[1:] {
			if before := h.Rounds[i].Loss; r.Loss > before*(1+1e-12) || r.Trees != i+1 || !math.IsNaN(r.RMSE) {
				t.Errorf("seed %d: round %d has loss %v after %v", seed, i+1, r.Loss, before)
			}
		}
		if last := h.Rounds[h.Best].Loss; last > 0.95*h.Rounds[0].Loss {
			t.Errorf("seed %d: the loss is %v, it was %v", seed, last, h.Rounds[0].Loss)
		}
	}
}

func TestEarlyStopping(t *testing.T) {
	t.Parallel()
	d := made(3000, 5, 1, 20, 0, 1)
	train := Dataset{Frame: part(d.Frame, 0, 300), Label: d.Label[:300]}
	valid := Dataset{Frame: part(d.Frame, 300, 3000), Label: d.Label[300:]}
	for _, metric := range []string{MetricRMSE, MetricMAE} {
		p := DefaultParams()
		p.NTrees, p.LearnRate, p.StoppingRounds, p.StoppingMetric, p.StoppingTolerance = 500, 0.3, 5, metric, 0
		f, h, err := Train(t.Context(), p, train, &valid, Options{})
		if err != nil {
			t.Fatal(err)
		}
		value := func(r Round) float64 {
			if metric == MetricMAE {
				return r.MAE
			}
			return r.RMSE
		}
		best := slices.MinFunc(h.Rounds, func(a, b Round) int { return int(math.Copysign(1, value(a)-value(b))) })
		if !h.Stopped || h.Best != best.Trees || f.Trees() != h.Best || len(h.Rounds) != h.Best+1+p.StoppingRounds {
			t.Errorf("%s: %d trees, best %d of %d rounds, lowest at %d, stopped %t", metric, f.Trees(), h.Best, len(h.Rounds), best.Trees, h.Stopped)
		}
		// The metrics are those of the forest that is kept.
		out := make([]float64, valid.Frame.Rows)
		f.Score(valid.Frame, out)
		var squares, sizes float64
		for i, y := range valid.Label {
			squares += (out[i] - y) * (out[i] - y)
			sizes += math.Abs(out[i] - y)
		}
		n := float64(len(out))
		if rmse, mae := math.Sqrt(squares/n), sizes/n; math.Abs(rmse-best.RMSE) > 1e-9*rmse || math.Abs(mae-best.MAE) > 1e-9*mae {
			t.Errorf("%s: rmse %v, mae %v, measured %v and %v", metric, best.RMSE, best.MAE, rmse, mae)
		}
		// Trees that were cut off leave nothing behind: fewer trees from the start give the same forest.
		p.NTrees, p.StoppingRounds = h.Best, 0
		if g := mustTrain(t, p, train); !bytes.Equal(encode(t, f), encode(t, g)) {
			t.Errorf("%s: the forest is not the one of %d trees", metric, h.Best)
		}
	}
}

func TestStopper(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tolerance float64
		metrics   []float64
		best      int
		stops     bool
	}{
		"improves":              {0, []float64{5, 4, 3, 2, 1}, 4, false},
		"gets worse":            {0, []float64{5, 4, 6, 7, 3}, 1, true},
		"recovers":              {0, []float64{5, 4, 6, 3, 4}, 3, false},
		"too little":            {0.1, []float64{100, 99, 98}, 2, true},
		"little by little":      {0.1, []float64{100, 95, 89, 85, 80}, 4, false},
		"first is best":         {0, []float64{5, 6, 7}, 0, true},
		"never a finite metric": {0, []float64{math.Inf(1), math.Inf(1), 3, 4}, 2, false},
	} {
		p := DefaultParams()
		p.StoppingRounds, p.StoppingTolerance = 2, c.tolerance
		s := newStopper(&p)
		stops := false
		for i, m := range c.metrics {
			if stops = s.done(Round{Trees: i, RMSE: m}); stops {
				break
			}
		}
		if s.best != c.best || stops != c.stops {
			t.Errorf("%s: best %d, stops %t", name, s.best, stops)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	f, h, err := Train(ctx, DefaultParams(), made(100, 2, 1, 5, 0, 1), nil, Options{Threads: 3, Progress: func(r Round) {
		if r.Trees == 3 {
			cancel(why)
		}
	}})
	if f != nil || h != nil || !errors.Is(err, why) || !strings.Contains(err.Error(), "after 3 trees") {
		t.Errorf("%v, %v, %v", f, h, err)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	good := made(50, 2, 1, 5, 0, 1)
	for want, c := range map[string]func(p *Params, d, v *Dataset, o *Options){
		"training data: want at least one row":      func(_ *Params, d, _ *Dataset, _ *Options) { d.Frame = nil },
		"at least one row and one input":            func(_ *Params, d, _ *Dataset, _ *Options) { d.Frame.Rows = 0 },
		"49 labels for 50 rows":                     func(_ *Params, d, _ *Dataset, _ *Options) { d.Label = d.Label[1:] },
		"missing in 2 of 50 rows":                   func(_ *Params, d, _ *Dataset, _ *Options) { d.Label[3], d.Label[4] = math.NaN(), math.NaN() },
		"infinite or beyond 1e301 in 1 of":          func(_ *Params, d, _ *Dataset, _ *Options) { d.Label[3] = math.Inf(-1) },
		"beyond 1e301 in 1 of 50":                   func(_ *Params, d, _ *Dataset, _ *Options) { d.Label[3] = 1.1e301 },
		"not above 0 in 3 of 50 rows":               func(p *Params, d, _ *Dataset, _ *Options) { p.LabelTransform = TransformLog; clear(d.Label[:3]) },
		"validation data: the label is not above 0": func(p *Params, _, v *Dataset, _ *Options) { p.LabelTransform = TransformLog; v.Label[7] = -1 },
		"ntrees":                     func(p *Params, _, _ *Dataset, _ *Options) { p.NTrees = 0 },
		"-1 threads":                 func(_ *Params, _, _ *Dataset, o *Options) { o.Threads = -1 },
		"stopping_rounds needs":      func(p *Params, _, v *Dataset, _ *Options) { p.StoppingRounds = 1; *v = Dataset{} },
		"input 2 has no name":        func(_ *Params, d, _ *Dataset, _ *Options) { d.Frame.Columns[1].Name = "" },
		`input "x0" is there twice`:  func(_ *Params, d, _ *Dataset, _ *Options) { d.Frame.Columns[1].Name = "x0" },
		`input "x1" is of type time`: func(_ *Params, d, _ *Dataset, _ *Options) { d.Frame.Columns[1].Type = record.Time },
		`input "x1" has 49 values`:   func(_ *Params, d, _ *Dataset, _ *Options) { d.Frame.Columns[1].Numbers = make([]float64, 49) },
		`input "x2" has 51 codes`:    func(_ *Params, d, _ *Dataset, _ *Options) { d.Frame.Columns[2].Codes = make([]int32, 51) },
		`input "x2": 2 rows hold a code`: func(_ *Params, d, _ *Dataset, _ *Options) {
			d.Frame.Columns[2].Codes[0], d.Frame.Columns[2].Codes[1] = 5, -2
		},
		`input "x2" has a level twice`: func(_ *Params, d, _ *Dataset, _ *Options) {
			d.Frame.Columns[2].Levels[1] = d.Frame.Columns[2].Levels[0]
		},
		`input "x0" is numeric and has levels`: func(_ *Params, d, _ *Dataset, _ *Options) { d.Frame.Columns[0].Levels = []string{"a"} },
		"looks like an identifier": func(_ *Params, d, _ *Dataset, _ *Options) {
			d.Frame.Columns[2].Levels = made(1, 0, 1, 65_536, 0, 1).Frame.Columns[0].Levels
		},
		`validation data: input 1 is "z"`: func(_ *Params, _, v *Dataset, _ *Options) { v.Frame.Columns[0].Name = "z" },
		`validation data: input "x2" has 6 levels`: func(_ *Params, _, v *Dataset, _ *Options) {
			v.Frame.Columns[2].Levels = append(v.Frame.Columns[2].Levels, "z")
		},
	} {
		p, o := DefaultParams(), Options{}
		d, v := rowsOf(good, rowNumbers(50)), rowsOf(good, rowNumbers(50))
		for i := range d.Frame.Columns {
			d.Frame.Columns[i].Levels = slices.Clone(d.Frame.Columns[i].Levels)
			v.Frame.Columns[i].Levels = slices.Clone(v.Frame.Columns[i].Levels)
		}
		c(&p, &d, &v, &o)
		valid := &v
		if v.Frame == nil {
			valid = nil
		}
		f, _, err := Train(t.Context(), p, d, valid, o)
		if f != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func rowNumbers(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// TestEveryFault checks that one call reports the faults of the parameters' kind, or of all the data.
func TestEveryFault(t *testing.T) {
	t.Parallel()
	d, v := made(50, 2, 0, 0, 0, 1), made(50, 2, 0, 0, 0, 1)
	d.Label[0], v.Label[0] = math.NaN(), math.NaN()
	d.Frame.Columns[0].Name = ""
	_, _, err := Train(t.Context(), DefaultParams(), d, &v, Options{})
	for _, want := range []string{"training data: ", "has no name", "the label is missing in 1 of 50 rows", "validation data: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}
