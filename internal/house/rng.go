package house

import (
	"math"
	"math/rand/v2"

	"millrace.dev/internal/detmath"
)

// rng draws from the distributions of the generator. Each draw is a fixed function of the PCG's 64-bit
// outputs, made of operations that round the same way on every machine.
type rng struct {
	pcg   rand.PCG
	spare float64 // a normal deviate that normal has made and not returned yet
	has   bool
}

// newRNG returns the source of sale i: a stream of its own, so that sales can be made in any order.
func newRNG(seed, i uint64) rng {
	var r rng
	s := mix(seed + golden)
	r.pcg.Seed(s, mix(s^mix(i+golden)))
	return r
}

// golden is 2**64 divided by the golden ratio, the increment of SplitMix64.
const golden = 0x9e3779b97f4a7c15

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
// OOPSLA 2014): neighbouring inputs give unrelated outputs.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// uniform returns a multiple of 2**-53 in [0, 1).
func (r *rng) uniform() float64 { return float64(r.pcg.Uint64()>>11) / (1 << 53) }

// chance is true with probability p.
func (r *rng) chance(p float64) bool { return r.uniform() < p }

// below returns a whole number in [0, n). Its bias is less than n / 2**53.
func (r *rng) below(n int) int { return int(r.uniform() * float64(n)) }

// normal returns a standard normal deviate, by Marsaglia's polar method.
func (r *rng) normal() float64 {
	if r.has {
		r.has = false
		return r.spare
	}
	for {
		u, v := float64(2*r.uniform())-1, float64(2*r.uniform())-1
		s := float64(u*u) + float64(v*v)
		if s >= 1 || s == 0 {
			continue
		}
		f := math.Sqrt(-2 * detmath.Log(s) / s)
		r.spare, r.has = float64(v*f), true
		return float64(u * f)
	}
}

// student6 returns a deviate of Student's t distribution with six degrees of freedom: a normal deviate over
// the root of a mean chi-square, which for six degrees is minus a third of the logarithm of three uniforms.
func (r *rng) student6() float64 {
	u := (1 - r.uniform()) * (1 - r.uniform()) * (1 - r.uniform()) // in (0, 1]
	return r.normal() / math.Sqrt(detmath.Log(u)/-3)
}

// pick returns the first index whose cumulative share is above a uniform deviate.
func (r *rng) pick(cumulative []float64) int {
	u := r.uniform()
	lo, hi := 0, len(cumulative)-1
	for lo < hi {
		if mid := (lo + hi) / 2; u < cumulative[mid] {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// quantile returns a deviate whose quantiles at p are those of q, with straight lines between them. p goes
// from 0 to 1.
func (r *rng) quantile(p, q []float64) float64 {
	u := r.uniform()
	i := 1
	for i < len(p)-1 && u >= p[i] {
		i++
	}
	return q[i-1] + float64((q[i]-q[i-1])*((u-p[i-1])/(p[i]-p[i-1])))
}

// logistic returns 1 / (1 + e**-x).
func logistic(x float64) float64 { return 1 / (1 + detmath.Exp(-x)) }
