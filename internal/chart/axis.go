package chart

import (
	"math"
	"strconv"
	"time"
)

// Axis describes the values along one side of a chart.
type Axis struct {
	// Title says what they are, with the unit: "price ($)".
	Title string
	// Time is set where they are times in seconds since 1970-01-01 00:00:00 UTC.
	Time bool
	// Whole is set where there is nothing between whole numbers.
	Whole bool
	// Percent is set where they are parts of 1, to be written in percent.
	Percent bool
	// Zero is set where the axis of the values of [Lines] has 0 on it, so that a change is seen for what it is beside the whole.
	Zero bool

	exact bool   // the axis ends where the values do
	own   []tick // in place of computed ones; nil: none
}

// tick is a value with its text.
type tick struct {
	at   float64
	text string
}

// span is what an axis shows, from low to high, which differ.
type span struct{ low, high float64 }

// newSpan returns the span of finite values; from 0 to 1 if there is none.
func newSpan(values ...float64) span {
	s := span{math.Inf(1), math.Inf(-1)}
	for _, v := range values {
		if finite(v) {
			s.low, s.high = min(s.low, v), max(s.high, v)
		}
	}
	if s.low > s.high {
		return span{0, 1}
	}
	if s.share(s.high) != 1 { // they are equal, or too near to be told apart
		by := max(math.Abs(s.low)/2, 0.5)
		if s.low == 0 && s.high == 0 {
			return span{0, 1}
		}
		return span{max(s.low-by, -math.MaxFloat64), min(s.high+by, math.MaxFloat64)}
	}
	return s
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// share returns where x lies between low at 0 and high at 1. It is in halves, so that no difference is infinite.
func (s span) share(x float64) float64 {
	return (float64(x/2) - float64(s.low/2)) / (float64(s.high/2) - float64(s.low/2))
}

// round widens s to whole steps of about n ticks, and returns the ticks; none where there are no such steps.
func (a Axis) round(s span, n int) (span, []tick) {
	step := a.step(s, n)
	low, high := math.Floor(s.low/step)*step, math.Ceil(s.high/step)*step
	if step == 0 || a.Time || a.exact || !finite(low) || !finite(high) || !(low < high) {
		return s, a.ticks(s, n)
	}
	s = span{low, high}
	return s, a.ticksBy(s, step, 2*n+2)
}

// step returns the step of about n ticks; 0 where there is none.
func (a Axis) step(s span, n int) float64 {
	step := stepOf(s, n)
	if a.Whole && step > 0 {
		return max(step, 1)
	}
	return step
}

// stepOf returns 1, 2 or 5 times a power of ten such that s has about n steps, at least one and at most n+1; 0 where there is none.
func stepOf(s span, n int) float64 {
	raw := (float64(s.high/2) - float64(s.low/2)) / float64(n) * 2
	if !finite(raw) || raw < 1e-307 {
		return 0
	}
	exponent := math.Floor(math.Log10(raw))
	power, err := strconv.ParseFloat("1e"+strconv.Itoa(int(exponent)), 64)
	if err != nil {
		return 0
	}
	for _, m := range []float64{1, 2, 5, 10} {
		if step := m * power; step >= raw*0.999 && finite(step) {
			return step
		}
	}
	return 0
}

// ticks returns about n ticks of s, or none.
func (a Axis) ticks(s span, n int) []tick {
	if a.own != nil {
		var out []tick
		for i := range a.own {
			if every := (len(a.own) + n - 1) / n; (i+1)%every == 0 {
				out = append(out, a.own[i])
			}
		}
		return out
	}
	if a.Time {
		if t := timeTicks(s, n); t != nil {
			return t
		}
	}
	return a.ticksBy(s, a.step(s, n), n+1)
}

// ticksBy returns the ticks of s that are step apart, n+1 at most.
func (a Axis) ticksBy(s span, step float64, n int) []tick {
	if step == 0 {
		return nil
	}
	var out []tick
	text := a.format(max(math.Abs(s.low), math.Abs(s.high)), step)
	first := math.Ceil(s.low/step - 1e-9)
	for i := 0; i <= n; i++ {
		at := (first + float64(i)) * step
		if at > s.high && s.share(at) > 1+1e-9 {
			break
		}
		if len(out) > 0 && at <= out[len(out)-1].at {
			return nil // steps are below what tells such numbers apart
		}
		out = append(out, tick{at, text(at)})
	}
	return out
}

// format returns how numbers up to most, step apart, are written, all in one unit and with the same digits.
func (a Axis) format(most, step float64) func(float64) string {
	if a.Percent && most >= 1e-6 && most <= 1e6 {
		d := digits(step * 100)
		return func(x float64) string { return fixed(x*100, d) + "%" }
	}
	if most >= 1e15 || most < 1e-4 {
		d := max(0, int(math.Floor(math.Log10(most)))-int(math.Floor(math.Log10(step))))
		return func(x float64) string {
			if x == 0 {
				return "0"
			}
			return strconv.FormatFloat(x, 'e', min(d, 17), 64)
		}
	}
	div, suffix := scaleOf(most)
	d := digits(step / div)
	return func(x float64) string {
		if s := fixed(x/div, d); x != 0 && s != "0" {
			return s + suffix
		}
		return "0"
	}
}

// digits returns how many digits after the point tell multiples of step apart.
func digits(step float64) int {
	return min(max(0, -int(math.Floor(float64(math.Log10(step))+1e-9))), 17)
}

func fixed(x float64, digits int) string {
	s := strconv.FormatFloat(x, 'f', digits, 64)
	if v, err := strconv.ParseFloat(s, 64); err == nil && v == 0 {
		return "0"
	}
	return s
}

// clock is a distance of ticks in time, and how they are written.
type clock struct {
	seconds        float64
	months         int // for distances that are no whole number of seconds
	layout, detail string
}

// clocks returns the distances in ascending order.
func clocks() []clock {
	const date = "2006-01-02"
	list := []clock{}
	for _, s := range []float64{1, 2, 5, 10, 15, 30} {
		list = append(list, clock{seconds: s, layout: "15:04:05", detail: date})
	}
	for _, m := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720} {
		list = append(list, clock{seconds: 60 * m, layout: "15:04", detail: date})
	}
	for _, d := range []float64{1, 2, 7, 14} {
		list = append(list, clock{seconds: 86400 * d, layout: date})
	}
	for _, m := range []int{1, 3, 6} {
		list = append(list, clock{seconds: 86400 * 28 * float64(m), months: m, layout: "2006-01"})
	}
	for _, y := range []int{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000} {
		list = append(list, clock{seconds: 86400 * 365 * float64(y), months: 12 * y, layout: "2006"})
	}
	return list
}

