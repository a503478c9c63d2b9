package feature

import (
	"math"

	"github.com/expr-lang/expr/ast"
	"millrace.dev/internal/detmath"
)

func apply3(dst, a, b, c []float64, f func(x, y, z float64) float64) {
	a, b, c = a[:len(dst)], b[:len(dst)], c[:len(dst)]
	for i := range dst {
		dst[i] = finite(f(a[i], b[i], c[i]))
	}
}

// sign is -1, 0 or 1.
func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	default:
		return x + 0 // 0 for -0, too, or NaN
	}
}

// cycleSin is sin(2πx/period). The whole periods are taken off first, exactly.
func cycleSin(x, period float64) float64 { return detmath.SinTurns(turns(x, period)) + 0 }

func cycleCos(x, period float64) float64 { return detmath.CosTurns(turns(x, period)) + 0 }

func turns(x, period float64) float64 {
	switch {
	case !(period > 0):
		return nan()
	case x >= 0 && x < period: // an hour of a day: the remainder would take longer than the sine
		return x / period
	default:
		return math.Mod(x, period) / period
	}
}

// circleAngle is scale*(x-mu), the angle between two points of a circle of circumference 2π/scale, or NaN where one is
// outside 0 to the circumference.
func circleAngle(x, mu, scale float64) float64 {
	around := 2 * math.Pi / scale
	if !(scale > 0 && x >= 0 && x <= around && mu >= 0 && mu <= around) {
		return nan()
	}
	return float64(scale * (x - mu))
}

// vonMises is the density of the von Mises distribution at an angle from its mean, exp(kappa*cos(angle)) /
// (2π*I0(kappa)). Both are divided by exp(kappa), which neither could hold for a large kappa: i0 is exp(-kappa)*I0(kappa).
func vonMises(angle, kappa, i0 float64) float64 {
	if !(kappa >= 0) {
		return nan()
	}
	s := detmath.Sin(float64(0.5 * angle)) // cos(a)-1 is -2*sin(a/2)^2
	return detmath.Exp(float64(-2*kappa*float64(s*s))) / float64(2*math.Pi*i0)
}

// vonMisesAt checks von_mises(x, mu, kappa, scale).
func (s *scope) vonMisesAt(c *call) ref {
	a, ok := s.allNumbers(c)
	if !ok {
		return ref{}
	}
	return s.vonMisesDensity(c.node, a[0], a[1], a[2], a[3])
}

// vonMisesDensity adds the density at x, a number as the others are. What depends on kappa alone is a value of its own: it
// is mostly constant, and takes longer than the rest.
func (s *scope) vonMisesDensity(node ast.Node, x, mu, kappa, scale ref) ref {
	angle := s.apply(node, "circle_angle", nil, x, mu, scale)
	return s.apply(node, "von_mises", nil, angle, kappa, s.apply(node, "i0_scaled", nil, kappa))
}

// allNumbers checks the arguments of a call that takes numbers.
func (s *scope) allNumbers(c *call) ([]ref, bool) {
	a := s.all(c.args)
	for _, r := range a {
		if !r.ok() {
			return nil, false
		}
	}
	for _, r := range a {
		if r.kind != kindNumber {
			c.types(s)(a)
			return nil, false
		}
	}
	return a, true
}
