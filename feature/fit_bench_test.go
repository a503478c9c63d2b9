package feature

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"

	"millrace.dev/record"
)

// fittedSpecs are 30 fitted features of all kinds.
func fittedSpecs() []Spec {
	var specs []Spec
	for i, expr := range []string{
		"standard(x)", "standard(log(x))", "min_max(x)", "min_max(y, low: -1)", "max_abs(y)", "impute(x)", "impute(y, by: 'mean')",
		"quantile_bucket(x)", "quantile_bucket(y, buckets: 20, output: 'index')", "iqr_outlier(x)", "quantile_outlier(y, buckets: 100)", "z_score(x, e)", "z_score(y, s[:3])",
		"one_hot(e, top: 20, oov: 4)", "one_hot(e, min_count: 10)", "position(e)", "vocabulary(s, top: 1000, oov: 16)", "heavy_hitters(e)", "n_hot(s, top: 50)",
		"n_hot_weighted(s, top: 20)", "ngrams(s, low: 1, high: 2, sep: ',', top: 100)", "hash_one_hot(s, size: 64)", "hash_n_hot(s, size: 64)", "hash_n_hot_weighted(s, size: 32)",
		"hash_one_hot(e)", "mdl_bucket(x, text(label > 0))", "mdl_bucket(y, text(label > 1))", "target_mean(e)", "target_mean(s[:4], smoothing: 100)", "target_mean(e, number(label > 0), folds: 10)",
	} {
		specs = append(specs, Spec{fmt.Sprintf("f%02d", i), expr})
	}
	return specs
}

func fittedPlan(t testing.TB, specs []Spec) *Plan {
	t.Helper()
	d := Declaration{Schema: fitSchema(), Features: specs, Label: "label"}
	for _, s := range specs {
		d.Inputs = append(d.Inputs, s.Name)
	}
	p, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// manyRows fills a batch: 100 levels of e, thousands of texts of two parts.
func manyRows(s *record.Schema, first, n int) *record.Batch {
	b := record.NewBatch(s, nil)
	r := rand.New(rand.NewPCG(uint64(first), 3))
	for i := range n {
		b.Append(record.Raw{Offset: int64(first + i)})
		b.Numbers(0)[i], b.Numbers(1)[i], b.Numbers(2)[i] = r.ExpFloat64()*1000, r.NormFloat64(), r.NormFloat64()
		if i%50 == 0 {
			b.Numbers(0)[i] = nan()
		}
		b.Codes(3)[i] = b.Dict(3).Code(fmt.Appendf(nil, "city %d", r.IntN(10)*r.IntN(11)))
		b.Texts(4).Set(i, fmt.Appendf(nil, "%d:2,tag%d", r.IntN(70)*r.IntN(70), r.IntN(40)))
	}
	return b
}

// TestFittedAllocates nothing for a row: neither where features are computed nor where they are fitted.
func TestFittedAllocates(t *testing.T) { //nolint:paralleltest // it counts allocations
	if testing.Short() {
		t.Skip("it counts the same without the race detector, in a tenth of the time")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	specs := append(fittedSpecs(), Spec{"grams", "ngrams(s, sep: ',', top: 100, missing: true)"}, Spec{"points", "von_mises_points(x, points: [1, 2])"})
	p := fittedPlan(t, specs)
	b := manyRows(p.Schema(), 0, 700)
	f := p.NewFitter()
	for range 4 {
		f.Add(b, nil, Enrichment{})
	}
	// Samples grow until they are full, by doubling; 20 more batches of 700 rows make their room a few times larger.
	if n := testing.AllocsPerRun(20, func() { f.Add(b, nil, Enrichment{}) }); n > 20 {
		t.Errorf("fitting allocates %v times for a batch of 700 rows", n)
	}
	p, err := f.Plan()
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]*Evaluator{"evaluator": p.NewEvaluator(), "training evaluator": p.NewTrainingEvaluator()} {
		for _, b := range []*record.Batch{b, manyRows(p.Schema(), 9000, 700)} {
			for range 10 {
				e.Eval(b, Enrichment{})
			}
			if n := testing.AllocsPerRun(10, func() { e.Eval(b, Enrichment{}) }); n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	}
	enriched := enrichedPlan(t)
	e, with := enriched.NewEvaluator(), Enrichment{Rows: oneRow{}}
	for range 10 {
		e.Eval(b, with)
	}
	if n := testing.AllocsPerRun(10, func() { e.Eval(b, with) }); n != 0 {
		t.Errorf("look-ups: %v allocations", n)
	}
}

// oneRow finds the same row by every key.
type oneRow struct{}

func (oneRow) Row(_, i int, _ record.Text) *record.Row {
	if i%3 == 0 {
		return nil
	}
	return &someRow
}

var someRow = record.Row{Numbers: []float64{7}, Times: []int64{0}, Texts: []record.Text{{S: "King", OK: true}}} //nolint:gochecknoglobals // it is only read

// BenchmarkFit fits 30 features of all kinds on a million rows, which it makes in memory first, on one thread and on two.
// It reports the largest heap beyond the rows. Run it with -benchtime 1x.
func BenchmarkFit(b *testing.B) {
	const rows, size = 1_000_000, 1000
	p := fittedPlan(b, fittedSpecs())
	var batches []*record.Batch
	for i := 0; i < rows; i += size {
		batches = append(batches, manyRows(p.Schema(), i, size))
	}
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			peak, spent := uint64(0), processorTime(b)
			for b.Loop() {
				peak = max(peak, fitOnThreads(b, p, batches, threads))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
			b.ReportMetric(float64(processorTime(b)-spent)/float64(b.N)/rows, "cpu-ns/row")
			b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		})
	}
}

// fitOnThreads returns how much the heap grew at most.
func fitOnThreads(b *testing.B, p *Plan, batches []*record.Batch, threads int) uint64 {
	b.Helper()
	runtime.GC()
	base, peak := heap(), uint64(0)
	fitters := make([]*Fitter, threads)
	var all sync.WaitGroup
	for t := range threads {
		fitters[t] = p.NewFitter()
		all.Go(func() {
			for i := t; i < len(batches); i += threads {
				fitters[t].Add(batches[i], nil, Enrichment{})
				if t == 0 && i%100 == 0 {
					peak = max(peak, heap())
				}
			}
		})
	}
	all.Wait()
	for _, f := range fitters[1:] {
		fitters[0].Merge(f)
	}
	if _, err := fitters[0].Plan(); err != nil {
		b.Fatal(err)
	}
	return max(peak, heap(), base) - base
}

// processorTime is what this process has used, which other processes do not disturb as much as the time that went by.
func processorTime(b *testing.B) int64 {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return r.Utime.Nano() + r.Stime.Nano()
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkFitted reports what a record costs for each of the 30 features, all of its inputs together.
func BenchmarkFitted(b *testing.B) {
	for _, spec := range fittedSpecs() {
		b.Run(spec.Expr, func(b *testing.B) {
			p := fittedPlan(b, []Spec{spec})
			batch := manyRows(p.Schema(), 0, 1024)
			p = fitOn(b, p, batch)
			e := p.NewEvaluator()
			b.ReportAllocs()
			spent := processorTime(b)
			for b.Loop() {
				e.Eval(batch, Enrichment{})
			}
			b.ReportMetric(float64(processorTime(b)-spent)/float64(b.N)/1024, "cpu-ns/record")
			b.ReportMetric(float64(len(p.Inputs())), "inputs")
		})
	}
}
