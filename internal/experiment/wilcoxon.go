package experiment

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"millrace.dev/internal/stat"
)

// mostExact is up to how many differences the distribution of ranks is counted, as SciPy does.
const mostExact = 50

// Wilcoxon returns the p-value, on both sides, of the signed-rank test that differences lie around 0 (Wilcoxon, Individual comparisons by
// ranking methods, Biometrics Bulletin 1, 1945): for a planned number of pairs whose losses are too heavy-tailed for a mean. It takes
// as much memory as the differences. Those that are 0 are left out; up to 50 without ties it is exact, and normal for more.
func Wilcoxon(differences []float64) (float64, error) {
	var d []float64
	for _, x := range differences {
		if !fits(x) {
			return 0, fmt.Errorf("experiment: a difference must be a number up to %g, and is %g", MostLoss, x)
		}
		if x != 0 {
			d = append(d, x)
		}
	}
	if len(d) == 0 {
		return 1, nil
	}
	slices.SortFunc(d, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	var up, ties float64
	for i := 0; i < len(d); {
		j := i + 1
		for j < len(d) && math.Abs(d[j]) == math.Abs(d[i]) {
			j++
		}
		same, rank := float64(j-i), float64(float64(i+j+1)/2)
		ties += float64(same*same*same) - same
		for ; i < j; i++ {
			if d[i] > 0 {
				up += rank
			}
		}
	}
	n := float64(len(d))
	whole := float64(n * (n + 1) / 2)
	less := min(up, whole-up)
	if len(d) <= mostExact && len(d) == len(differences) && ties == 0 {
		return min(1, 2*rankShare(len(d), int(less))), nil
	}
	variance := float64(float64(whole*(2*n+1))/12) - float64(ties/48)
	return min(1, 2*stat.NormalTail((float64(whole/2)-less)/math.Sqrt(variance))), nil
}

// rankShare returns the probability that a random half of the ranks 1 to n sums to most or less.
func rankShare(n, most int) float64 {
	ways := make([]float64, most+1)
	ways[0] = 1
	for rank := 1; rank <= n; rank++ {
		for s := most; s >= rank; s-- {
			ways[s] += ways[s-rank]
		}
	}
	sum := 0.0
	for _, w := range ways {
		sum += w
	}
	return math.Ldexp(sum, -n)
}
