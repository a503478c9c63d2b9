package experiment

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"millrace.dev/internal/stat"
)

type ratioCounts struct {
	Observed, Counts []int64
	Weights, Theta0  []float64
	Chi2, P          float64
	K                float64
	LogBayesFactor   float64 `json:"log_bayes_factor"`
}

func checkChiSquareRatio(v *tally, c *ratioCounts) {
	r, err := SampleRatio(Stretch{c.Observed, c.Weights})
	if err != nil {
		v.fail(err)
		return
	}
	v.is("chi-square", r.ChiSquare, c.Chi2)
	v.is("p", r.P, c.P)
}

func checkSequentialRatio(v *tally, c *ratioCounts) {
	r, err := SampleRatio(Stretch{c.Counts, c.Theta0})
	if err != nil {
		v.fail(err)
		return
	}
	v.is("k", priorCounts, c.K)
	v.is("log Bayes factor", r.LogBayes, c.LogBayesFactor)
	v.is("p", r.AnytimeP, c.P)
}

func (v *tally) fail(err error) {
	v.t.Helper()
	v.failed = true
	v.t.Errorf("%s, case %d: %v", v.family, v.total, err)
}

type sprtCase struct {
	N                       float64 `json:"n_per_arm"`
	Diff                    float64
	Sigma2, Tau2, Lambda, P float64
	Half                    float64 `json:"ci_half_alpha_0.05"`
}

// checkSPRT writes the mixture SPRT as the normal mixture: a prior of variance tau² on the difference, in units of the deviation of one pair of
// units, is a rho of 2 sigma²/tau².
func checkSPRT(v *tally, c *sprtCase) {
	pair := 2 * c.Sigma2
	m := normalMixture{rho: pair / c.Tau2}
	v.is("lambda", math.Exp(m.log(c.N*c.Diff/math.Sqrt(pair), c.N)), c.Lambda)
	v.is("p", min(1, math.Exp(-m.log(c.N*c.Diff/math.Sqrt(pair), c.N))), c.P)
	v.is("half", m.bound(c.N, 0.05)/c.N*math.Sqrt(pair), c.Half)
}

func checkBoundaries(v *tally, raw json.RawMessage) error {
	type bound struct {
		BestRho float64 `json:"best_rho"`
		Log     float64 `json:"log_mixture_s10_v100"`
		Bound   float64 `json:"bound_v100_a05"`
	}
	var f struct {
		Tol              float64 `json:"tol"`
		Two              bound   `json:"two_sided_normal_mixture"`
		One              bound   `json:"one_sided_normal_mixture"`
		GammaExponential bound   `json:"gamma_exponential_c2"`
		GammaPoisson     bound   `json:"gamma_poisson_c2"`
		BetaBinomial     bound   `json:"beta_binomial_two_sided_g.2_h.8"`
		Stitched         float64 `json:"poly_stitching_v100_a05_vmin10_c3"`
		Bernoulli        []struct {
			Successes float64    `json:"successes"`
			Trials    float64    `json:"trials"`
			Alpha     float64    `json:"alpha"`
			Horizon   float64    `json:"t_opt"`
			CI        [2]float64 `json:"ci"`
		} `json:"bernoulli_ci"`
		Quantile struct {
			Cases []struct {
				Q      float64 `json:"q"`
				Offset float64 `json:"offset"`
				P      float64 `json:"p"`
			} `json:"cases"`
		} `json:"quantile_ab_p"`
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return err
	}
	check := func(what string, got, want float64) { v.within(what, got, want, f.Tol) }
	v.run(func() {
		check("best rho", tuned(100, 0.05, false).rho, f.Two.BestRho)
		check("two-sided log", tuned(100, 0.05, false).log(10, 100), f.Two.Log)
		check("two-sided bound", tuned(100, 0.05, false).bound(100, 0.05), f.Two.Bound)
	})
	v.run(func() {
		check("one-sided log", tuned(100, 0.05, true).log(10, 100), f.One.Log)
		check("one-sided bound", tuned(100, 0.05, true).bound(100, 0.05), f.One.Bound)
	})
	rho := tuned(100, 0.05, true).rho
	v.run(func() {
		check("gamma-exponential log", gammaExponential{rho, 2}.log(10, 100), f.GammaExponential.Log)
		check("gamma-exponential bound", gammaExponential{rho, 2}.bound(100, 0.05), f.GammaExponential.Bound)
	})
	v.run(func() {
		check("gamma-Poisson log", gammaPoisson{rho, 2}.log(10, 100), f.GammaPoisson.Log)
		check("gamma-Poisson bound", gammaPoisson{rho, 2}.bound(100, 0.05), f.GammaPoisson.Bound)
	})
	v.run(func() { // steps of up to 0.8 and down to 0.2 are those of trials with a share of 0.2: v is 0.16 for each
		const trials, p = 100 / 0.16, 0.2
		b := tunedBinary(trials, 0.05, false)
		check("beta-binomial log", b.log(trials*p+10, trials, p), f.BetaBinomial.Log)
		check("beta-binomial bound", b.bound(trials, p, 0.05), f.BetaBinomial.Bound)
	})
	v.run(func() { check("stitched", stitched(100, 0.05, 10, 3), f.Stitched) })
	for _, c := range f.Bernoulli {
		v.run(func() {
			low, high := tunedBinary(c.Horizon, 0.05, false).interval(c.Successes, c.Trials, c.Alpha)
			check("low", low, c.CI[0])
			check("high", high, c.CI[1])
		})
	}
	for _, c := range f.Quantile.Cases {
		v.run(func() {
			a, b := make([]Step, 1000), make([]Step, 1000)
			for i := range a {
				a[i], b[i] = Step{float64(i + 1), 1}, Step{float64(i+1) + c.Offset, 1}
			}
			p, err := QuantileP(a, b, c.Q, 100)
			if err != nil {
				v.fail(err)
			}
			check("p", p, c.P)
		})
	}
	return nil
}

