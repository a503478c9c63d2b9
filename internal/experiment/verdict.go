package experiment

import (
	"fmt"
	"math"
	"strconv"
)

// Verdict is what can be said of a candidate beside the champion.
type Verdict string

// The verdicts.
const (
	Better       Verdict = "better"
	Worse        Verdict = "worse"
	NoDifference Verdict = "no_difference" // none that is larger than the margin
	NotYet       Verdict = "not_yet"
)

// Judgement is the verdict on paired losses, with what it rests on.
type Judgement struct {
	Verdict    Verdict  `json:"verdict"`
	Pairs      int64    `json:"pairs"`
	Difference Interval `json:"difference"` // of the mean losses, candidate minus champion
	P          float64  `json:"p"`
	Alpha      float64  `json:"alpha"`
	Margin     float64  `json:"margin"`
	Why        string   `json:"why"` // in words, with the numbers
}

// Judge compares a candidate with the champion by the differences of their losses on the same records. It is better or worse when the
// interval leaves 0 out; there is no difference larger than the margin when the interval lies within it; and else it is not known yet.
//
// Sequential is the anytime-valid t-test of Lindon, Ham, Tingley and Bojinov (arXiv:2210.08589), Fixed is Student's paired t-test. Either
// takes the mean for normal, so nothing is decided below the least number of pairs, nor while the differences are so skewed that
// Cochran's rule asks for more. A margin of 0 asks for no verdict of no difference.
func (p *Paired) Judge(options Options, margin float64) (*Judgement, error) {
	o, err := options.complete()
	if err != nil {
		return nil, err
	}
	if !(margin >= 0 && margin <= MostLoss) {
		return nil, fmt.Errorf("experiment: a margin is a number from 0, not %g", margin)
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	j := &Judgement{Verdict: NotYet, Pairs: p.Pairs, Difference: unknown(), P: 1, Alpha: o.Alpha, Margin: margin}
	if p.Pairs == 0 {
		j.Why = "no pair of losses is there yet"
		return j, nil
	}
	d := p.contrast()
	if j.Difference, j.P = o.judge(d, p.Pairs >= o.Least); p.Pairs >= o.Least && o.Test == Sequential && d.se > 0 {
		j.Difference, j.P = d.anytimeT(&o)
	}
	j.decide(&o, d)
	return j, nil
}

func (j *Judgement) decide(o *Options, c contrast) {
	i := j.Difference
	kind := "confidence sequence"
	if o.Test == Fixed {
		kind = "interval"
	}
	numbers := fmt.Sprintf("(%g %% %s %s, %d pairs)", 100*(1-o.Level), kind, i.words(), j.Pairs)
	switch {
	case i.High < 0:
		j.Verdict, j.Why = Better, fmt.Sprintf("the mean loss is lower by %s %s", brief(-i.Value), numbers)
	case i.Low > 0:
		j.Verdict, j.Why = Worse, fmt.Sprintf("the mean loss is higher by %s %s", brief(i.Value), numbers)
	case j.Margin > 0 && i.Low >= -j.Margin && i.High <= j.Margin:
		j.Verdict, j.Why = NoDifference, fmt.Sprintf("the mean losses differ by no more than %s %s", brief(j.Margin), numbers)
	case j.Pairs < o.Least || !c.honest(greater) || !c.honest(lesser):
		needed := math.Ceil(max(c.settled(), float64(o.Least)))
		j.Why = fmt.Sprintf("%d pairs are too few: about %.0f are needed before the mean of such differences can be judged", j.Pairs, needed)
	case c.se == 0 && !i.Bounded():
		j.Why = fmt.Sprintf("%d pairs differ by the same, %s: that is not believed before %.0f pairs", j.Pairs, brief(i.Value), o.Horizon)
	default:
		j.Why = fmt.Sprintf("the mean loss differs by %s, which may be chance %s", brief(i.Value), numbers)
	}
}

// words says from where to where an interval goes.
func (i Interval) words() string {
	switch {
	case i.Bounded():
		return brief(i.Low) + " to " + brief(i.High)
	case !math.IsInf(i.High, 0):
		return "up to " + brief(i.High)
	case !math.IsInf(i.Low, 0):
		return "from " + brief(i.Low)
	default:
		return "without bounds"
	}
}

// brief writes a number with four digits, one of up to fifteen places in full, its places in groups.
func brief(x float64) string {
	text := strconv.FormatFloat(x, 'g', 4, 64)
	if size := math.Abs(x); !(size >= 9999.5 && size < 1e15) {
		return text
	}
	x, _ = strconv.ParseFloat(text, 64) // it was a number
	digits := strconv.FormatFloat(math.Abs(x), 'f', 0, 64)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	if x < 0 {
		return "-" + digits
	}
	return digits
}
