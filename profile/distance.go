package profile

import "math"

// cells are two distributions over the same cells.
type cells struct {
	p, q []float64 // shares of the reference and of the window
	m, n float64   // values of the reference, +Inf where its shares are known, and of the window
	x    []float64 // where cells are, ascending; nil for one unit apart
	sd   float64   // of the reference
}

// floor is the least share of psi and kl.
const floor = 1e-4

func psi(c *cells) float64 {
	sum := 0.0
	for i, p := range c.p {
		if q := c.q[i]; p != q {
			p, q = max(p, floor), max(q, floor)
			sum += float64((q - p) * logOf(q/p))
		}
	}
	return sum
}

func klDivergence(c *cells) float64 {
	return kl(atLeast(c.q, c.p, floor), atLeast(c.p, c.q, floor))
}

// atLeast raises shares to a least one where they or those of the other side are not 0, and divides them by their sum.
func atLeast(p, other []float64, least float64) []float64 {
	out, total := make([]float64, len(p)), 0.0
	for i, x := range p {
		if x > 0 || other[i] > 0 {
			out[i] = max(x, least)
		}
		total += out[i]
	}
	for i := range out {
		out[i] /= total
	}
	return out
}

// kl returns the divergence of p from q in nats: +Inf if q lacks what p has.
func kl(p, q []float64) float64 {
	sum := 0.0
	for i, p := range p {
		switch {
		case p == 0:
		case q[i] == 0:
			return math.Inf(1)
		default:
			sum += float64(p * logOf(p/q[i]))
		}
	}
	return max(0, sum)
}

func jsDivergence(c *cells) float64 {
	sum := 0.0
	for i, p := range c.p {
		q := c.q[i]
		mean := (p + q) / 2
		if p > 0 {
			sum += float64(p * logOf(p/mean))
		}
		if q > 0 {
			sum += float64(q * logOf(q/mean))
		}
	}
	return min(max(0, sum/(2*math.Ln2)), 1)
}

func jsDistance(c *cells) float64 { return math.Sqrt(jsDivergence(c)) }

func hellinger(c *cells) float64 {
	sum := 0.0
	for i, p := range c.p {
		d := math.Sqrt(p) - math.Sqrt(c.q[i])
		sum += float64(d * d)
	}
	return min(math.Sqrt(sum/2), 1)
}

func totalVariation(c *cells) float64 {
	sum := 0.0
	for i, p := range c.p {
		sum += math.Abs(p - c.q[i])
	}
	return min(sum/2, 1)
}

func lInfinity(c *cells) float64 {
	most := 0.0
	for i, p := range c.p {
		most = max(most, math.Abs(p-c.q[i]))
	}
	return most
}

// lInfinityRobust follows Deequ, com.amazon.deequ.analyzers.Distance: 1.8 is its default, for a level of 0.003.
func lInfinityRobust(c *cells) float64 {
	return max(0, lInfinity(c)-float64(1.8*math.Sqrt(1/c.n+1/c.m)))
}

func ks(c *cells) float64 {
	most, d := 0.0, 0.0
	for i, p := range c.p {
		d += p - c.q[i]
		most = max(most, math.Abs(d))
	}
	return min(most, 1)
}

// gap returns how far cell i is from the next.
func (c *cells) gap(i int) float64 {
	if c.x == nil {
		return 1
	}
	return c.x[i+1] - c.x[i]
}

func wasserstein(c *cells) float64 {
	sum, d := 0.0, 0.0
	for i := range len(c.p) - 1 {
		d += c.p[i] - c.q[i]
		sum += float64(math.Abs(d) * c.gap(i))
	}
	return sum
}

// wassersteinRelative has a deviation of 1 for a reference whose values are all equal.
func wassersteinRelative(c *cells) float64 {
	if !(c.sd > 0) {
		return wasserstein(c)
	}
	return wasserstein(c) / c.sd
}

func energy(c *cells) float64 {
	sum, d := 0.0, 0.0
	for i := range len(c.p) - 1 {
		d += c.p[i] - c.q[i]
		sum += float64(float64(d*d) * c.gap(i))
	}
	return math.Sqrt(2 * sum)
}

// chiSquare is of the table of cells by side; of known shares it is of their fit.
func chiSquare(c *cells) float64 {
	sum := 0.0
	wp, wq := c.weights()
	for i, p := range c.p {
		if q := c.q[i]; p != q {
			sum += float64((q-p)*(q-p)) / (float64(wp*p) + float64(wq*q))
		}
	}
	return sum * c.rows()
}

// gStatistic is to the logarithm what chiSquare is to the square.
func gStatistic(c *cells) float64 {
	sum := 0.0
	wp, wq := c.weights()
	for i, p := range c.p {
		q := c.q[i]
		pooled := float64(wp*p) + float64(wq*q)
		if q > 0 {
			sum += float64(c.n * q * logOf(q/pooled))
		}
		if p > 0 && !math.IsInf(c.m, 1) {
			sum += float64(c.m * p * logOf(p/pooled))
		}
	}
	return max(0, 2*sum)
}

// weights returns both sides' parts of all values: of a reference that is known, it has all the weight.
func (c *cells) weights() (reference, window float64) {
	if math.IsInf(c.m, 1) {
		return 1, 0
	}
	return c.m / (c.m + c.n), c.n / (c.m + c.n)
}

// rows returns how many rows of a window, beside a reference that is known without error, say as much as n rows beside m.
func (c *cells) rows() float64 {
	w, _ := c.weights()
	return c.n * w
}
