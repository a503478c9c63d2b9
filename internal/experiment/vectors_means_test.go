package experiment

import "math"

func vectorFamilies(dir string) []vectorFamily {
	return []vectorFamily{
		{"welch_t", cases(checkWelch)},
		{"cuped", cases(checkCUPED)},
		{"ratio_delta_method", cases(checkRatio)},
		{"asymptotic_confidence_sequence", cases(checkSequence)},
		{"srm_chi2", cases(checkChiSquareRatio)},
		{"srm_sequential", cases(checkSequentialRatio)},
		{"msprt_normal", cases(checkSPRT)},
		{"confseq_reference", checkBoundaries},
		{"anytime_valid_t", cases(checkAnytimeT)},
		{"paired_t_raw", whole(checkPaired)},
		{"mcnemar", cases(checkMcNemar)},
		{"delong_auc", checkDeLong(dir)},
		{"multiple_testing", whole(checkMultiple)},
		{"sample_size", cases(checkSize)},
		{"bandit_floor", cases(checkFloor)},
	}
}

type sums struct {
	N          float64
	Sum        float64
	SumSquares float64 `json:"sum_squares"`
	Kind       string
}

// sample returns what the reference makes of sums.
func (s sums) sample() sample {
	mean := s.Sum / s.N
	if s.Kind == "ProportionStatistic" {
		return sample{n: s.N, mean: mean, variance: mean * (1 - mean)}
	}
	return sample{n: s.N, mean: mean, variance: (s.SumSquares - s.Sum*s.Sum/s.N) / (s.N - 1)}
}

func (s sums) cross() *Cross {
	c := &Cross{Units: int64(s.N), Y: Total{s.Sum, 0}, YY: Total{s.SumSquares, 0}, D: Total{s.N, 0}, DD: Total{s.N, 0}, YD: Total{s.Sum, 0}}
	return c
}

type meansCase struct {
	A, B             sums
	Difference, Test string
	Alpha            float64
	DOF, Expected    float64
	CI               [2]number
	SE, P            float64
	Horizon          float64 `json:"tuning_n_star"`
	Rho              float64
}

func (c *meansCase) contrast() contrast {
	if c.Difference == "relative" {
		return relative(c.A.sample(), c.B.sample())
	}
	return absolute(c.A.sample(), c.B.sample())
}

func (v *tally) isInterval(i Interval, ci [2]number) {
	v.t.Helper()
	v.is("low", i.Low, float64(ci[0]))
	v.is("high", i.High, float64(ci[1]))
}

func checkWelch(v *tally, c *meansCase) {
	d := c.contrast()
	tested := map[string]side{"TwoSidedTTest": twoSided, "OneSidedTreatmentLesserTTest": lesser, "OneSidedTreatmentGreaterTTest": greater}[c.Test]
	v.is("freedom", d.freedom, c.DOF)
	v.is("difference", d.value, c.Expected)
	v.is("standard error", d.se, c.SE)
	v.isInterval(d.student(c.Alpha, tested), c.CI)
	v.isP("p", d.studentP(tested), c.P)
}

func checkSequence(v *tally, c *meansCase) {
	d := c.contrast()
	interval, p := d.sequence(c.Alpha, c.Alpha, c.Horizon, twoSided)
	v.is("rho", 1/math.Sqrt(tuned(c.Horizon, c.Alpha, false).rho), c.Rho)
	v.is("difference", d.value, c.Expected)
	v.is("standard error", d.se, c.SE)
	v.isInterval(interval, c.CI)
	v.is("p", p, c.P)
}

type adjustedArm struct {
	N         float64
	Post, Pre sums
	Products  float64 `json:"post_pre_sum_of_products"`
}

func (a adjustedArm) cross() *Cross {
	c := a.Post.cross()
	c.X, c.XX, c.YX, c.XD = Total{a.Pre.Sum, 0}, Total{a.Pre.SumSquares, 0}, Total{a.Products, 0}, Total{a.Pre.Sum, 0}
	return c
}

type adjustedCase struct {
	Difference      string
	Theta           float64
	A, B            adjustedArm
	Expected, SE, P float64
	CI              [2]number
}

func checkCUPED(v *tally, c *adjustedCase) {
	a, b := c.A.cross(), c.B.cross()
	got, err := Compare(a, b, Options{Test: Fixed})
	if err != nil {
		v.failed = true
		v.t.Error(err)
		return
	}
	v.is("theta", got.Theta, c.Theta)
	d, i, p := absolute(a.adjusted(got.Theta), b.adjusted(got.Theta)), got.Difference, got.P
	if c.Difference == "relative" {
		d = relativeAdjusted(a, b, got.Theta)
		i, p = (&Options{Test: Fixed, Alpha: 0.05, Level: 0.05}).judge(d, true)
		v.is("low", i.Low, got.Relative.Low)
		v.is("high", i.High, got.Relative.High)
	}
	v.is("difference", d.value, c.Expected)
	v.is("standard error", d.se, c.SE)
	v.isInterval(i, c.CI)
	v.isP("p", p, c.P)
}

type ratioArm struct {
	N        float64
	M        sums    `json:"m_statistic"`
	D        sums    `json:"d_statistic"`
	Products float64 `json:"m_d_sum_of_products"`
}

// cross returns the sums. The denominators of the vectors are no whole numbers, as counts of records are: what is tested does not need it.
func (a ratioArm) cross() *Cross {
	return &Cross{
		Units: int64(a.N), Y: Total{a.M.Sum, 0}, YY: Total{a.M.SumSquares, 0},
		D: Total{a.D.Sum, 0}, DD: Total{a.D.SumSquares, 0}, YD: Total{a.Products, 0},
	}
}

type ratioCase struct {
	A, B            ratioArm
	MeanA           float64 `json:"mean_a"`
	VarA            float64 `json:"var_a"`
	MeanB           float64 `json:"mean_b"`
	VarB            float64 `json:"var_b"`
	Expected, SE, P float64
	CI              [2]number
}

func checkRatio(v *tally, c *ratioCase) {
	a, b := c.A.cross().adjusted(0), c.B.cross().adjusted(0)
	v.is("mean a", a.mean, c.MeanA)
	v.is("variance a", a.variance, c.VarA)
	v.is("mean b", b.mean, c.MeanB)
	v.is("variance b", b.variance, c.VarB)
	d := absolute(a, b)
	v.is("difference", d.value, c.Expected)
	v.is("standard error", d.se, c.SE)
	v.isInterval(d.student(0.05, twoSided), c.CI)
	v.isP("p", d.studentP(twoSided), c.P)
}