type anytimeTCase struct {
	T2, Nu, N, G, P float64
	LogG            float64 `json:"log_G"`
}

func checkAnytimeT(v *tally, c *anytimeTCase) {
	log := studentMixture{c.G}.log(c.T2, c.Nu, c.N)
	v.is("log", log, c.LogG)
	v.is("p", min(1, math.Exp(-log)), c.P)
}

type pairedCase struct {
	Diff []float64
	T, P float64
	W    float64 `json:"wilcoxon_p"`
}

func checkPaired(v *tally, c *pairedCase) {
	var p Paired
	for _, d := range c.Diff {
		if err := p.Add(d); err != nil {
			v.fail(err)
		}
	}
	d := p.contrast()
	v.is("t", d.value/d.se, c.T)
	got, err := p.Judge(Options{Test: Fixed, Least: 2}, 0)
	if err != nil {
		v.fail(err)
		return
	}
	v.is("p", got.P, c.P)
	w, err := Wilcoxon(c.Diff)
	if err != nil {
		v.fail(err)
	}
	v.is("Wilcoxon's p", w, c.W)
}

type mcnemarCase struct {
	B, C  int64
	Exact float64 `json:"exact_p"`
	CC    float64 `json:"chi2_cc"`
	PCC   float64 `json:"p_cc"`
	Chi2  float64
	P     float64
}

func checkMcNemar(v *tally, c *mcnemarCase) {
	m := McNemar{c.B, c.C}
	v.is("exact p", m.Exact(), c.Exact)
	s, p := m.ChiSquare(true)
	v.is("corrected statistic", s, c.CC)
	v.is("corrected p", p, c.PCC)
	s, p = m.ChiSquare(false)
	v.is("statistic", s, c.Chi2)
	v.is("p", p, c.P)
}

type delongCase struct {
	Pair     string  `json:"pair"`
	A        float64 `json:"auc_a"`
	B        float64 `json:"auc_b"`
	VA       float64 `json:"var_a"`
	VB       float64 `json:"var_b"`
	Cov      float64 `json:"cov"`
	Z        float64 `json:"z_paired"`
	P        float64 `json:"p_paired"`
	T        float64 `json:"t_unpaired"`
	Unpaired float64 `json:"p_unpaired"`
	Freedom  float64 `json:"df_unpaired"`
}

// delongData is delong_asah_local_only.json, which is not everywhere: its licence does not let it be passed on.
type delongData struct {
	Outcome []int     `json:"outcome"`
	WFNS    []float64 `json:"wfns"`
	S100B   []float64 `json:"s100b"`
	NDKA    []float64 `json:"ndka"`
}

