package profile

import (
	"errors"
	"fmt"
	"slices"

	"millrace.dev/internal/spell"
)

// ErrNoValues says that one of two sets of data has values of a column, and the other none: they have no distance.
var ErrNoValues = errors.New("one side has no value to compare")

// Metric is a distance between the values of a column in two sets of data, the reference and the window, which were
// counted in the same bins.
//
// Missing values take no part: how many are missing is a question of its own. All texts that are no known level are one
// level, other. Metrics that compare bin by bin see numbers in at most ten groups of about equal mass in the reference,
// and levels with those that are rare in the reference (fewer than five rows, and less than 0.5 %) put to other: with
// more bins than that, what they measure is mostly chance. Metrics over the order of numbers use every bin. A number
// counts as the upper end of its bin, which is its value where each different value has a bin of its own; numbers beyond
// the reference's range count as its ends.
type Metric struct {
	Name    string // in pipeline files
	Title   string
	Unit    string // what a value is measured in, with the base of logarithms
	Doc     string // what it is, in a sentence
	Numbers bool   // whether it is defined for numbers and times
	Levels  bool   // whether it is defined for levels
	Fixed   bool   // whether its value means the same whatever the number of rows, so that it can have fixed thresholds

	value func(*cells) float64
	power int  // without drift the value goes down with rows^(-power/2); 0 if it stays
	whole bool // over all bins, in their order
}

// Metrics returns the metrics that there are.
func Metrics() []Metric {
	return []Metric{
		{
			Name: "psi", Title: "population stability index", Unit: "nats", Numbers: true, Levels: true, Fixed: true, value: psi, power: 2,
			Doc: "The sum over groups of (q - p) ln(q / p), p and q being shares of the reference and of the window, neither below 0.0001, whatever they then add up to. By convention 0.1 is a change worth a look and 0.25 a large one.",
		},
		{
			Name: "js", Title: "Jensen-Shannon distance", Unit: "base 2, 0 to 1", Numbers: true, Levels: true, Fixed: true, value: jsDistance, power: 1,
			Doc: "The square root of the Jensen-Shannon divergence in bits. Evidently's is this times 0.8326, since its logarithm is natural.",
		},
		{
			Name: "js_divergence", Title: "Jensen-Shannon divergence", Unit: "bits, 0 to 1", Numbers: true, Levels: true, Fixed: true, value: jsDivergence, power: 2,
			Doc: "The mean of the Kullback-Leibler divergences of both shares from their mean, with logarithms to base 2, as TFDV has it.",
		},
		{
			Name: "ks", Title: "Kolmogorov-Smirnov statistic", Unit: "share, 0 to 1", Numbers: true, Fixed: true, value: ks, power: 1, whole: true,
			Doc: "The largest difference between the shares of values up to a bound, over the ends of all bins.",
		},
		{
			Name: "wasserstein", Title: "Wasserstein distance", Unit: "the column's unit", Numbers: true, Fixed: true, value: wasserstein, power: 1, whole: true,
			Doc: "How far a value has to move on average to turn one distribution into the other.",
		},
		{
			Name: "wasserstein_relative", Title: "relative Wasserstein distance", Unit: "standard deviations of the reference", Numbers: true, Fixed: true, value: wassersteinRelative, power: 1, whole: true,
			Doc: "The Wasserstein distance divided by the reference's standard deviation. Evidently's default for numbers, with 0.1 as threshold.",
		},
		{
			Name: "energy", Title: "energy distance", Unit: "square root of the column's unit", Numbers: true, Fixed: true, value: energy, power: 1, whole: true,
			Doc: "The square root of twice the integral of the squared difference between the cumulative shares.",
		},
		{
			Name: "hellinger", Title: "Hellinger distance", Unit: "0 to 1", Numbers: true, Levels: true, Fixed: true, value: hellinger, power: 1,
			Doc: "The root of half the sum of (sqrt(p) - sqrt(q))^2.",
		},
		{
			Name: "total_variation", Title: "total variation distance", Unit: "share, 0 to 1", Numbers: true, Levels: true, Fixed: true, value: totalVariation, power: 1,
			Doc: "Half the sum of |p - q|: the share of values that have to change their group.",
		},
		{
			Name: "l_infinity", Title: "L-infinity distance", Unit: "share, 0 to 1", Numbers: true, Levels: true, Fixed: true, value: lInfinity, power: 1,
			Doc: "The largest |p - q| of a group or level.",
		},
		{
			Name: "l_infinity_robust", Title: "L-infinity distance beyond chance", Unit: "share, 0 to 1", Numbers: true, Levels: true, Fixed: true, value: lInfinityRobust, power: 1,
			Doc: "The L-infinity distance less 1.8 sqrt((n + m) / (n m)) for n and m values, not below 0, as Deequ has it.",
		},
		{
			Name: "kl", Title: "Kullback-Leibler divergence", Unit: "nats", Numbers: true, Levels: true, Fixed: true, value: klDivergence, power: 2,
			Doc: "The sum of q ln(q / p), of the window from the reference, with shares not below 0.0001 that again add up to one.",
		},
		{
			Name: "chi_square", Title: "chi-square statistic", Unit: "statistic, grows with the rows", Numbers: true, Levels: true, value: chiSquare,
			Doc: "Pearson's statistic of the table of groups by reference and window. It has no fixed thresholds.",
		},
		{
			Name: "g", Title: "G statistic", Unit: "statistic, grows with the rows", Numbers: true, Levels: true, value: gStatistic,
			Doc: "Twice the logarithm of the ratio of likelihoods of the table of groups by reference and window. It has no fixed thresholds.",
		},
	}
}

