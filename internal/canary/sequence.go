package canary

import (
	"math"

	"millrace.dev/internal/experiment"
)

// bets is how many bets are mixed.
const bets = 8

// stakes are the parts of what one has that are bet: from nearly all to hardly any.
func stakes() [bets]float64 {
	var g [bets]float64
	for i, at := 0, 0.99; i < len(g); i, at = i+1, at/4 {
		g[i] = at
	}
	return g
}

// logWealth returns the logarithm of what somebody has made who bet, from 1 on, that each of n events has a probability above m, when
// k of them have happened. If none has, given those before it, it is a nonnegative supermartingale, which ever reaches 1/alpha with a
// probability of alpha at most: Ville's inequality; the bets are those of Waudby-Smith and Ramdas, Estimating means of bounded random variables by
// betting, JRSS B 86, 2024 (arXiv:2010.09686), mixed over stakes that are fixed beforehand. So it depends on the counts, and not on their
// order. It falls as m grows.
func logWealth(k, n int64, m float64) float64 {
	var logs [bets]float64
	most := math.Inf(-1)
	for i, g := range stakes() {
		win, lose := math.Log1p(float64(g*(1-m))/m), math.Log1p(-g)
		logs[i] = float64(n-k) * lose
		if k > 0 {
			logs[i] += float64(float64(k) * win)
		}
		most = max(most, logs[i])
	}
	if math.IsInf(most, 1) {
		return most
	}
	sum := 0.0
	for _, l := range logs {
		sum += math.Exp(l - most)
	}
	return most + math.Log(sum/float64(len(logs)))
}

// shareAtLeast returns the lower end of a confidence sequence for a share, after k of n: at all looks together it is above the share
// with a probability of alpha at most.
func shareAtLeast(k, n int64, alpha float64) float64 {
	if k <= 0 || n <= 0 {
		return 0
	}
	limit := -math.Log(alpha)
	low, high := 0.0, min(1, float64(k)/float64(n))
	for range 200 {
		mid := low + float64((high-low)/2)
		if mid == low || mid == high {
			break
		}
		if logWealth(k, n, mid) >= limit {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// tightest is the number of units at which bounds of ratios are the tightest, about.
const tightest = 2000

// mixtureBound returns the sum of n variables of variance 1 that a sum with a mean of 0 at most is ever above with a probability of alpha at
// most, once n is large: the one-sided normal mixture of Howard, Ramdas, McAuliffe and Sekhon, Time-uniform, nonparametric,
// nonasymptotic confidence sequences, Annals of Statistics 49, 2021 (arXiv:1810.08240), equation 14; for variances that are estimated
// it is asymptotic: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, arXiv:2103.06476.
func mixtureBound(n, alpha float64) float64 {
	l := -2 * math.Log(2*alpha)
	rho := tightest / (l + math.Log1p(l))
	inner := math.Sqrt((n+rho)/rho)/(2*alpha) + 1
	return math.Sqrt(float64(2*(n+rho)) * math.Log(inner))
}

// ratioAtLeast returns the ratio of the sum of y to that of x over the units of c, and the lower end of a confidence sequence for it, which is 0
// below least units.
func ratioAtLeast(c *experiment.Cross, alpha float64, least int64) (value, low float64) {
	y, x, n := c.Y.Float64(), c.X.Float64(), float64(c.Units)
	if c.Units == 0 || !(x > 0) || !(y >= 0) {
		return 0, 0
	}
	value = y / x
	if c.Units < least {
		return value, 0
	}
	bound := mixtureBound(n, alpha)
	// above tells whether the mean of y - r x is above 0 for sure.
	above := func(r float64) bool {
		mean := (y - float64(r*x)) / n
		square := (c.YY.Float64() - float64(2*r*c.YX.Float64()) + float64(float64(r*r)*c.XX.Float64())) / n
		variance := max(0, square-float64(mean*mean)) * n / (n - 1)
		return float64(mean*n) > float64(bound*math.Sqrt(variance))
	}
	from, to := 0.0, value
	for range 200 {
		mid := from + float64((to-from)/2)
		if mid == from || mid == to {
			break
		}
		if above(mid) {
			from = mid
		} else {
			to = mid
		}
	}
	return value, from
}
