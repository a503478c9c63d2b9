package drift

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"millrace.dev/profile"
)

// FaultKind is a way in which data is broken rather than changed.
type FaultKind string

// The kinds.
const (
	FaultMissing  FaultKind = "missing"  // values are missing that were there
	FaultConstant FaultKind = "constant" // all values are the same, and differed in training
	FaultUnit     FaultKind = "unit"     // all values are multiplied by what lies between two units
	FaultPart     FaultKind = "part"     // some values are outside of the range of training, and the others as they were
	FaultRenamed  FaultKind = "renamed"  // texts are new, and as many others have vanished
	FaultUnseen   FaultKind = "unseen"   // texts are new
)

// Fault says that a column looks broken at its source, and why.
type Fault struct {
	Kind   FaultKind `json:"kind"`
	Words  string    `json:"words"`
	Factor Number    `json:"factor,omitempty"` // of a unit: what the values are multiplied by
	Hint   string    `json:"hint"`             // what to look for
}

const (
	leastPoint = 0.01 // of the rows: fewer missing values or new texts are no sign of a fault
	leastRows  = 30   // of a window, for a sign to be one
	common     = 0.95 // a column of which one value has so much of the training data can be constant by chance
)

// fault returns what looks broken; nil is nothing.
func (r *Report) fault(in *Input, m *Moved) *Fault {
	ref, _ := in.Reference.Column(m.Column)
	w := columnOf(r.last, m.Column)
	if w == nil || w.Rows < leastRows || m.Severity != profile.Fail {
		return nil
	}
	if more := float64(m.After.Missing - m.Before.Missing); more >= leastPoint && more >= float64(m.Before.Missing)/2 {
		f := &Fault{Kind: FaultMissing, Hint: "see whether the producer still writes the field, under this name and in this form"}
		f.Words = fmt.Sprintf("%s of the values are missing, %s in training", profile.Percent(float64(m.After.Missing)), profile.Percent(float64(m.Before.Missing)))
		if w.Missing == w.Rows {
			f.Words = fmt.Sprintf("no record has a value any more; in training %s of the values were missing", profile.Percent(float64(m.Before.Missing)))
			if m.Before.Missing == 0 {
				f.Words = "no record has a value any more; in training every record had one"
			}
		}
		return f
	}
	if f := constant(ref, w, m); f != nil {
		return f
	}
	if ref.Kind == profile.Level {
		return r.newTexts(in, ref, w, m)
	}
	if ref.Kind != profile.Number {
		return nil
	}
	if f := otherUnit(ref, w); f != nil {
		return f
	}
	return partly(ref, w, m)
}

// constant tells of a column that has stopped to differ.
func constant(ref, w *profile.Column, m *Moved) *Fault {
	most := 0.0
	for _, n := range ref.Counts {
		most = max(most, part(n, ref.Present()))
	}
	if most >= common || w.Present() < leastRows {
		return nil
	}
	value := ""
	switch {
	case ref.Kind == profile.Number && w.Min == w.Max:
		value = profile.Figure(w.Min)
	case ref.Kind == profile.Level:
		for i, n := range w.Counts {
			if n == w.Present() && i < len(ref.Levels) {
				value = quoted(ref.Levels[i])
			}
		}
	default:
	}
	if value == "" {
		return nil
	}
	words := "every value is " + value
	if ref.Kind == profile.Number {
		words += fmt.Sprintf("; in training the values went from %s to %s", profile.Figure(float64(m.Before.Min)), profile.Figure(float64(m.Before.Max)))
	} else {
		words += fmt.Sprintf("; in training that were %s of them", profile.Percent(most))
	}
	return &Fault{Kind: FaultConstant, Words: words, Hint: "see whether the producer writes a default where it has no value"}
}

// newTexts tells of texts that training has not seen, and whether others have gone for them.
func (r *Report) newTexts(in *Input, ref, w *profile.Column, m *Moved) *Fault {
	unseen := float64(m.Unseen)
	if unseen-part(last(ref.Counts), ref.Rows) < leastPoint {
		return nil
	}
	lost, gone, most := 0.0, []string{}, 0.0
	for i, level := range ref.Levels {
		before, after := part(ref.Counts[i], ref.Rows), part(w.Counts[i], w.Rows)
		if before*float64(w.Rows) >= 5 && after <= before/10 {
			lost += before - after
			gone = append(gone, level)
			most = max(most, before)
		}
	}
	f := &Fault{
		Kind: FaultUnseen, Words: profile.Percent(unseen) + " of the records have a text that training has not seen" + named(in.Unseen[m.Column]) + "; to the model these values are missing",
		Hint: "see whether they are right; if they are, train with data that has them",
	}
	if len(gone) > 0 && math.Abs(lost-unseen) <= 0.01+float64(max(lost, unseen)/4) {
		f.Kind, f.Hint = FaultRenamed, "see whether the producer writes the texts in another form, or translate them before the model"
		f.Words = fmt.Sprintf("%s of the records have a text that training has not seen%s, and %s, which had %s, %s gone: renamed, it seems",
			profile.Percent(unseen), named(in.Unseen[m.Column]), list(gone, 3), profile.Percent(lost), plural(len(gone), "is", "are"))
	}
	return f
}

// named returns the texts that were counted, in brackets.
func named(texts []profile.Frequent) string {
	if len(texts) == 0 {
		return ""
	}
	var names []string
	for _, t := range texts {
		names = append(names, t.Text)
	}
	return " (" + list(names, 3) + ")"
}

// unit is what lies between two units: a value in the small unit is factor times the value in the large one.
type unit struct {
	factor       float64
	small, large string
}

