package experiment

import (
	"errors"
	"fmt"
	"math"

	"millrace.dev/internal/stat"
)

// Stretch is a time during which the weights of the arms stayed the same, with the units that were first assigned during it.
type Stretch struct {
	Counts  []int64   `json:"counts"`  // by arm
	Weights []float64 `json:"weights"` // by arm, in any unit; an arm of weight 0 has no units
}

// Ratio says whether the arms have as many units as their weights say. Where they have not, something is wrong with the assignment or with
// how units are lost, and no comparison of the arms can be believed.
type Ratio struct {
	Counts   []int64   `json:"counts"`
	Expected []float64 `json:"expected"`
	// ChiSquare is Pearson's statistic, and P its p-value: for one look at a time that was planned.
	ChiSquare float64 `json:"chi_square"`
	Freedom   int     `json:"freedom"`
	P         float64 `json:"p"`
	// LogBayes is the logarithm of the Bayes factor against the weights, and AnytimeP the p-value that holds however often one looks.
	LogBayes float64 `json:"log_bayes_factor"`
	AnytimeP float64 `json:"anytime_p"`
}

// ratioAlpha is the error rate at which a ratio is called wrong: as in GrowthBook, and as Fabijan et al. (Diagnosing sample ratio
// mismatch in online controlled experiments, KDD 2019) recommend.
const ratioAlpha = 0.001

// Mismatch tells whether the counts contradict the weights, at an error rate; 0 is 0.001.
func (r *Ratio) Mismatch(test Test, alpha float64) bool {
	if alpha == 0 {
		alpha = ratioAlpha
	}
	if test == Fixed {
		return r.P <= alpha
	}
	return r.AnytimeP <= alpha
}

// priorCounts is the weight of the Dirichlet prior: as in Lindon and Malek's examples. The larger, the smaller are the deviations that
// it looks for first.
const priorCounts = 100

// SampleRatio compares the numbers of units with the weights of the arms: by a chi-square test, and by Lindon and Malek's sequential
// test (Anytime-valid inference for multinomial count data, NeurIPS 2022). Several stretches are judged as one: statistics
// and degrees of freedom add up, and Bayes factors multiply.
func SampleRatio(stretches ...Stretch) (*Ratio, error) {
	if len(stretches) == 0 {
		return nil, errors.New("experiment: no counts of units")
	}
	arms := len(stretches[0].Counts)
	r := &Ratio{Counts: make([]int64, arms), Expected: make([]float64, arms)}
	for i := range stretches {
		s := &stretches[i]
		if len(s.Counts) != arms {
			return nil, fmt.Errorf("experiment: counts of %d and of %d arms", arms, len(s.Counts))
		}
		counts, shares, err := s.active()
		if err != nil {
			return nil, err
		}
		r.add(s, counts, shares)
	}
	r.P = 1
	if r.Freedom > 0 {
		r.P = stat.ChiSquareTail(r.ChiSquare, float64(r.Freedom))
	}
	r.AnytimeP = min(1, math.Exp(-r.LogBayes))
	return r, nil
}

// active returns the counts and the shares of the arms that have a weight.
func (s *Stretch) active() (counts, shares []float64, err error) {
	if len(s.Weights) != len(s.Counts) || len(s.Counts) < 2 {
		return nil, nil, fmt.Errorf("experiment: %d weights for %d arms: want two or more, and one weight for each", len(s.Weights), len(s.Counts))
	}
	total := 0.0
	for i, w := range s.Weights {
		switch {
		case !(w >= 0) || math.IsInf(w, 1):
			return nil, nil, fmt.Errorf("experiment: the weight of arm %d is %g", i, w)
		case s.Counts[i] < 0 || s.Counts[i] > mostCount:
			return nil, nil, fmt.Errorf("experiment: arm %d has %d units", i, s.Counts[i])
		case w == 0 && s.Counts[i] > 0:
			return nil, nil, fmt.Errorf("experiment: arm %d has %d units and the weight 0", i, s.Counts[i])
		case w > 0:
			counts, shares = append(counts, float64(s.Counts[i])), append(shares, w)
			total += w
		default:
		}
	}
	if !(total > 0) || math.IsInf(total, 1) {
		return nil, nil, errors.New("experiment: the weights of the arms have no sum")
	}
	for i := range shares {
		if shares[i] /= total; shares[i] < 1e-12 {
			return nil, nil, errors.New("experiment: an arm has next to no weight beside the others")
		}
	}
	return counts, shares, nil
}

func (r *Ratio) add(s *Stretch, counts, shares []float64) {
	n, weights := 0.0, 0.0
	for i, c := range s.Counts {
		r.Counts[i] += c
		n += float64(c)
		weights += s.Weights[i]
	}
	for i, w := range s.Weights {
		r.Expected[i] += float64(n * (w / weights))
	}
	if n == 0 {
		return
	}
	for i, share := range shares {
		d := counts[i] - float64(n*share)
		r.ChiSquare += float64(d*d) / float64(n*share)
	}
	r.Freedom += len(shares) - 1
	r.LogBayes += dirichlet(counts, shares, priorCounts)
}

// Arrivals says whether the labels of the arms arrive at the same rate: arrived by arm, of so many predictions whose label is due. Where
// they do not, the labels that are there are not those of like records.
//
// The chi-square test is that of a table of arms by arrived or not. The sequential one takes what has arrived for drawn with the
// shares of the predictions: where most has arrived, it varies less than that, and the test errs to the safe side.
func Arrivals(arrived, predictions []int64) (*Ratio, error) {
	if len(arrived) != len(predictions) {
		return nil, fmt.Errorf("experiment: arrivals of %d arms and predictions of %d", len(arrived), len(predictions))
	}
	s := Stretch{arrived, make([]float64, len(predictions))}
	var some, all float64
	for i, n := range predictions {
		if n < arrived[i] || n > mostCount {
			return nil, fmt.Errorf("experiment: %d labels of %d predictions", arrived[i], n)
		}
		s.Weights[i] = float64(n)
		all += float64(n)
		some += float64(arrived[i])
	}
	if all == 0 {
		return &Ratio{Counts: arrived, Expected: make([]float64, len(arrived)), P: 1, AnytimeP: 1}, nil
	}
	r, err := SampleRatio(s)
	if err != nil {
		return nil, err
	}
	switch rest := 1 - some/all; { // what has not arrived adds its part to the table's statistic
	case rest > 0:
		r.ChiSquare /= rest
		if r.P = 1; r.Freedom > 0 {
			r.P = stat.ChiSquareTail(r.ChiSquare, float64(r.Freedom))
		}
	default:
		r.ChiSquare, r.P = 0, 1
	}
	return r, nil
}
