package stat

import "math"

// Quantile returns the p-quantile of the rows that the sample holds, as [Rank] defines it; NaN for none. It sorts them:
// ask for several quantiles at once with [Sample.Quantiles].
func (s *Sample) Quantile(p float64) float64 { return Rank(s.Values(), p) }

// Quantiles returns the quantile of each p, as [Rank] defines it.
func (s *Sample) Quantiles(p []float64) []float64 {
	sorted, out := s.Values(), make([]float64, len(p))
	for i := range p {
		out[i] = Rank(sorted, p[i])
	}
	return out
}

// Rank returns the p-quantile of n sorted values as one of them: the value at rank floor(n*p), counted from 0 and
// clipped to 0 to n-1. The product is a float64: for n = 100, p = 0.29 gives rank 28, as 0.29 is a bit below 29/100.
// It is NaN for no value or if p is NaN.
//
// This is where Featran's quantiles (Algebird's QTree) put theirs; among the definitions of Hyndman and Fan, "Sample
// quantiles in statistical packages" (1996), it comes closest to type 1, but takes the upper of two values where n*p is
// whole.
func Rank(sorted []float64, p float64) float64 {
	if len(sorted) == 0 || p != p {
		return math.NaN()
	}
	last := float64(len(sorted) - 1)
	return sorted[int(min(max(math.Floor(float64(len(sorted))*p), 0), last))]
}

// Interpolate returns the p-quantile of n sorted values of type 7 (Hyndman and Fan), the default of R and NumPy: the
// point (n-1)*p, p clipped to 0 to 1, on the line through the values at their ranks. It is NaN for no value or if p is
// NaN.
func Interpolate(sorted []float64, p float64) float64 {
	if len(sorted) == 0 || p != p {
		return math.NaN()
	}
	at := float64(float64(len(sorted)-1) * min(max(p, 0), 1))
	i := int(at)
	if i == len(sorted)-1 {
		return sorted[i]
	}
	part := at - float64(i)
	return float64((1-part)*sorted[i]) + float64(part*sorted[i+1])
}
