package profile

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// driftNumbers is what scipy, Evidently and NannyML give for two samples of numbers.
type driftNumbers struct {
	D         float64    `json:"ks_D"`
	Auto      float64    `json:"ks_p_scipy_auto"`
	Asymp     float64    `json:"ks_p_asymp_kstwo"`
	Limit     float64    `json:"ks_p_kolmogorov_limit"`
	W         float64    `json:"wasserstein"`
	WNormed   float64    `json:"wasserstein_normed_by_ref_std"`
	Energy    float64    `json:"energy_distance"`
	Mean      [2]float64 `json:"mean"`
	Deviation [2]float64 `json:"std_population"`
	SampleStd [2]float64 `json:"std_sample"`
	Median    [2]float64 `json:"median"`
	MannW     float64    `json:"mann_whitney_p_asymp"`
	Evidently driftBins  `json:"evidently"`
	Deciles   driftBins  `json:"psi_reference_deciles"`
	NannyML   driftBins  `json:"nannyml"`
	TFDV      float64    `json:"tfdv_standard10_js_divergence_base2"`
}

type driftBins struct {
	Edges     []float64 `json:"bin_edges"`
	Inner     []float64 `json:"inner_edges"`
	JSNatural float64   `json:"js_distance_base_e"`
	PSI       float64   `json:"psi"`
	KL        float64   `json:"kl_ref_cur"`
	Value     float64   `json:"value"`
	JS        float64   `json:"js_distance_base2"`
	Hellinger float64   `json:"hellinger"`
}

// numbers checks a case of two samples: each different value is a bin.
func (r *driftRun) numbers() {
	var e driftNumbers
	if err := json.Unmarshal(r.Expected, &e); err != nil {
		r.fail(err)
		return
	}
	c, w := binned(r.Reference, r.Current)
	m, n := sum(c.Counts), sum(w.Counts)
	d := r.between("ks", c, w)
	r.want("ks", d, e.D, r.Tol)
	test, err := KSTest(c.Counts, w.Counts)
	r.fail(err)
	relative := func(what string, got, want float64) {
		if math.Abs(got-want) > 1e-8*want+1e-14 {
			r.bad = append(r.bad, fmt.Sprintf("%s is %.17g, want %.17g", what, got, want))
		}
	}
	relative("the exact p of ks", test.P, e.Auto)
	one := ksOneSample(d, int(math.Round(m*n/(m+n))))
	if r.want("p of one sample's ks", one, e.Asymp, 1e-7); math.Abs(one-e.Asymp) > r.Tol {
		r.note("p of one sample's ks is %.9g, and %.9g of scipy, which approximates it above 140 values (Pelz and Good)", one, e.Asymp)
	}
	relative("the limit of p of ks", ksLimit(d*math.Sqrt(m*n/(m+n))), e.Limit)
	r.want("wasserstein", r.between("wasserstein", c, w), e.W, r.Tol)
	r.want("wasserstein of the sample's deviation", r.between("wasserstein_relative", c, w), e.W/e.Deviation[0], r.Tol)
	r.want("Evidently's normed wasserstein", r.between("wasserstein", c, w)/e.wassersteinUnit(), e.WNormed, r.Tol)
	r.want("energy", r.between("energy", c, w), e.Energy, r.Tol)
	r.want("the mean", c.Mean, e.Mean[0], r.Tol)
	r.want("the deviation", c.Deviation, e.Deviation[0], r.Tol)
	for i, col := range []*Column{c, w} {
		r.want("the median", col.Median(), e.Median[i], r.Tol)
	}
	rank, err := MannWhitneyTest(c.Counts, w.Counts)
	r.fail(err)
	r.want("Mann-Whitney", rank.P, e.MannW, r.Tol)
	edges := append(slices.Clone(e.Deciles.Inner), math.Inf(1))
	r.want("psi of deciles", r.metric("psi", inBins(edges, r.Reference).Counts, inBins(edges, r.Current).Counts), e.Deciles.Value, r.Tol)
	r.note("psi of columns: %.3g in groups that end at values of the reference, %.3g in numpy's, which end between two", r.between("psi", c, w), e.Deciles.Value)
	r.evidently(&e.Evidently)
	r.nannyML(&e.NannyML)
	r.tfdv(e.TFDV)
}

// wassersteinUnit is the deviation that Evidently divides by.
func (e *driftNumbers) wassersteinUnit() float64 { return e.W / e.WNormed }

// numpyEdges are those of bins that hold [low, high), the last one also its high end, for bins that hold (low, high].
func numpyEdges(edges []float64) []float64 {
	out := []float64{math.Nextafter(edges[0], math.Inf(-1))}
	for _, e := range edges[1 : len(edges)-1] {
		out = append(out, math.Nextafter(e, math.Inf(-1)))
	}
	return append(out, edges[len(edges)-1])
}

