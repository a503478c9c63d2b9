//go:build linux

package main

import (
	"math"

	"millrace.dev/bench/internal/rig"
)

// point is a value of a series, seconds after the start.
type point struct{ at, value float64 }

// trend is where a series goes.
type trend struct {
	verdict  verdict
	from     float64 // when the first value was that was looked at
	middle   float64 // the mean time of those values
	mean     float64
	slope    float64 // a second
	margin   float64 // the slope is within slope±margin, with 99 % confidence
	duration float64 // seconds that were looked at
	allowed  float64 // growth over the duration that does not matter
}

// growth returns how much more the series has at the end than at the beginning, by its slope.
func (t trend) growth() float64 { return t.slope * t.duration }

// at returns the value of the line at a time.
func (t trend) at(time float64) float64 { return t.mean + t.slope*(time-t.middle) }

type verdict string

const (
	flat    verdict = "flat"
	grows   verdict = "grows"
	unclear verdict = "cannot be told"
)

// The rule of what is flat.
const (
	blocks = 10
	// student is the 0.995 quantile of Student's t with blocks-2 degrees of freedom.
	student = 3.355
	// share of the mean that a series may grow by over the duration.
	share = 0.05
	// times what may be grown by is what the upper end of the interval may come to.
	times = 4
)

// trendOf fits a line to a series, by least squares, and says whether it is flat. least is a growth, in the unit of the series,
// that does not matter whatever the mean is.
//
// Samples of one process are far from independent: memory goes up and down with the collector, state with compactions and with
// what expires. So the series is divided into ten blocks of time, which are longer than those ups and downs, the line is fitted to
// the means of the blocks, and the standard error of its slope is that of a regression with ten points.
//
// A series is flat if it grows by at most a share of its mean over all the time that was looked at, or if its growth cannot be
// told from none, at 99 %; and in both cases the upper end of the interval has to be below four times as much: a series
// that is too noisy to tell is not flat. One that falls is flat.
func trendOf(series []point, least float64) trend {
	if len(series) < 2*blocks || series[0].at >= series[len(series)-1].at {
		return trend{verdict: unclear}
	}
	from, to := series[0].at, series[len(series)-1].at
	t := trend{from: from, duration: to - from}
	xs, ys := blockMeans(series, from, to)
	if len(xs) < blocks { // a block without a sample
		return trend{verdict: unclear}
	}
	x, y := mean(xs), mean(ys)
	var sxx, sxy float64
	for i := range xs {
		sxx += (xs[i] - x) * (xs[i] - x)
		sxy += (xs[i] - x) * (ys[i] - y)
	}
	t.middle, t.mean, t.slope = x, y, sxy/sxx
	var rest float64
	for i := range xs {
		d := ys[i] - y - t.slope*(xs[i]-x)
		rest += d * d
	}
	t.margin = student * math.Sqrt(rest/(blocks-2)/sxx)
	t.allowed = max(share*math.Abs(y), least)
	margin := t.margin * t.duration
	switch g := t.growth(); {
	case (g <= t.allowed || g-margin <= 0) && g+margin <= times*t.allowed:
		t.verdict = flat
	case g > t.allowed && g-margin > 0:
		t.verdict = grows
	default:
		t.verdict = unclear
	}
	return t
}

// blockMeans returns the mean time and value of each block that has samples.
func blockMeans(series []point, from, to float64) (xs, ys []float64) {
	var in [blocks][]point
	for _, p := range series {
		i := min(int((p.at-from)/(to-from)*blocks), blocks-1)
		in[i] = append(in[i], p)
	}
	for _, points := range in {
		if len(points) == 0 {
			continue
		}
		var x, y float64
		for _, p := range points {
			x, y = x+p.at, y+p.value
		}
		xs, ys = append(xs, x/float64(len(points))), append(ys, y/float64(len(points)))
	}
	return xs, ys
}

func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// middle returns the median of the values of a series.
func middle(series []point) float64 {
	if len(series) == 0 {
		return math.NaN()
	}
	return rig.Median(series, func(p point) float64 { return p.value })
}
