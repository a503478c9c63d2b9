package experiment

import (
	"math"

	"millrace.dev/internal/stat"
)

// The mixtures of this file are nonnegative supermartingales that start at 1 if a sum s, whose variance adds up to v, has the mean 0.
// By Ville's inequality such a process ever reaches 1/alpha with a probability of alpha at most: one may look after each unit,
// and stop when one likes. All of them, and how they are tuned, are of Howard, Ramdas, McAuliffe and Sekhon, Time-uniform, nonparametric,
// nonasymptotic confidence sequences, Annals of Statistics 49, 2021 (arXiv:1810.08240).

// tuning returns the rho with which the bound of a two-sided mixture is the tightest at a variance of v, about; for alpha below 1.
func tuning(v, alpha float64) float64 { return v / spread2(alpha) }

// spread2 returns 2 ln(1/alpha) + ln(1 + 2 ln(1/alpha)).
func spread2(alpha float64) float64 {
	l := float64(-2 * math.Log(alpha))
	return l + math.Log1p(l)
}

// normalMixture mixes over all sizes of a difference with a normal distribution of variance 1/rho: both sides of it, or only the positive
// one. It is for sums of normal variables, or of variables whose tails are no heavier.
type normalMixture struct {
	rho      float64
	oneSided bool
}

// tuned returns the mixture that is tightest at a variance of v.
func tuned(v, alpha float64, oneSided bool) normalMixture {
	if oneSided {
		return normalMixture{tuning(v, 2*alpha), true}
	}
	return normalMixture{tuning(v, alpha), false}
}

// log returns the logarithm of the mixture.
func (m normalMixture) log(s, v float64) float64 {
	z := s / math.Sqrt(v+m.rho)
	return m.logAt(z, v)
}

func (m normalMixture) logAt(z, v float64) float64 {
	log := -float64(0.5*math.Log1p(v/m.rho)) + float64(z*z/2)
	if m.oneSided {
		log += math.Ln2 + stat.LogNormalTail(-z)
	}
	return log
}

// bound returns the sum at which the mixture reaches 1/alpha.
func (m normalMixture) bound(v, alpha float64) float64 {
	two := math.Sqrt(math.Log1p(v/m.rho) - 2*math.Log(alpha))
	if m.oneSided { // which is smaller, as the mixture is up to twice as large
		two = rootOf(-1, two, func(z float64) float64 { return m.logAt(z, v) + math.Log(alpha) })
	}
	return float64(math.Sqrt(v+m.rho) * two)
}

// gammaExponential is the mixture for sums of which single steps up, less their variance, may be as heavy-tailed as exponential variables
// of mean c: among them sums of variables that are bounded by c, with the variance as it was observed.
type gammaExponential struct{ rho, c float64 }

func (m gammaExponential) log(s, v float64) float64 {
	prior, shape := m.rho/float64(m.c*m.c), (v+m.rho)/float64(m.c*m.c)
	x := shape + s/m.c
	if x <= 0 {
		return math.Inf(-1)
	}
	at, _ := stat.GammaShares(shape, x)
	start, _ := stat.GammaShares(prior, prior)
	return stat.Deviance(shape, x) + float64(0.5*math.Log(prior/shape)) + stat.StirlingRest(shape) - stat.StirlingRest(prior) + math.Log(at) - math.Log(start)
}

func (m gammaExponential) bound(v, alpha float64) float64 {
	f := func(s float64) float64 { return m.log(s, v) + math.Log(alpha) }
	return rootOf(0, firstAbove(stitched(v, alpha, m.rho, m.c), f), f)
}

// gammaPoisson is the mixture for counts: for sums whose steps are c at most, and whose variance is known, such as those of a
// Poisson process.
type gammaPoisson struct{ rho, c float64 }

func (m gammaPoisson) log(s, v float64) float64 {
	prior, rate := m.rho/float64(m.c*m.c), (v+m.rho)/float64(m.c*m.c)
	x := rate + s/m.c
	if x <= 0 {
		return math.Inf(-1)
	}
	_, at := stat.GammaShares(x, rate)
	_, start := stat.GammaShares(prior, prior)
	return stat.Deviance(x, rate) + float64(0.5*math.Log(prior/x)) + stat.StirlingRest(x) - stat.StirlingRest(prior) + math.Log(at) - math.Log(start)
}

func (m gammaPoisson) bound(v, alpha float64) float64 {
	f := func(s float64) float64 { return m.log(s, v) + math.Log(alpha) }
	return rootOf(0, firstAbove(math.Sqrt(v+m.rho), f), f)
}

// stitched returns a bound in closed form for sums whose steps have exponential tails of mean c, from a variance of start on: it grows as
// slowly as any can, as the law of the iterated logarithm says (Theorem 1, with s = 1.4 and eta = 2). It is near that of a mixture, and so where the
// search for that one begins.
func stitched(v, alpha, start, c float64) float64 {
	const (
		s, eta = 1.4, 2
		zeta   = 3.105547277977581 // ζ(1.4)
	)
	k1, k2 := (math.Sqrt(math.Sqrt(eta))+1/math.Sqrt(math.Sqrt(eta)))/math.Sqrt2, (math.Sqrt2+1)/2
	v = max(v, start)
	l := float64(s*math.Log(math.Log(eta*v/start))) + math.Log(zeta) - float64(s*math.Log(math.Ln2)) - math.Log(alpha)
	slow := float64(float64(k2*c) * l)
	return math.Sqrt(float64(float64(k1*k1)*float64(v*l))+float64(slow*slow)) + slow
}