// timeTicks returns about n ticks at round times of UTC; nil where s is no span of times from year 1 to 9999.
func timeTicks(s span, n int) []tick {
	const first, last = -62135596800, 253402300799
	if s.low < first || s.high > last || s.high-s.low < 1 {
		return nil
	}
	for _, c := range clocks() {
		if (s.high-s.low)/c.seconds > float64(n)+0.5 {
			continue
		}
		var out []tick
		for at := c.floor(time.Unix(int64(math.Floor(s.low)), 0).UTC()); float64(at.Unix()) <= s.high; at = c.next(at) {
			if float64(at.Unix()) < s.low {
				continue
			}
			text := at.Format(c.layout)
			if c.detail != "" && (len(out) == 0 || at.Hour() == 0 && at.Minute() == 0 && at.Second() == 0) {
				text = at.Format(c.detail + " " + c.layout)
			}
			out = append(out, tick{float64(at.Unix()), text})
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// floor returns the last round time up to at.
func (c clock) floor(at time.Time) time.Time {
	if c.months == 0 {
		return at.Truncate(time.Duration(c.seconds) * time.Second)
	}
	month := (at.Year()*12 + int(at.Month()) - 1) / c.months * c.months
	return time.Date(month/12, time.Month(month%12+1), 1, 0, 0, 0, 0, time.UTC)
}

func (c clock) next(at time.Time) time.Time {
	if c.months == 0 {
		return at.Add(time.Duration(c.seconds) * time.Second)
	}
	return at.AddDate(0, c.months, 0)
}

// Text writes a value of the axis in few characters.
func (a Axis) Text(x float64) string {
	switch {
	case !finite(x):
		return "-"
	case a.Time && x >= -62135596800 && x <= 253402300799:
		t := time.Unix(int64(math.Floor(x)), 0).UTC()
		if t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0 {
			return t.Format(time.DateOnly)
		}
		return t.Format("2006-01-02 15:04")
	case a.Percent:
		return Percent(x)
	}
	return Short(x)
}

// Percent writes a part of 1 in percent, such that a part above 0 is not 0. NaN is a hyphen.
func Percent(x float64) string {
	switch p := 100 * x; {
	case !finite(x):
		return "-"
	case p == 0:
		return "0%"
	case p > 0 && p < 0.01:
		return "<0.01%"
	case p > 99.99 && p < 100:
		return ">99.99%"
	case math.Abs(p) < 1:
		return strconv.FormatFloat(p, 'f', 2, 64) + "%"
	case math.Abs(p) < 1e6:
		return strconv.FormatFloat(p, 'f', 1, 64) + "%"
	default:
		return Short(p) + "%"
	}
}
