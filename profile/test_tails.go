package profile

import (
	"math"

	"millrace.dev/internal/detmath"
)

func logChoose(n, k float64) float64 {
	a, _ := math.Lgamma(n + 1)
	b, _ := math.Lgamma(k + 1)
	c, _ := math.Lgamma(n - k + 1)
	return a - b - c
}

// ksTail returns the probability of a Kolmogorov-Smirnov statistic of at least d for m and n values of one continuous
// distribution: exact where that takes few steps, as scipy's "exact"; else by the distribution of one sample's statistic
// with mn/(m+n) values, scipy's "asymp"; and of many values by its limit.
func ksTail(d, m, n float64) float64 {
	const steps = 4 << 20
	if d <= 0 {
		return 1
	}
	if m*n <= steps {
		return ksExact(d, int(m), int(n))
	}
	if rows := math.Round(m * n / (m + n)); rows*d < 64 && rows < 1e6 {
		return ksOneSample(d, int(rows))
	}
	return ksLimit(d * math.Sqrt(m*n/(m+n)))
}

// ksExact counts paths: of all orders of m and n values, which are paths from one corner of a grid to the other, the part
// that gets as far as d from the diagonal. Only sums of positive numbers are formed, so that small results are exact too.
func ksExact(d float64, m, n int) float64 {
	most := math.Ceil(d*float64(m)*float64(n)-1e-7) - 0.5 // in units of 1/(mn), in which the distance is whole
	out := func(i, j int) bool {
		return math.Abs(float64(i)*float64(n)-float64(j)*float64(m)) >= most
	}
	row := make([]float64, n+1) // the part of the paths to (i, j) that was outside
	for i := range m + 1 {
		for j := range n + 1 {
			switch {
			case out(i, j):
				row[j] = 1
			case i == 0 && j == 0:
				row[j] = 0
			case i == 0:
				row[j] = row[j-1]
			case j > 0:
				total := float64(i + j)
				row[j] = float64(row[j]*(float64(i)/total)) + float64(row[j-1]*(float64(j)/total))
			}
		}
	}
	return min(row[n], 1)
}

// ksLimit is Kolmogorov's limit for the statistic times the root of the number of values.
func ksLimit(x float64) float64 {
	if x < 0.2 { // 1 - 5e-13
		return 1
	}
	sum, sign := 0.0, 1.0
	for k := 1.0; k <= 100; k++ {
		term := detmath.Exp(-2 * float64(float64(k*k)*float64(x*x)))
		sum += sign * term
		if sign = -sign; term < 1e-20 {
			break
		}
	}
	return min(max(0, 2*sum), 1)
}

// ksOneSample returns the probability that the statistic of n values is at least d: n!/n^n times an element of the n-th
// power of a matrix (Marsaglia, Tsang and Wang, "Evaluating Kolmogorov's distribution", 2003), and in the tail twice the
// probability of one side, from which it then differs by less than that formula's rounding (Simard and L'Ecuyer,
// "Computing the two-sided Kolmogorov-Smirnov distribution", 2011).
func ksOneSample(d float64, n int) float64 {
	if d >= 1 {
		return 0
	}
	if rows := float64(n); rows*d*d > 4 {
		return min(1, 2*ksOneSide(d, n))
	}
	return min(max(0, 1-ksMatrix(d, n)), 1)
}

// ksOneSide is Smirnov's formula for the largest difference to one side.
func ksOneSide(d float64, n int) float64 {
	rows, sum := float64(n), 0.0
	for j := 0.0; j <= math.Floor(rows*(1-d)); j++ {
		at := d + j/rows
		rest := 1 - at
		if rest <= 0 {
			continue
		}
		sum += detmath.Exp(logChoose(rows, j) + float64((rows-j)*logOf(rest)) + float64((j-1)*logOf(at)))
	}
	return float64(d * sum)
}

func ksMatrix(d float64, n int) float64 {
	k := int(float64(n)*d) + 1
	size := 2*k - 1
	h := float64(k) - float64(float64(n)*d)
	a := make([]float64, size*size)
	for i := range size {
		for j := range size {
			if i-j+1 >= 0 {
				a[i*size+j] = 1
			}
		}
	}
	for i := range size {
		a[i*size] -= math.Pow(h, float64(i+1))
		a[(size-1)*size+i] -= math.Pow(h, float64(size-i))
	}
	if 2*h-1 > 0 {
		a[(size-1)*size] += math.Pow(2*h-1, float64(size))
	}
	for i := range size {
		for j := range size {
			for g := 1; g <= i-j+1; g++ {
				a[i*size+j] /= float64(g)
			}
		}
	}
	q, exponent := matrixPower(a, size, n)
	s := q[(k-1)*size+k-1]
	for i := 1; i <= n; i++ {
		if s = s * float64(i) / float64(n); s < 1e-140 {
			s *= 1e140
			exponent -= 140
		}
	}
	return s * math.Pow(10, float64(exponent))
}

// matrixPower returns the n-th power as a matrix and an exponent to base 10.
func matrixPower(a []float64, size, n int) (power []float64, exponent int) {
	if n == 1 {
		return a, 0
	}
	half, e := matrixPower(a, size, n/2)
	power, exponent = matrixProduct(half, half, size), 2*e
	if n%2 == 1 {
		power = matrixProduct(a, power, size)
	}
	if power[(size/2)*size+size/2] > 1e140 {
		for i := range power {
			power[i] *= 1e-140
		}
		exponent += 140
	}
	return power, exponent
}

func matrixProduct(a, b []float64, size int) []float64 {
	c := make([]float64, size*size)
	for i := range size {
		for k := range size {
			x := a[i*size+k]
			if x == 0 {
				continue
			}
			row, out := b[k*size:(k+1)*size], c[i*size:(i+1)*size]
			for j, y := range row {
				out[j] += float64(x * y)
			}
		}
	}
	return c
}
