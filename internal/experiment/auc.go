package experiment

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"millrace.dev/internal/stat"
)

// AUC is the area under a receiver operating characteristic: the probability that a record of the class 1 gets a higher score than one of
// the class 0, where equals count half.
type AUC struct {
	Area     float64   `json:"area"`
	Variance float64   `json:"variance"` // of the area, by DeLong
	Ones     int64     `json:"ones"`     // records of class 1
	Zeros    int64     `json:"zeros"`
	ones     []float64 // of each record of class 1, the share of class 0 that is below it
	zeros    []float64 // of each record of class 0, the share of class 1 that is above it
}

// check tells whether there are records enough for a variance.
func (a *AUC) check() error {
	if a.Ones < 2 || a.Zeros < 2 {
		return fmt.Errorf("experiment: an AUC needs two records of each class, and has %d of class 1 and %d of class 0", a.Ones, a.Zeros)
	}
	return nil
}

// NewAUC returns the area for scores and the labels of the same records, of which both classes need two. Its variance is that of DeLong,
// DeLong and Clarke-Pearson (Comparing the areas under two or more correlated receiver operating characteristic curves, Biometrics 44, 1988),
// by midranks (Sun and Xu, Fast implementation of DeLong's algorithm, IEEE Signal Processing Letters 21, 2014). It takes memory and time for
// all records: give it a sample of very many. It is for one look at a planned size.
func NewAUC(scores []float64, labels []bool) (*AUC, error) {
	if len(scores) != len(labels) {
		return nil, fmt.Errorf("experiment: %d scores and %d labels", len(scores), len(labels))
	}
	var one, zero []float64
	for i, s := range scores {
		switch {
		case math.IsNaN(s):
			return nil, errors.New("experiment: a score is no number")
		case labels[i]:
			one = append(one, s)
		default:
			zero = append(zero, s)
		}
	}
	a := &AUC{Ones: int64(len(one)), Zeros: int64(len(zero))}
	if err := a.check(); err != nil {
		return nil, err
	}
	a.ones, a.zeros = placements(one, zero), placements(zero, one)
	for i := range a.zeros {
		a.zeros[i] = 1 - a.zeros[i]
	}
	a.Area = mean(a.ones)
	a.Variance = covarianceOf(a.ones, a.ones)/float64(len(one)) + covarianceOf(a.zeros, a.zeros)/float64(len(zero))
	return a, nil
}

// placements returns for each of x the share of others below it, where equals count half.
func placements(x, others []float64) []float64 {
	sorted := slices.Sorted(slices.Values(others))
	out := make([]float64, len(x))
	for i, v := range x {
		below, _ := slices.BinarySearch(sorted, v)
		upTo, _ := slices.BinarySearchFunc(sorted, v, func(s, v float64) int {
			if cmp.Compare(s, v) <= 0 {
				return -1
			}
			return 1
		})
		out[i] = float64(below+upTo) / 2 / float64(len(sorted))
	}
	return out
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// covarianceOf returns the sample covariance.
func covarianceOf(x, y []float64) float64 {
	mx, my := mean(x), mean(y)
	sum := 0.0
	for i := range x {
		sum += float64((x[i] - mx) * (y[i] - my))
	}
	return sum / float64(len(x)-1)
}

// AUCDifference is what two areas differ by, b minus a.
type AUCDifference struct {
	Difference Interval
	Statistic  float64
	Freedom    float64 // of Student's distribution; +Inf where it is the normal one
	P          float64
}

// Paired returns how much higher the area of b is, which scored the same records in the same order.
func (a *AUC) Paired(b *AUC, alpha float64) (*AUCDifference, error) {
	if len(a.ones) == 0 || len(a.ones) != len(b.ones) || len(a.zeros) != len(b.zeros) {
		return nil, errors.New("experiment: the two areas are not of the same records, or not of records that were kept")
	}
	covariance := covarianceOf(a.ones, b.ones)/float64(len(a.ones)) + covarianceOf(a.zeros, b.zeros)/float64(len(a.zeros))
	return areaDifference(a.Area, b.Area, a.Variance+b.Variance-2*covariance, math.Inf(1), alpha)
}

// Unpaired returns how much higher the area of b is, which scored other records: those of another arm. The degrees of freedom are those
// of Welch and Satterthwaite, as pROC has them.
func (a *AUC) Unpaired(b *AUC, alpha float64) (*AUCDifference, error) {
	na, nb := float64(a.Ones+a.Zeros), float64(b.Ones+b.Zeros)
	return areaDifference(a.Area, b.Area, a.Variance+b.Variance, areaFreedom(a.Variance, b.Variance, na, nb), alpha)
}

func areaFreedom(va, vb, na, nb float64) float64 {
	return welchFreedom(sample{n: na, variance: va * na}, sample{n: nb, variance: vb * nb})
}

func areaDifference(a, b, variance, freedom, alpha float64) (*AUCDifference, error) {
	if err := checkAlpha(alpha); err != nil {
		return nil, err
	}
	d := &AUCDifference{Difference: Interval{b - a, b - a, b - a}, Freedom: freedom, P: 1}
	if !(variance > 1e-15) { // two curves that rank all records alike
		if a != b {
			return nil, errors.New("experiment: the areas differ and have no variance: there are too few records")
		}
		return d, nil
	}
	c := contrast{value: b - a, se: math.Sqrt(variance), freedom: freedom}
	d.Statistic = c.value / c.se
	if math.IsInf(freedom, 1) {
		d.P = min(1, 2*stat.NormalTail(math.Abs(d.Statistic)))
		d.Difference = c.around(float64(c.se*stat.NormalQuantile(alpha/2)), twoSided)
		return d, nil
	}
	d.Difference, d.P = c.student(alpha, twoSided), c.studentP(twoSided)
	return d, nil
}