func units() []unit {
	return []unit{
		{10.763910417, "square feet", "square metres"},
		{3.280839895, "feet", "metres"},
		{2.54, "centimetres", "inches"},
		{1.609344, "kilometres", "miles"},
		{2.2046226, "pounds", "kilograms"},
		{43560, "square feet", "acres"},
		{24, "hours", "days"},
		{60, "minutes", "hours"},
		{3600, "seconds", "hours"},
		{86400, "seconds", "days"},
		{10, "", ""},
		{100, "cents", "dollars"},
		{1000, "ones", "thousands"},
		{1e4, "", ""},
		{1e6, "ones", "millions"},
		{1e9, "nanoseconds", "seconds"},
	}
}

// The tolerances of a change of unit, as logarithms. Factors below 4 can be a change, too, and lie close together.
const (
	smallTolerance = 0.06
	meanTolerance  = 0.12
	mostTolerance  = 0.4
	spreadPart     = 3.75 // the deviation, of values with a long tail, is known so much less well than the mean
	largeFactor    = 4
)

// tolerance returns how far the mean may be from what a factor makes of it: three standard errors.
func tolerance(factor float64, ref, w *profile.Column) float64 {
	if factor < largeFactor {
		return smallTolerance
	}
	relative := ref.Deviation / math.Abs(ref.Mean)
	sampling := 3 * relative * math.Sqrt(1/float64(w.Present())+1/float64(max(1, ref.Present())))
	return min(max(meanTolerance, sampling), mostTolerance)
}

// otherUnit tells whether all values look as if they were written in another unit: mean and deviation are multiplied by
// about the same factor, and it is one that lies between two units.
func otherUnit(ref, w *profile.Column) *Fault {
	mean, deviation := w.Mean/ref.Mean, w.Deviation/ref.Deviation
	if !(mean > 0) || !(deviation > 0) || math.IsInf(mean, 0) || math.IsInf(deviation, 0) {
		return nil
	}
	best, at := mostTolerance, -1
	var multiplied bool
	for i, u := range units() {
		for _, sign := range []float64{1, -1} {
			factor := float64(sign * math.Log(u.factor))
			off, allowed := math.Abs(math.Log(mean)-factor), tolerance(u.factor, ref, w)
			if off < best && off < allowed && math.Abs(math.Log(deviation)-factor) < spreadPart*allowed && scaled(ref, w, factor, allowed) {
				best, at, multiplied = off, i, sign > 0
			}
		}
	}
	if at < 0 {
		return nil
	}
	u := units()[at]
	factor, now, before := u.factor, u.small, u.large
	what := "multiplied by " + profile.Figure(u.factor)
	if !multiplied {
		factor, now, before = 1/u.factor, u.large, u.small
		what = "divided by " + profile.Figure(u.factor)
	}
	f := &Fault{Kind: FaultUnit, Factor: Number(factor), Hint: "see in which unit the producer writes the field, and convert it before the model"}
	f.Words = fmt.Sprintf("the values look %s: the mean went from %s to %s, and their spread with it", what, profile.Figure(ref.Mean), profile.Figure(w.Mean))
	if now == "" {
		f.Words += ", as with a decimal point that has moved"
	} else {
		f.Words += fmt.Sprintf(", as with %s in place of %s", now, before)
	}
	return f
}

// scaled tells whether the quartiles of a window are those of the reference times a factor, given as its logarithm, as far as
// they are known: outside of the range of training there are no bins.
func scaled(ref, w *profile.Column, factor, allowed float64) bool {
	c := *w
	c.Distinct = ref.Distinct
	for _, p := range []float64{0.25, 0.5, 0.75} {
		before, now := ref.Quantile(p), c.Quantile(p)
		if !(before > 0) || !(now > ref.Edges[0]) || !(now < ref.Edges[len(ref.Edges)-1]) {
			continue
		}
		if math.Abs(math.Log(now/before)-factor) > 2*allowed {
			return false
		}
	}
	return true
}

// The bounds of a column that is broken in part.
const (
	leastPart = 0.02 // of the rows are outside of the range,
	likeness  = 0.05 // and so little of the others differs, beyond chance
)

// partly tells whether some values are beyond all of the training data while the others are as they were: those that change
// move all, those of a broken producer, or of a code for missing, stand apart.
func partly(ref, w *profile.Column, m *Moved) *Fault {
	below, above := float64(m.Below), float64(m.Above)
	out := below + above
	present := float64(w.Present()) / float64(w.Rows)
	if out < leastPart || out > present-leastPart {
		return nil
	}
	inner, trained := *w, *ref
	inner.Counts, trained.Counts = slices.Clone(w.Counts), slices.Clone(ref.Counts)
	inner.Counts[0] -= min(inner.Counts[0], uint64(math.Round(below*float64(w.Rows))))
	inner.Counts[len(inner.Counts)-1] = 0
	inner.Missing, trained.Missing = 0, 0
	inner.Rows, trained.Rows = total(inner.Counts), total(trained.Counts)
	inner.Min = ref.Min
	if affected(&trained, &inner) > likeness {
		return nil
	}
	var where []string
	if below > 0 {
		where = append(where, fmt.Sprintf("%s of the records are below all of training (down to %s, where %s was the smallest)", percent(below), profile.Figure(w.Min), profile.Figure(ref.Min)))
	}
	if above > 0 {
		where = append(where, fmt.Sprintf("%s of the records are above all of training (up to %s, where %s was the largest)", percent(above), profile.Figure(w.Max), profile.Figure(ref.Max)))
	}
	return &Fault{
		Kind: FaultPart, Words: strings.Join(where, ", ") + ", while the others are as in training",
		Hint: "see whether some producer writes another unit, or a number that stands for missing",
	}
}

func total(counts []uint64) uint64 {
	sum := uint64(0)
	for _, n := range counts {
		sum += n
	}
	return sum
}
