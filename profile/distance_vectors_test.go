package profile

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"millrace.dev/internal/testenv"
)

// driftCase is a case of other systems' tests, or of scipy.
type driftCase struct {
	N                  int
	Kind, Metric, Case string
	Reference, Current []float64
	ReferenceCounts    json.RawMessage    `json:"reference_counts"`
	CurrentCounts      json.RawMessage    `json:"current_counts"`
	ReferenceWeights   map[string]float64 `json:"reference_weights"`
	ReferenceHistogram [][3]float64       `json:"reference_histogram"`
	CurrentHistogram   [][3]float64       `json:"current_histogram"`
	ReferenceBinCounts []uint64           `json:"reference_bin_counts"`
	CurrentBinCounts   []uint64           `json:"current_bin_counts"`
	ReferenceN         uint64             `json:"reference_n"`
	CurrentN           uint64             `json:"current_n"`
	NaNs               []uint64           `json:"nan_counts"`
	Holdout            float64            `json:"tail_weight_holdout"`
	Statistic          float64
	Expected           json.RawMessage
	Exact              *float64
	ExactTVD           float64 `json:"exact_tvd"`
	ExactTwoSided      float64 `json:"exact_two_sided"`
	Tol                float64
}

// driftRun checks one case.
type driftRun struct {
	*driftCase
	p, q  []uint64
	bad   []string
	notes []string
}

func (r *driftRun) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// want compares with the tolerance, absolute, and relative for what is larger than one.
func (r *driftRun) want(what string, got, want, tolerance float64) {
	if got == want || math.Abs(got-want) <= tolerance*max(1, math.Abs(want)) {
		return
	}
	r.bad = append(r.bad, fmt.Sprintf("%s is %.17g, want %.17g", what, got, want))
}

func (r *driftRun) fail(err error) {
	if err != nil {
		r.bad = append(r.bad, err.Error())
	}
}

// expected returns the number that is expected: the exact one, if there is one.
func (r *driftRun) expected() (want, tolerance float64) {
	if r.Exact != nil {
		return *r.Exact, 1e-9
	}
	r.fail(json.Unmarshal(r.Expected, &want))
	return want, r.Tol
}

func (r *driftRun) metric(name string, p, q []uint64) float64 {
	m, err := MetricNamed(name)
	r.fail(err)
	v, err := m.OfCounts(p, q)
	r.fail(err)
	return v
}

