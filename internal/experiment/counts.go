package experiment

import (
	"math"

	"millrace.dev/internal/stat"
)

// dirichlet is the mixture over the shares of categories with a Dirichlet distribution around the shares of the hypothesis, which weighs
// as much as k counts: the Bayes factor is a martingale under the hypothesis, and 1 over it a p-value at any time (Lindon and
// Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022).
//
// The logarithm of B(k θ + c)/B(k θ) ∏ θ^-c is written so that nothing cancels, whatever the counts.
func dirichlet(counts, shares []float64, k float64) float64 {
	total := k
	for _, c := range counts {
		total += c
	}
	log := float64(0.5*math.Log(total/k)) - stat.StirlingRest(total) + stat.StirlingRest(k)
	for i, c := range counts {
		prior := float64(k * shares[i])
		at := prior + c
		log += stat.Deviance(at, float64(total*shares[i])) - float64(0.5*math.Log(at/prior)) + stat.StirlingRest(at) - stat.StirlingRest(prior)
	}
	return log
}

// binary is the mixture for the number of trials that succeed: the beta-binomial one of Howard et al. Its prior weighs as much as k
// trials. One side of it has only shares above the one of the hypothesis.
type binary struct {
	k        float64
	oneSided bool
}

// tunedBinary returns the mixture that is tightest after that many trials.
func tunedBinary(trials, alpha float64, oneSided bool) binary {
	if oneSided {
		alpha *= 2
	}
	return binary{max(trials/spread2(alpha)-1, 1e-3), oneSided}
}

// log returns the logarithm of the mixture for successes of trials, if the share of the hypothesis is p, which is above 0 and below 1.
// The numbers need not be whole.
func (b binary) log(successes, trials, p float64) float64 {
	q := 1 - p
	failures := trials - successes
	log := dirichlet([]float64{successes, failures}, []float64{p, q}, b.k)
	if b.oneSided {
		above := stat.BetaShare(float64(b.k*q)+failures, float64(b.k*p)+successes, q, p)
		log += math.Log(above) - math.Log(stat.BetaShare(float64(b.k*q), float64(b.k*p), q, p))
		if successes <= float64(trials*p) { // no share above p explains this better; the tail may be too small for its logarithm to be right
			log = min(log, 0)
		}
	}
	return log
}

// bound returns the number of successes, beyond trials*p, at which the mixture reaches 1/alpha; at most all.
func (b binary) bound(trials, p, alpha float64) float64 {
	expected := float64(trials * p)
	f := func(s float64) float64 { return b.log(expected+s, trials, p) + math.Log(alpha) }
	most := trials - expected
	if f(most) < 0 {
		return most
	}
	return rootOf(0, most, f)
}

// interval returns the shares that the mixtures around them do not rule out: a confidence sequence for a share. For one that is one-sided,
// it is the lower end that is a bound, and high is 1.
func (b binary) interval(successes, trials, alpha float64) (low, high float64) {
	at := successes / trials
	excess := func(p float64) float64 { return b.log(successes, trials, p) + math.Log(alpha) }
	low, high = 0, 1
	const end = 1e-15 // where a mixture does not reach 1/alpha here, it never does
	if first := float64(at * end); at > 0 && excess(first) > 0 {
		low = rootOf(first, at, func(p float64) float64 { return -excess(p) })
	}
	if last := 1 - float64((1-at)*end); !b.oneSided && last < 1 && excess(last) > 0 {
		high = rootOf(at, last, excess)
	}
	return low, high
}
