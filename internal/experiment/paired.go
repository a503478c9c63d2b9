package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"millrace.dev/internal/stat"
)

// Paired accumulates differences: between two models on the same record, say loss of the candidate minus loss of the champion. The zero
// value is empty. Parts that were filled apart can be merged.
type Paired struct {
	Pairs   int64 `json:"pairs"`
	Sum     Total `json:"sum"`
	Squares Total `json:"squares"`
	Cubes   Total `json:"cubes"` // which tell how skewed the differences are
}

// Add takes a difference in.
func (p *Paired) Add(difference float64) error {
	if !fits(difference) {
		return fmt.Errorf("experiment: a difference must be a number up to %g, and is %g", MostLoss, difference)
	}
	if p.Pairs == mostCount {
		return errors.New("experiment: too many pairs")
	}
	square := product(difference, difference)
	p.Merge(&Paired{1, Total{difference, 0}, square, square.times(Total{difference, 0})})
	return nil
}

// Merge takes in what o has, which stays as it is.
func (p *Paired) Merge(o *Paired) {
	*p = Paired{p.Pairs + o.Pairs, p.Sum.plus(o.Sum), p.Squares.plus(o.Squares), p.Cubes.plus(o.Cubes)}
}

// Validate tells whether differences can have such sums.
func (p *Paired) Validate() error {
	c := Cross{Units: p.Pairs, Y: p.Sum, YY: p.Squares}
	if p.Pairs > 0 {
		n := Total{float64(p.Pairs), 0}
		c.D, c.DD, c.YD = n, n, p.Sum
	}
	if err := c.Validate(); err != nil {
		return err
	}
	// |sum d³| <= sum d² * max |d| <= (sum d²)^1.5
	limit := float64(p.Squares.High * math.Sqrt(max(0, p.Squares.High)))
	if !(math.Abs(p.Cubes.High) <= limit+float64(slack*limit)) || p.Cubes.High+p.Cubes.Low != p.Cubes.High {
		return errors.New("experiment: the sum of cubes does not fit the squares")
	}
	return nil
}

// UnmarshalJSON reads what the encoder wrote, and refuses what [Paired.Validate] does.
func (p *Paired) UnmarshalJSON(b []byte) error {
	type plain Paired
	var read plain
	if err := json.Unmarshal(b, &read); err != nil {
		return fmt.Errorf("experiment: sums of differences: %w", err)
	}
	if err := (*Paired)(&read).Validate(); err != nil {
		return err
	}
	*p = Paired(read)
	return nil
}

// contrast returns the mean difference.
func (p *Paired) contrast() contrast {
	n := float64(p.Pairs)
	mean := p.Sum.over(n)
	s := sample{n, mean.High, 0, 0}
	if rest := p.Squares.minus(p.Sum.times(mean)).High; p.Pairs > 1 && rest > rounding*p.Squares.High {
		s.variance = rest / (n - 1)
		// The third central moment: cubes - 3 mean squares + 2 n mean³.
		double := Total{2 * n, 0}.times(mean).times(mean).times(mean)
		s.third = p.Cubes.minus(Total{3, 0}.times(mean).times(p.Squares)).plus(double).High / n
	}
	return single(s)
}

// single returns the mean of one sample as a contrast.
func single(s sample) contrast {
	skew := skewness(sample{n: 1}, s, 0)
	return contrast{s.mean, math.Sqrt(s.variance / s.n), s.n - 1, s.n, skew, skew}
}

// studentMixture is the mixture over differences for normal variables whose variance is not known: a normal distribution of variance 1/g
// in units of it, and every scale alike (Lindon, Ham, Tingley and Bojinov, Anytime-valid inference in linear models,
// arXiv:2210.08589). It is exact for normal variables, and asymptotic for others; at few units it is wider than the normal mixture.
type studentMixture struct{ g float64 }

// log returns the logarithm of the mixture for a squared t statistic of n units.
func (m studentMixture) log(square, freedom, n float64) float64 {
	r := m.g / (m.g + n)
	return float64(0.5*math.Log(r)) + float64(0.5*(freedom+1)*(math.Log1p(square/freedom)-math.Log1p(float64(r*square)/freedom)))
}

// bound returns the size of t at which the mixture reaches 1/alpha; +Inf where no t does.
func (m studentMixture) bound(freedom, n, alpha float64) float64 {
	r := m.g / (m.g + n)
	grown := math.Expm1(-(2*math.Log(alpha) + math.Log(r)) / (freedom + 1))
	rest := 1 - r - float64(r*grown)
	if !(rest > 0) {
		return math.Inf(1)
	}
	return math.Sqrt(freedom * grown / rest)
}

// anytimeT returns the interval and the p-value of the mean that hold at any time.
func (c contrast) anytimeT(o *Options) (Interval, float64) {
	m := studentMixture{tuning(o.Horizon, o.Alpha)}
	t := c.value / c.se
	p := math.Exp(-m.log(float64(t*t), c.freedom, c.n))
	return c.guarded(c.around(float64(c.se*m.bound(c.freedom, c.n, o.Level)), twoSided), min(1, p))
}

// McNemar compares two classifiers on the same records by those of which only one is right (McNemar, Note on the sampling error of the
// difference between correlated proportions, Psychometrika 12, 1947).
type McNemar struct {
	OnlyControl   int64 `json:"only_control"`   // records of which only the control is right
	OnlyTreatment int64 `json:"only_treatment"` // records of which only the treatment is right
}

// Exact returns the p-value of the binomial test: at a planned number of records.
func (m McNemar) Exact() float64 {
	n, less := m.counts()
	if n == 0 {
		return 1
	}
	return min(1, 2*stat.BetaShare(n-less, less+1, 0.5, 0.5))
}

// ChiSquare returns the statistic and its p-value, with the correction for continuity (Edwards) or without.
func (m McNemar) ChiSquare(corrected bool) (statistic, p float64) {
	n, less := m.counts()
	if n == 0 {
		return 0, 1
	}
	d := n - 2*less
	if corrected {
		d = max(0, d-1)
	}
	statistic = float64(d*d) / n
	return statistic, stat.ChiSquareTail(statistic, 1)
}

// Anytime returns the p-value that holds however often one looks: of the beta-binomial mixture, tuned for so many records of which only
// one is right.
func (m McNemar) Anytime(horizon float64) float64 {
	n, less := m.counts()
	if n == 0 {
		return 1
	}
	return min(1, math.Exp(-tunedBinary(max(1, horizon), defaultAlpha, false).log(less, n, 0.5)))
}

func (m McNemar) counts() (n, less float64) {
	b, c := float64(max(0, m.OnlyControl)), float64(max(0, m.OnlyTreatment))
	return b + c, min(b, c)
}
