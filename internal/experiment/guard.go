package experiment

import (
	"errors"
	"fmt"
	"math"
)

// Outcome is what a guard says.
type Outcome string

// The outcomes.
const (
	Passes    Outcome = "passes"  // it is shown that the limit is kept
	Breaks    Outcome = "breaks"  // it is shown that the limit is exceeded
	Undecided Outcome = "not_yet" // either may still be
)

// Decision is what a guard says, and why.
type Decision struct {
	Guard   string  `json:"guard"`
	Outcome Outcome `json:"outcome"`
	// Estimate is what was measured. Each end of the interval fails with a probability of Alpha.
	Estimate Interval `json:"estimate"`
	Limit    float64  `json:"limit"`
	N        int64    `json:"n"` // records, units or pairs that were measured
	// P is the p-value, at any time, of the limit being kept.
	P     float64 `json:"p"`
	Alpha float64 `json:"alpha"`
	Why   string  `json:"why"` // in words, with the numbers
}

// Guards are sequential tests that limits are kept: they may be asked after every record. Over all guards and all looks together, the
// probability that any breaks although all limits are kept is at most the error rate; and each guard passes, although its limit is exceeded,
// with a probability of that rate divided by the number of guards. It has no state, and may be used by several goroutines.
type Guards struct {
	alpha   float64 // of each
	horizon float64
	least   int64
}

// defaultGuardHorizon is less than that of experiments: what a guard must see soon is large.
const defaultGuardHorizon = 1000

// NewGuards returns guards with an error rate over so many of them; 0 is 0.05. Horizon is the number of records at which they
// are the tightest; 0 is 1,000. Means are not judged below least units, 0 being 100.
func NewGuards(alpha float64, count int, horizon float64, least int64) (*Guards, error) {
	if horizon == 0 {
		horizon = defaultGuardHorizon
	}
	o, err := Options{Alpha: alpha, Horizon: horizon, Least: least}.complete()
	if err != nil {
		return nil, err
	}
	if count < 1 {
		return nil, errors.New("experiment: there is no guard")
	}
	return &Guards{o.Alpha / float64(count), o.Horizon, o.Least}, nil
}

// Alpha returns the error rate of each guard.
func (g *Guards) Alpha() float64 { return g.alpha }

// Proportion guards the share of records that something happens to, such as being refused: hits of so many, with a share of limit
// at most. It is exact at any number of records (the one-sided beta-binomial mixture of Howard et al.), provided that one record does
// not depend on another. A limit of 0 allows for none.
func (g *Guards) Proportion(name string, hits, records int64, limit float64) (*Decision, error) {
	switch {
	case hits < 0 || records < hits || records > mostCount:
		return nil, fmt.Errorf("experiment: guard %s: %d of %d records", name, hits, records)
	case !(limit >= 0 && limit < 1):
		return nil, fmt.Errorf("experiment: guard %s: a limit of a share is from 0 and below 1, not %g", name, limit)
	}
	d := &Decision{Guard: name, Estimate: Interval{math.NaN(), 0, 1}, Limit: limit, N: records, P: 1, Alpha: g.alpha}
	if records > 0 {
		k, n := float64(hits), float64(records)
		b := tunedBinary(g.horizon, g.alpha, true)
		low, _ := b.interval(k, n, g.alpha)
		rest, _ := b.interval(n-k, n, g.alpha)
		d.Estimate = Interval{k / n, low, 1 - rest}
		switch {
		case limit > 0:
			d.P = min(1, math.Exp(-b.log(k, n, limit)))
		case hits > 0:
			d.P = 0
		default:
		}
	}
	d.decide()
	d.Why = fmt.Sprintf("%d of %d records: %s", hits, records, d.words(percent))
	return d, nil
}

// Mean guards the mean of differences on the same records, such as latency or distance of predictions, with a mean of limit at most. It
// is an asymptotic sequence (a one-sided normal mixture, with the variance as estimated): nothing is decided before the mean can be taken
// for normal, see [Paired.Judge].
func (g *Guards) Mean(name string, p *Paired, limit float64) (*Decision, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("experiment: guard %s: %w", name, err)
	}
	if !fits(limit) {
		return nil, fmt.Errorf("experiment: guard %s: the limit %g is no number", name, limit)
	}
	d := &Decision{Guard: name, Estimate: unknown(), Limit: limit, N: p.Pairs, P: 1, Alpha: g.alpha}
	if p.Pairs > 0 {
		c := p.contrast()
		d.Estimate, d.P = g.mean(c, limit, p.Pairs >= g.least)
	}
	d.decide()
	d.Why = fmt.Sprintf("a mean of %s over %d pairs: %s", brief(d.Estimate.Value), d.N, d.words(brief))
	return d, nil
}

