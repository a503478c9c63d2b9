package feature

import "math"

// A kernel computes one value for each element of dst. Its operands are at least as long as dst and share no
// memory with it.

func nan() float64 { return math.NaN() }

// finite returns r, or NaN where r is infinite: r-r is 0 for a finite number and NaN for the others, and r-0
// keeps the sign of a zero.
func finite(r float64) float64 { return r - (r - r) }

func add(dst, a, b []float64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = finite(a[i] + b[i])
	}
}

func sub(dst, a, b []float64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = finite(a[i] - b[i])
	}
}

func mul(dst, a, b []float64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = finite(float64(a[i] * b[i]))
	}
}

func div(dst, a, b []float64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = finite(a[i] / b[i])
	}
}

// least is the smaller number, -0 below 0; NaN where one is NaN, as the built-in min has it.
func least(dst, a, b []float64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = min(a[i], b[i])
	}
}

func greatest(dst, a, b []float64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = max(a[i], b[i])
	}
}

// apply2 is for functions that take far longer than a call.
func apply2(dst, a, b []float64, f func(x, y float64) float64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = finite(f(a[i], b[i]))
	}
}

func apply(dst, a []float64, f func(float64) float64) {
	a = a[:len(dst)]
	for i := range dst {
		dst[i] = finite(f(a[i]))
	}
}

func neg(dst, a []float64) {
	a = a[:len(dst)]
	for i := range dst {
		dst[i] = -a[i]
	}
}

func abs(dst, a []float64) {
	a = a[:len(dst)]
	for i := range dst {
		dst[i] = math.Abs(a[i])
	}
}

func floor(dst, a []float64) {
	a = a[:len(dst)]
	for i := range dst {
		dst[i] = math.Floor(a[i])
	}
}

func ceil(dst, a []float64) {
	a = a[:len(dst)]
	for i := range dst {
		dst[i] = math.Ceil(a[i])
	}
}

func round(dst, a []float64) {
	a = a[:len(dst)]
	for i := range dst {
		dst[i] = math.Round(a[i])
	}
}

func sqrt(dst, a []float64) {
	a = a[:len(dst)]
	for i := range dst {
		dst[i] = math.Sqrt(a[i])
	}
}

func coalesceNumber(dst, a, b []float64) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		v := math.Float64bits(a[i]) // on bits, so that it compiles to a conditional move
		if a[i] != a[i] {
			v = math.Float64bits(b[i])
		}
		dst[i] = math.Float64frombits(v)
	}
}

func selectNumber(dst []float64, cond []uint8, a, b []float64) {
	cond, a, b = cond[:len(dst)], a[:len(dst)], b[:len(dst)]
	missing := math.Float64bits(nan())
	for i, c := range cond {
		v, x := math.Float64bits(b[i]), math.Float64bits(a[i])
		if c == yes {
			v = x
		}
		if c == unknown {
			v = missing
		}
		dst[i] = math.Float64frombits(v)
	}
}

func numberBool(dst []float64, a []uint8) {
	a = a[:len(dst)]
	values := [4]float64{no: 0, unknown: nan(), 2: nan(), yes: 1}
	for i := range dst {
		dst[i] = values[a[i]&3]
	}
}