// TestDriftVectors holds the distances and tests against cases of other systems. It prints each, and what differs and why.
func TestDriftVectors(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join(testenv.Vectors(t), "drift.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []driftCase }
	if err := json.Unmarshal(b, &file); err != nil { //nolint:musttag // the names are those of the file
		t.Fatal(err)
	}
	passed := 0
	for i := range file.Vectors {
		r := &driftRun{driftCase: &file.Vectors[i]}
		r.run()
		name := r.Metric + r.Case
		switch {
		case len(r.bad) > 0:
			t.Errorf("case %d, %s: %s", r.N, name, strings.Join(r.bad, "; "))
		case len(r.notes) > 0:
			passed++
			t.Logf("case %3d ok: %s (%s)", r.N, name, strings.Join(r.notes, "; "))
		default:
			passed++
			t.Logf("case %3d ok: %s", r.N, name)
		}
	}
	t.Logf("%d/%d", passed, len(file.Vectors))
}

func (r *driftRun) run() {
	r.counts()
	switch {
	case r.Kind == "computed" && r.Case != "" && r.Reference != nil:
		r.numbers()
		return
	case r.Kind == "computed":
		r.levels()
		return
	}
	switch r.Metric {
	case "chisquare_gof_p":
		got, err := FitTest(r.p, r.q)
		r.fail(err)
		r.want("the statistic", got.Statistic, r.Statistic, 1e-9)
		r.same(got.P)
	case "hellinger_categorical":
		r.same(r.metric("hellinger", r.p, r.q))
	case "energy_distance":
		c, w := binned(r.Reference, r.Current)
		r.same(r.between("energy", c, w))
	case "mann_whitney_p":
		got, err := MannWhitneyTest(r.p, r.q)
		r.fail(err)
		r.want("p", got.P, r.ExactTwoSided, 1e-9)
		r.note("two-sided, as its documentation says; Evidently's code gives the p of one side")
	case "epps_singleton_p":
		r.note("not offered: a test on the characteristic function, which says nothing of counts in bins that KS and the energy distance do not say")
	case "fisher_exact_p":
		r.same(FisherExact(r.q[0], r.q[0]+r.q[1], r.p[0], r.p[0]+r.p[1]))
	case "tvd_permutation_p":
		r.want("the distance", r.metric("total_variation", r.p, r.q), r.ExactTVD, 1e-12)
		var p float64
		r.fail(json.Unmarshal(r.Expected, &p))
		r.want("p", r.resampled("total_variation"), p, 0.03)
		r.note("p by our resampling, within 0.03")
	case "l_infinity":
		r.same(r.metric("l_infinity", r.p, r.q))
	case "l_infinity_robust":
		r.same(r.metric("l_infinity_robust", r.p, r.q))
	case "js_divergence_base2_histogram":
		r.histograms()
	case "js_divergence_base2_categorical":
		if string(r.Expected) == `"error"` {
			m, err := MetricNamed("js_divergence")
			r.fail(err)
			if _, err := m.OfCounts(r.p, r.q); !errors.Is(err, ErrNoValues) {
				r.bad = append(r.bad, fmt.Sprintf("the error is %v", err))
			}
			return
		}
		r.same(r.metric("js_divergence", r.p, r.q))
	case "chisquare_regrouped_p", "chisquare_regrouped_stat":
		r.regrouped()
	case "psi_from_counts":
		r.same(r.metric("psi", r.p, r.q))
	case "js_distance_base2":
		r.same(r.metric("js", r.p, r.q))
	case "js_distance_base2_categorical":
		r.same(r.metric("js", r.p, r.q))
	case "hellinger_binned":
		r.same(r.metric("hellinger", r.p, r.q))
	case "hellinger_binned_kll":
		c, w := binned(r.Reference, r.Current)
		r.same(r.between("hellinger", c, w))
	case "kl_divergence", "kl_divergence_tail_holdout":
		r.divergence()
	default:
		r.fail(fmt.Errorf("no way to run %s", r.Metric))
	}
}

func (r *driftRun) same(got float64) {
	want, tolerance := r.expected()
	r.want("it", got, want, tolerance)
}

// counts fills in the counts of both sides over the same cells.
func (r *driftRun) counts() {
	if r.ReferenceBinCounts != nil { // values outside of all bins are a bin of their own
		r.p = append(slices.Clone(r.ReferenceBinCounts), r.ReferenceN-uint64(sum(r.ReferenceBinCounts)))
		r.q = append(slices.Clone(r.CurrentBinCounts), r.CurrentN-uint64(sum(r.CurrentBinCounts)))
		return
	}
	if r.ReferenceCounts == nil {
		return
	}
	if json.Unmarshal(r.ReferenceCounts, &r.p) == nil {
		r.fail(json.Unmarshal(r.CurrentCounts, &r.q))
		return
	}
	var p, q map[string]float64
	r.fail(json.Unmarshal(r.ReferenceCounts, &p))
	r.fail(json.Unmarshal(r.CurrentCounts, &q))
	r.p, r.q = aligned(p, q)
}

// aligned returns the counts of the keys of both; shares are of ten rows.
func aligned(p, q map[string]float64) (reference, window []uint64) {
	keys := maps.Clone(p)
	maps.Copy(keys, q)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		scale := func(m map[string]float64) uint64 {
			for _, v := range m {
				if v != math.Trunc(v) {
					return uint64(math.Round(10 * m[k]))
				}
			}
			return uint64(m[k])
		}
		reference, window = append(reference, scale(p)), append(window, scale(q))
	}
	return reference, window
}

func (r *driftRun) between(name string, c, w *Column) float64 {
	m, err := MetricNamed(name)
	r.fail(err)
	v, err := m.Between(c, w)
	r.fail(err)
	return v
}

// binned counts two samples in bins of which each holds one value.
func binned(reference, window []float64) (c, w *Column) {
	edges := slices.Compact(slices.Sorted(slices.Values(slices.Concat(reference, window))))
	return inBins(edges, reference), inBins(edges, window)
}