// mean returns the interval of a mean, and the p-value of its being limit or less.
func (g *Guards) mean(c contrast, limit float64, enough bool) (Interval, float64) {
	if !enough || c.se == 0 && c.n < g.horizon {
		return Interval{c.value, math.Inf(-1), math.Inf(1)}, 1
	}
	if c.se == 0 {
		p := 1.0
		if c.value > limit {
			p = 0
		}
		return Interval{c.value, c.value, c.value}, p
	}
	up, _ := c.sequence(g.alpha, g.alpha, g.horizon, greater)
	down, _ := c.sequence(g.alpha, g.alpha, g.horizon, lesser)
	over := c
	over.value -= limit
	_, p := over.sequence(g.alpha, g.alpha, g.horizon, greater)
	return over.guarded(Interval{c.value, up.Low, down.High}, p)
}

// Loss guards the loss of a treatment against that of the baseline on the same records: the mean of the one may be larger than that of the
// other by a share of limit. Estimate is that share. It is an asymptotic sequence of the mean over units of y - (1+limit) x, which
// needs no division (Fieller, Some problems in interval estimation, JRSS B 16, 1954).
func (g *Guards) Loss(name string, treatment *Cross, limit float64) (*Decision, error) {
	if err := treatment.Validate(); err != nil {
		return nil, fmt.Errorf("experiment: guard %s: %w", name, err)
	}
	if !(limit > -1 && limit <= mostShare) {
		return nil, fmt.Errorf("experiment: guard %s: a limit is a share of the baseline's loss, not %g", name, limit)
	}
	d := &Decision{Guard: name, Estimate: unknown(), Limit: limit, N: treatment.Units, P: 1, Alpha: g.alpha}
	if treatment.Units > 0 {
		d.Estimate, d.P = g.loss(treatment, limit)
	}
	d.decide()
	d.Why = fmt.Sprintf("a loss of %s beside the baseline's %s over %d units, %s: %s", brief(treatment.arm().Mean), brief(treatment.baseline()), d.N,
		signed(d.Estimate.Value), d.words(signed))
	return d, nil
}

// mostShare is the largest share that is looked at: a loss of a million times the baseline's.
const mostShare = 1e6

// loss returns the share by which the loss is larger than the baseline's, between the smallest and the largest one that the data do not rule out,
// and the p-value of its being limit or less.
func (g *Guards) loss(treatment *Cross, limit float64) (Interval, float64) {
	i := Interval{treatment.Y.High/treatment.X.High - 1, math.Inf(-1), math.Inf(1)}
	at := func(share float64) contrast {
		return single(treatment.adjusted(1 + share))
	}
	here := at(limit)
	if treatment.Units < g.least || here.se == 0 && here.n < g.horizon {
		return i, 1
	}
	m, reached := tuned(g.horizon, g.alpha, true), -math.Log(g.alpha)
	// evidence returns the logarithm of the mixture for the share being larger (sign 1) or smaller (-1) than one, less what rules it out.
	evidence := func(share, sign float64) float64 {
		c := at(share)
		if c.se == 0 {
			return math.Copysign(math.Inf(1), float64(sign*c.value)) // of 0 either will do
		}
		return m.log(float64(sign*c.value/c.se)*math.Sqrt(c.n), c.n) - reached
	}
	if top := min(i.Value, mostShare); evidence(-1, 1) > 0 {
		i.Low = rootOf(-1, top, func(x float64) float64 { return -evidence(x, 1) })
	}
	if i.Value < mostShare && evidence(mostShare, -1) > 0 {
		i.High = rootOf(i.Value, mostShare, func(x float64) float64 { return evidence(x, -1) })
	}
	return here.guarded(i, min(1, math.Exp(-evidence(limit, 1)-reached)))
}

// baseline returns the mean loss of the baseline per record.
func (c *Cross) baseline() float64 {
	if c.Units == 0 {
		return 0
	}
	return c.perRecord(c.X)
}

// Bounded guards the mean of numbers between two bounds, with a mean of limit at most. It holds from the first one on, whatever their
// distribution (the empirical Bernstein sequence of Howard et al.), and is wider than that of [Guards.Mean].
func (g *Guards) Bounded(name string, b *Bounded, limit float64) (*Decision, error) {
	if err := b.Validate(); err != nil {
		return nil, fmt.Errorf("experiment: guard %s: %w", name, err)
	}
	if !(limit >= b.Low && limit <= b.High) {
		return nil, fmt.Errorf("experiment: guard %s: the limit %g is not between %g and %g", name, limit, b.Low, b.High)
	}
	d := &Decision{Guard: name, Estimate: b.interval(g.horizon, g.alpha), Limit: limit, N: b.N, P: b.exceeds(limit, g.horizon, g.alpha), Alpha: g.alpha}
	d.decide()
	d.Why = fmt.Sprintf("a mean of %s over %d records: %s", brief(d.Estimate.Value), d.N, d.words(brief))
	return d, nil
}