func (r *driftRun) evidently(e *driftBins) {
	c, w := binned(r.Reference, r.Current)
	if e.Edges != nil {
		edges := numpyEdges(e.Edges)
		c, w = inBins(edges, r.Reference), inBins(edges, r.Current)
	}
	r.want("Evidently's js", r.metric("js", c.Counts, w.Counts)*math.Sqrt(math.Ln2), e.JSNatural, r.Tol)
	r.want("Evidently's psi", r.metric("psi", c.Counts, w.Counts), e.PSI, r.Tol)
	got := r.metric("kl", w.Counts, c.Counts)
	if r.want("Evidently's kl", got, e.KL, 1e-3); math.Abs(got-e.KL) > r.Tol {
		r.note("kl is %.6g, and %.6g of Evidently, which fills bins that are empty on both sides too, so that it depends on their number", got, e.KL)
	}
}

func (r *driftRun) nannyML(e *driftBins) {
	edges := numpyEdges(e.Edges)
	c, w := inBins(edges, r.Reference), inBins(edges, r.Current)
	for _, col := range []*Column{c, w} { // below and above all bins is one bin
		col.Counts[len(col.Counts)-1] += col.Counts[0]
		col.Counts[0] = 0
	}
	r.want("NannyML's js", r.metric("js", c.Counts, w.Counts), e.JS, r.Tol)
	r.want("NannyML's hellinger", r.metric("hellinger", c.Counts, w.Counts), e.Hellinger, r.Tol)
}

// tfdv lays ten equal bins of each sample's own range over one another, values lying evenly within a bin. The product
// counts in the same bins instead: only the formula is ours.
func (r *driftRun) tfdv(want float64) {
	bounds := func(v []float64) []float64 {
		low, high := slices.Min(v), slices.Max(v)
		out := make([]float64, 11)
		for i := range out {
			out[i] = low + float64(i)*(high-low)/10
		}
		out[10] = high
		return out
	}
	a, b := bounds(r.Reference), bounds(r.Current)
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
	spread := func(edges, v []float64) []float64 {
		col := inBins(numpyEdges(edges), v)
		out := make([]float64, len(all)-1)
		for i := range out {
			for k := range 10 {
				overlap := min(all[i+1], edges[k+1]) - max(all[i], edges[k])
				if overlap > 0 {
					out[i] += float64(col.Counts[k+1]) / float64(len(v)) * overlap / (edges[k+1] - edges[k])
				}
			}
		}
		return out
	}
	got := jsDivergence(&cells{p: spread(a, r.Reference), q: spread(b, r.Current)})
	r.want("TFDV's js", got, want, r.Tol)
}

// driftLevels is what scipy gives for two sets of counts.
type driftLevels struct {
	LInfinity float64 `json:"l_infinity"`
	TVD       float64 `json:"tvd"`
	Div       float64 `json:"js_divergence_base2"`
	JS        float64 `json:"js_distance_base2"`
	JSNatural float64 `json:"js_distance_base_e"`
	Hellinger float64 `json:"hellinger"`
	PSIFill   float64 `json:"psi_evidently_fill"`
	PSIFloor  float64 `json:"psi_floor_1e4"`
	Chi       struct {
		Stat, P float64
		DF      int
	} `json:"chi2_contingency"`
	G   struct{ Stat, P float64 } `json:"g_contingency"`
	Fit json.RawMessage           `json:"chi2_gof_vs_reference"`
}

func (r *driftRun) levels() {
	var e driftLevels
	if err := json.Unmarshal(r.Expected, &e); err != nil { //nolint:musttag // the names are those of the file
		r.fail(err)
		return
	}
	for name, want := range map[string]float64{
		"l_infinity": e.LInfinity, "total_variation": e.TVD, "js_divergence": e.Div, "js": e.JS, "hellinger": e.Hellinger,
		"psi": e.PSIFloor, "chi_square": e.Chi.Stat, "g": e.G.Stat,
	} {
		r.want(name, r.metric(name, r.p, r.q), want, r.Tol)
	}
	r.want("Evidently's psi", r.metric("psi", r.p, r.q), e.PSIFill, r.Tol)
	r.want("js in nats", r.metric("js", r.p, r.q)*math.Sqrt(math.Ln2), e.JSNatural, r.Tol)
	chi, err := ChiSquareTest(r.p, r.q)
	r.fail(err)
	r.want("p of chi-square", chi.P, e.Chi.P, r.Tol)
	if chi.Freedom != e.Chi.DF {
		r.bad = append(r.bad, fmt.Sprintf("%d degrees of freedom", chi.Freedom))
	}
	g, err := GTest(r.p, r.q)
	r.fail(err)
	r.want("p of G", g.P, e.G.P, r.Tol)
	fit, err := FitTest(r.p, r.q)
	r.fail(err)
	var want struct{ Stat, P float64 }
	if json.Unmarshal(e.Fit, &want) != nil { //nolint:musttag // the names are those of the file
		if !math.IsInf(fit.Statistic, 1) || fit.P != 0 {
			r.bad = append(r.bad, fmt.Sprintf("the fit is %v", fit))
		}
		return
	}
	r.want("the fit", fit.Statistic, want.Stat, r.Tol)
	r.want("p of the fit", fit.P, want.P, r.Tol)
}