func inBins(edges, values []float64) *Column {
	c := &Column{Name: "x", Kind: Number, Rows: uint64(len(values)), Edges: edges, Counts: make([]uint64, len(edges)+1)}
	for _, x := range values { // as a binner does, which has no room for so many
		i, _ := slices.BinarySearch(edges, x)
		c.Counts[i]++
	}
	total, squares := 0.0, 0.0
	for _, x := range values {
		total += x
	}
	c.Mean = total / float64(len(values))
	for _, x := range values {
		squares += (x - c.Mean) * (x - c.Mean)
	}
	c.Deviation = math.Sqrt(squares / float64(len(values)))
	c.Min, c.Max = slices.Min(values), slices.Max(values)
	c.Distinct = uint64(len(slices.Compact(slices.Sorted(slices.Values(values)))))
	return c
}

// histograms lays both histograms over the bounds of both. None of the cases cuts a bucket.
func (r *driftRun) histograms() {
	at := func(b [3]float64) string { return fmt.Sprint(b[0], b[1]) }
	p, q := map[string]float64{}, map[string]float64{}
	for _, b := range r.ReferenceHistogram {
		p[at(b)] = b[2]
	}
	for _, b := range r.CurrentHistogram {
		q[at(b)] = b[2]
	}
	r.p, r.q = aligned(p, q)
	if r.NaNs != nil {
		r.want("the divergence of the values", r.metric("js_divergence", r.p, r.q), 0, 0)
		r.p, r.q = append(r.p, r.NaNs[0]), append(r.q, r.NaNs[1])
		r.note("TFDV counts NaN as a value: with missing values as a bin of their own ours is the same; between columns it is 0, and missing values are a test of their own")
	}
	r.same(r.metric("js_divergence", r.p, r.q))
}

func (r *driftRun) regrouped() {
	got, err := FitTestGrouped(r.p, r.q)
	r.fail(err)
	if string(r.Expected) == `"NaN"` {
		if math.IsNaN(got.P) || math.IsNaN(got.Statistic) {
			r.bad = append(r.bad, "NaN")
		}
		r.note("Deequ gives NaN where one category is left; ours says that nothing differs, P = 1")
		if r.N == 58 {
			r.note("Deequ drops the category that the reference lacks; the test on the table of both has it")
			table, err := ChiSquareTest(r.p, r.q)
			r.fail(err)
			if table.P > 0.01 {
				r.bad = append(r.bad, fmt.Sprintf("the new category is not seen: %v", table))
			}
		}
		return
	}
	if r.Metric == "chisquare_regrouped_p" {
		r.same(got.P)
	} else {
		r.same(got.Statistic)
	}
}

// divergence is of the window from the reference, where the values that the reference lacks share a part of it.
func (r *driftRun) divergence() {
	var counts map[string]float64
	r.fail(json.Unmarshal(r.CurrentCounts, &counts))
	total, fresh := 0.0, 0.0
	for k, n := range counts {
		total += n
		if _, ok := r.ReferenceWeights[k]; !ok {
			fresh++
		}
	}
	var p, q []float64
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		q = append(q, counts[k]/total)
		w, ok := r.ReferenceWeights[k]
		if w *= 1 - r.Holdout; !ok {
			w = r.Holdout / fresh
		}
		p = append(p, w)
	}
	got := kl(q, p)
	if string(r.Expected) == `"Infinity"` {
		if !math.IsInf(got, 1) {
			r.bad = append(r.bad, fmt.Sprintf("it is %v", got))
		}
		r.note("the metric kl takes no share below 0.0001, so that it is finite")
		return
	}
	r.same(got)
	r.note("the holdout is the case's: the metric kl takes no share below 0.0001 instead")
}

// resampled returns the probability of the distance by resampling.
func (r *driftRun) resampled(name string) float64 {
	side := func(counts []uint64) *Profile {
		c := Column{Name: "x", Kind: Level, Rows: uint64(sum(counts)), Counts: append(slices.Clone(counts), 0)}
		for i := range counts {
			c.Levels = append(c.Levels, strconv.Itoa(i))
		}
		return &Profile{Rows: c.Rows, Columns: []Column{c}}
	}
	k, err := NewChecker(side(r.p), Rules{MinRows: 1, Drift: DriftRule{Metric: name}})
	r.fail(err)
	v, err := k.Check(side(r.q))
	r.fail(err)
	for _, f := range v.Findings {
		if f.Check == CheckDrift {
			return f.P
		}
	}
	return math.NaN()
}