// Rate guards how often something happens for each unit of exposure: events of one record that may be several, or failures by the
// hour; at a rate of limit at most. The horizon is one of exposure here. It takes events for a Poisson process (the gamma-Poisson mixture of Howard et al., and below the rate a normal
// one): events that come in bunches break it too soon.
func (g *Guards) Rate(name string, events int64, exposure, limit float64) (*Decision, error) {
	if events < 0 || events > mostCount || !(exposure >= 0 && exposure <= MostLoss) || !(limit > 0 && limit <= MostLoss) {
		return nil, fmt.Errorf("experiment: guard %s: %d events in %g, with a limit of %g", name, events, exposure, limit)
	}
	d := &Decision{Guard: name, Estimate: Interval{math.NaN(), 0, math.Inf(1)}, Limit: limit, N: events, P: 1, Alpha: g.alpha}
	if exposure > 0 {
		n, reached, usual := float64(events), -math.Log(g.alpha), max(1, float64(limit*g.horizon))
		over := func(rate float64) float64 {
			v := float64(rate * exposure)
			return gammaPoisson{tuning(usual, 2*g.alpha), 1}.log(n-v, v)
		}
		under := func(rate float64) float64 {
			v := float64(rate * exposure)
			return tuned(usual, g.alpha, true).log(v-n, v) - reached
		}
		d.P = min(1, math.Exp(-over(limit)))
		d.Estimate.Value = n / exposure
		if over(0) > reached {
			d.Estimate.Low = rootOf(0, d.Estimate.Value, func(rate float64) float64 { return reached - over(rate) })
		}
		d.Estimate.High = rootOf(d.Estimate.Value, firstAbove(d.Estimate.Value+1/exposure, under), under)
	}
	d.decide()
	d.Why = fmt.Sprintf("%d events in %s: %s", events, brief(exposure), d.words(brief))
	return d, nil
}

// Quantile guards a quantile, such as the 99th percentile of the latency, against that of a baseline: it may be larger by a share of
// limit. Estimate is that share, without an interval. It assumes nothing of the distributions: see [QuantileP]. Values must be above 0;
// of bins, the width must be small beside the limit. It breaks, and has no Passes.
func (g *Guards) Quantile(name string, values, baseline []Step, q, limit float64) (*Decision, error) {
	if !(limit > -1 && limit <= mostShare) {
		return nil, fmt.Errorf("experiment: guard %s: a limit is a share of the baseline's quantile, not %g", name, limit)
	}
	allowed := make([]Step, len(baseline))
	for i, s := range baseline {
		allowed[i] = Step{float64(s.Value * (1 + limit)), s.Count}
	}
	p, err := QuantileP(values, allowed, q, g.horizon)
	if err != nil {
		return nil, fmt.Errorf("experiment: guard %s: %w", name, err)
	}
	d := &Decision{Guard: name, Outcome: Undecided, Estimate: unknown(), Limit: limit, P: 1, Alpha: g.alpha}
	for _, s := range values {
		d.N += s.Count
	}
	mine, its := quantileOf(values, q), quantileOf(baseline, q)
	d.Estimate.Value = mine/its - 1
	words := "it is not known yet"
	if mine > float64(its*(1+limit)) { // evidence for less is none against the limit
		if d.P = p; p <= g.alpha {
			d.Outcome, words = Breaks, "it is shown that the limit is exceeded"
		}
	}
	d.Why = fmt.Sprintf("the %g quantile of %d values is %s, and of the baseline %s (%s, with a limit of %s): %s", q, d.N, brief(mine), brief(its),
		signed(d.Estimate.Value), signed(limit), words)
	return d, nil
}

// quantileOf returns the smallest value that a share of q lies at or below; NaN of none.
func quantileOf(steps []Step, q float64) float64 {
	var n, below float64
	for _, s := range steps {
		n += float64(s.Count)
	}
	for _, s := range steps {
		if below += float64(s.Count); below >= float64(n*q) && below > 0 {
			return s.Value
		}
	}
	return math.NaN()
}

// decide sets the outcome by the interval and the p-value.
func (d *Decision) decide() {
	switch {
	case d.P <= d.Alpha:
		d.Outcome = Breaks
	case d.Estimate.High <= d.Limit:
		d.Outcome = Passes
	default:
		d.Outcome = Undecided
	}
}

// words says what the interval and the limit come to.
func (d *Decision) words(number func(float64) string) string {
	sure := fmt.Sprintf("%.4g %%", 100*(1-d.Alpha))
	switch {
	case d.Outcome == Breaks:
		return fmt.Sprintf("at least %s (%s sure), more than the limit of %s", number(d.Estimate.Low), sure, number(d.Limit))
	case d.Outcome == Passes:
		return fmt.Sprintf("at most %s (%s sure), within the limit of %s", number(d.Estimate.High), sure, number(d.Limit))
	case !d.Estimate.Bounded():
		return "too little to judge by yet, with a limit of " + number(d.Limit)
	default:
		return fmt.Sprintf("from %s to %s, and the limit of %s lies between", number(d.Estimate.Low), number(d.Estimate.High), number(d.Limit))
	}
}

func percent(x float64) string { return fmt.Sprintf("%.4g %%", 100*x) }

func signed(x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "unknown"
	}
	return fmt.Sprintf("%+.4g %%", 100*x)
}