// checkDeLong needs data that the vectors do not have: without, the cases are not run, and said to be so. TestAUC holds the same code to
// another computation.
func checkDeLong(dir string) func(v *tally, raw json.RawMessage) error {
	return func(v *tally, raw json.RawMessage) error {
		b, err := os.ReadFile(filepath.Join(dir, "delong_asah_local_only.json"))
		if errors.Is(err, fs.ErrNotExist) {
			var family struct {
				Cases []delongCase `json:"cases"`
			}
			if err := json.Unmarshal(raw, &family); err != nil {
				return err
			}
			for i := range family.Cases {
				v.notRun = append(v.notRun, family.Cases[i].Pair+": delong_asah_local_only.json, with the data, is not in the folder")
			}
			return nil
		}
		if err != nil {
			return err
		}
		var data delongData
		if err := json.Unmarshal(b, &data); err != nil {
			return err
		}
		return cases(func(v *tally, c *delongCase) { checkDeLongCase(v, c, &data) })(v, raw)
	}
}

func checkDeLongCase(v *tally, c *delongCase, data *delongData) {
	labels := make([]bool, len(data.Outcome))
	for i, o := range data.Outcome {
		labels[i] = o == 1
	}
	a, err := NewAUC(data.WFNS, labels)
	if err != nil {
		v.fail(err)
		return
	}
	b, err := NewAUC(map[string][]float64{"wfns_s100b": data.S100B, "wfns_ndka": data.NDKA}[c.Pair], labels)
	if err != nil {
		v.fail(err)
		return
	}
	v.is("area a", a.Area, c.A)
	v.is("area b", b.Area, c.B)
	v.is("variance a", a.Variance, c.VA)
	v.is("variance b", b.Variance, c.VB)
	d, err := a.Paired(b, 0.05)
	if err != nil {
		v.fail(err)
		return
	}
	v.is("z", -d.Statistic, c.Z)
	v.is("p", d.P, c.P)
	if d, err = a.Unpaired(b, 0.05); err != nil {
		v.fail(err)
		return
	}
	v.is("t", -d.Statistic, c.T)
	v.is("freedom", d.Freedom, c.Freedom)
	v.is("p", d.P, c.Unpaired)
}

type multipleCase struct{ P, Holm, BH, BY []float64 }

func checkMultiple(v *tally, c *multipleCase) {
	for correction, want := range map[Correction][]float64{Holm: c.Holm, BenjaminiHochberg: c.BH, BenjaminiYekutieli: c.BY} {
		got, err := correction.Adjust(c.P)
		if err != nil {
			v.fail(err)
			continue
		}
		for i := range got {
			v.is(string(correction), got[i], want[i])
		}
	}
}

type sizeCase struct {
	Effect       float64 `json:"effect_d"`
	Alpha, Power float64
	Ratio        float64
	T            float64 `json:"n1_t"`
	Z            float64 `json:"n1_z"`
}

func checkSize(v *tally, c *sizeCase) {
	d, err := Design{Deviation: 1, Effect: c.Effect, Alpha: c.Alpha, Power: c.Power, Weights: [2]float64{1, c.Ratio}, Test: Fixed}.complete()
	if err != nil {
		v.fail(err)
		return
	}
	v.isRoot("units by the t-test", d.units(Fixed)*d.Weights[0], c.T, func(n float64) float64 { return d.power(n/d.Weights[0], Fixed) - c.Power })
	// The z-test of the reference, by the same power function.
	limit := stat.NormalQuantile(c.Alpha / 2)
	power := func(n float64) float64 { return normalPower(limit, c.Effect*math.Sqrt(n*d.Weights[1])) - c.Power }
	v.isRoot("units by the z-test", rootOf(1, 1e9, power), c.Z, power)
}

// isRoot holds a root to that of the reference. Where they differ by more than the vectors' tolerance, ours must be a root to the last
// digits, and the reference's where its solver, which stops at 1.5e-8 (statsmodels: fsolve), left it; the log says so.
func (v *tally) isRoot(what string, got, want float64, f func(float64) float64) {
	v.t.Helper()
	if math.Abs(got-want) <= relativeTolerance*want {
		return
	}
	v.t.Logf("%s, case %d: %s is %.17g, and of the reference %.17g: the power there is off by %.2g, and here by %.2g",
		v.family, v.total, what, got, want, f(want), f(got))
	v.within(what+": the power at the root", f(got), 0, 1e-13)
	v.within(what+": the power at the reference's root", f(want), 0, 1.5e-8)
	v.within(what, got, want, 5e-8*want)
}

type floorCase struct {
	P, W  []float64
	Floor float64
}

func checkFloor(v *tally, c *floorCase) {
	for i, w := range Floor(c.P, c.Floor) {
		v.is("share", w, c.W[i])
	}
}