// MetricNamed returns the metric of a name. The error of a name that is not one names the nearest.
func MetricNamed(name string) (Metric, error) {
	all := Metrics()
	names := make([]string, len(all))
	for i := range all {
		if all[i].Name == name {
			return all[i], nil
		}
		names[i] = all[i].Name
	}
	return Metric{}, fmt.Errorf("there is no metric %q%s", name, didYouMean(name, names))
}

// Takes tells whether the metric is defined for columns of a kind.
func (m Metric) Takes(k Kind) bool {
	switch k {
	case Number, Time:
		return m.Numbers
	case Level:
		return m.Levels
	default:
		return false
	}
}

// Between returns the metric of two columns: 0 if neither has a value, [ErrNoValues] if one has none, and another error
// if the metric is not defined for the columns' kind or if they were not counted in the same bins.
func (m Metric) Between(reference, window *Column) (float64, error) {
	if !m.Takes(reference.Kind) {
		return 0, fmt.Errorf("%s is not defined for a column of kind %s", m.Name, reference.Kind)
	}
	if err := sameBins(reference, window); err != nil {
		return 0, err
	}
	a := newAxis(reference, m)
	return m.of(a.cells(reference.Counts, window.Counts))
}

// OfCounts returns the metric of counts in the same cells, each of which stands for itself: nothing is grouped, and what
// is ordered is so by cell, one unit apart. The errors are those of [Metric.Between].
func (m Metric) OfCounts(reference, window []uint64) (float64, error) {
	if len(reference) != len(window) {
		return 0, fmt.Errorf("%d counts and %d counts are not of the same bins", len(reference), len(window))
	}
	a := ownCells(len(reference))
	return m.of(a.cells(reference, window))
}

func (m Metric) of(c *cells) (float64, error) {
	switch {
	case c.n == 0 && c.m == 0:
		return 0, nil
	case c.n == 0 || c.m == 0:
		return 0, ErrNoValues
	}
	return m.value(c), nil
}

// sameBins says why two columns were not counted in the same bins.
func sameBins(reference, window *Column) error {
	switch {
	case reference.Kind != window.Kind:
		return fmt.Errorf("%s is of kind %s in the reference, and %s in the window", reference.Name, reference.Kind, window.Kind)
	case !slices.Equal(reference.Edges, window.Edges) || !slices.Equal(reference.Levels, window.Levels):
		return fmt.Errorf("%s was counted in other bins than the reference", reference.Name)
	case len(reference.Counts) != len(window.Counts):
		return fmt.Errorf("%s has %d counts in the reference, and %d in the window", reference.Name, len(reference.Counts), len(window.Counts))
	case reference.Kind != Text && len(reference.Counts) != max(len(reference.Edges), len(reference.Levels))+1:
		return fmt.Errorf("%s has %d counts for %d bins", reference.Name, len(reference.Counts), max(len(reference.Edges), len(reference.Levels))+1)
	}
	return nil
}

// didYouMean returns the end of a message about a name that is none of names.
func didYouMean(name string, names []string) string {
	if best := spell.Nearest(name, names); best != "" {
		return fmt.Sprintf(": did you mean %q?", best)
	}
	return ""
}
