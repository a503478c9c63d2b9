package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"millrace.dev/internal/chart"
	"millrace.dev/internal/drift"
	"millrace.dev/internal/experiment"
	"millrace.dev/internal/shadow"
	"millrace.dev/profile"
)

// compareView is the body of a page about two models.
type compareView struct {
	Title, State, Class string
	Head                []fact
	Verdicts            []string
	Tiles               []tile
	Bounds              [][]string
	Charts              []figure
	Where               []figure
	Labels              [][]string
	LabelCharts         []figure
	LabelNote           string
	Sides, Agreement    [][]string
	Quantiles           [][]string
	Models              [][]string
	Top                 []topView
	Notes               []string
}

// topView is one of the largest differences.
type topView struct {
	Title, Note string
	Facts       []fact
	Rows        [][]string
}

// Shadow writes a page about how the predictions of two models differ.
func Shadow(w io.Writer, r *shadow.Report) error {
	v := compareView{
		Title: chart.OneLine(r.Candidate.Model) + " beside " + productionModels(r), Verdicts: compareVerdicts(r), Tiles: compareTiles(r),
		Head: facts(
			"pipeline", r.Pipeline, "records", r.Source, "pairs", chart.Grouped(r.Pairs), "times of the records", timeRange(r),
			"production", r.Production.Topic+": "+productionModels(r), "candidate", r.Candidate.Topic+": "+r.Candidate.Model,
		),
		Charts: differenceCharts(r), Where: whereCharts(r), Labels: labelRows(r), LabelCharts: labelCharts(r), LabelNote: labelNote(r),
		Sides: sideRows(r), Agreement: agreementRows(r), Quantiles: quantileRows(r), Notes: compareNotes(r),
	}
	v.State, v.Class = compareState(r)
	if len(r.Bounds) > 0 {
		v.Bounds = boundRows(r)
	}
	if len(r.Models) > 1 {
		v.Models = modelRows(r)
	}
	for i := range r.Top {
		v.Top = append(v.Top, viewTop(r, &r.Top[i]))
	}
	return write(w, v.Title, "compare", v)
}

// compareState is the verdict as a badge.
func compareState(r *shadow.Report) (text, class string) {
	for i := range r.Bounds {
		if r.Bounds[i].Exceeded {
			return "beyond tolerance", "rejected"
		}
	}
	if l := r.Labels; l != nil && l.Verdict != nil && l.Pairs > 0 {
		switch l.Verdict.Verdict {
		case experiment.Better:
			return "better", "approved"
		case experiment.Worse:
			return "worse", "rejected"
		case experiment.NoDifference:
			return "no difference", "candidate"
		case experiment.NotYet:
			return "not yet known", "candidate"
		}
	}
	return "", ""
}

// compareTiles are the figures that matter most.
func compareTiles(r *shadow.Report) []tile {
	unit := ""
	if r.Unit != "" {
		unit = " in " + chart.OneLine(r.Unit)
	}
	tiles := []tile{
		{Name: "mean difference", Number: signedAmount(r.Difference.Mean), Note: "candidate minus production" + unit},
		{Name: "half differ by less than", Number: amount(quantileOf(r.Difference.Sizes, 0.5)), Note: "99 % by less than " + amount(quantileOf(r.Difference.Sizes, 0.99))},
	}
	if r.Pairs > 0 && len(r.Agreement.Within) > 0 {
		w := r.Agreement.Within[len(r.Agreement.Within)-2]
		tiles = append(tiles, tile{Name: "within " + profile.Percent(w.Part) + " of production's", Number: share100(w.Share), Note: profile.Percent(float64(r.Agreement.Same)/float64(r.Pairs)) + " are the same, bit for bit"})
	}
	tiles = append(tiles, tile{Name: "rank correlation", Number: decimals(r.Agreement.Ranks), Note: "correlation " + decimals(r.Agreement.Correlation)})
	if l := r.Labels; l != nil && l.Pairs > 0 {
		name, of := "RMSE of the candidate", l.RMSE
		if l.Metric == shadow.Absolute {
			name, of = "MAE of the candidate", l.MAE
		}
		tiles = append(tiles, tile{Name: name, Number: amount(of[1]), Note: "production's " + amount(of[0]) + ", by " + counted(int(l.Pairs), "label")})
	}
	return tiles
}

func withLabelUnit(r *shadow.Report, name string) string {
	if r.Unit == "" {
		return name
	}
	return name + " (" + chart.OneLine(r.Unit) + ")"
}

// differenceCharts show how predictions differ.
func differenceCharts(r *shadow.Report) []figure {
	var out []figure
	if len(r.Bins) > 0 {
		h := &chart.Histogram{
			Title: "Differences", Desc: "Pairs by the candidate's prediction minus production's.", X: chart.Axis{Title: withLabelUnit(r, "candidate minus production")},
			Y: chart.Axis{Title: "pairs", Whole: true}, Mark: 0, MarkName: "the same",
		}
		for _, b := range r.Bins {
			if b.Low == b.High { // all differ by the same
				half := math.Max(math.Abs(b.Low)/100, 0.5)
				b.Low, b.High = b.Low-half, b.High+half
			}
			h.Bins = append(h.Bins, chart.Bin{Low: b.Low, High: b.High, N: []float64{float64(b.Pairs)}})
		}
		out = append(out, figure{Title: "How they differ", Chart: h.SVG(), Note: "On the right the candidate predicts more. The outermost bars hold also what lies beyond them."})
	}
	if len(r.Edges) > 0 {
		g := &chart.Grid{
			Title: "Both predictions", Desc: "A cell shows how many records have a prediction of either in its bins.", X: chart.Axis{Title: withLabelUnit(r, "production")},
			Y: chart.Axis{Title: withLabelUnit(r, "candidate")}, Edges: r.Edges, Counts: r.Grid, Equal: "the same", Unit: "pairs",
		}
		out = append(out, figure{Title: "Both predictions", Chart: g.SVG(), Note: "The area of a box is its number of pairs. The outermost cells hold also what lies beyond them."})
	}
	return out
}

// whereCharts show for which records, and when, predictions differ.
func whereCharts(r *shadow.Report) []figure {
	var out []figure
	spans := func(title, desc, note string, x chart.Axis, groups []shadow.Group) {
		if len(groups) == 0 {
			return
		}
		s := &chart.Spans{Title: title, Desc: desc, X: x, Y: chart.Axis{Title: withLabelUnit(r, "difference")}, RangeName: "80% of the differences", MeanName: "mean difference"}
		for _, g := range groups {
			s.Groups = append(s.Groups, chart.Span{Upper: float64(g.Upper), Low: float64(g.Low), Median: float64(g.Median), High: float64(g.High), Mean: float64(g.Mean)})
		}
		out = append(out, figure{Title: title, Chart: s.SVG(), Note: note})
	}
	spans("By size of the prediction", "For each tenth of the pairs, by production's prediction, between which differences 80% of them lie, and the mean.",
		"Each bar is a tenth of the pairs; its number is the largest of production's predictions in it.", chart.Axis{Title: withLabelUnit(r, "production's prediction, up to")}, r.Groups)
	if len(r.Times) > 1 {
		l := &chart.Lines{Title: "Over time", Desc: "The mean difference, and between which differences 80% of them lie, by the times of the records.", X: chart.Axis{Title: "time of the records, UTC", Time: true}, Y: chart.Axis{Title: withLabelUnit(r, "difference")}}
		for _, s := range []struct {
			name string
			of   func(*shadow.Group) drift.Number
		}{
			{"mean", func(g *shadow.Group) drift.Number { return g.Mean }},
			{"10% are below", func(g *shadow.Group) drift.Number { return g.Low }},
			{"10% are above", func(g *shadow.Group) drift.Number { return g.High }},
		} {
			series := chart.Series{Name: s.name}
			for i := range r.Times {
				series.Points = append(series.Points, chart.Point{X: float64(r.Times[i].Upper), Y: float64(s.of(&r.Times[i]))})
			}
			l.Series = append(l.Series, series)
		}
		out = append(out, figure{Title: "Over time", Chart: l.SVG(), Note: "A point is of as many pairs as any other."})
	}
	return out
}

// labelCharts show how sure the labels are, as they came.
func labelCharts(r *shadow.Report) []figure {
	if r.Labels == nil || len(r.Labels.Progress) < 2 {
		return nil
	}
	x := chart.Axis{Title: "pairs with a label", Whole: true}
	l := &chart.Lines{Title: "The verdict, as labels came", Desc: "The mean difference of the losses, and the confidence sequence around it.", X: x, Y: chart.Axis{Title: "mean loss, candidate minus production"}}
	for _, s := range []struct {
		name string
		of   func(*shadow.Look) drift.Number
	}{
		{"difference", func(k *shadow.Look) drift.Number { return k.Mean }},
		{"from", func(k *shadow.Look) drift.Number { return k.Low }},
		{"to", func(k *shadow.Look) drift.Number { return k.High }},
	} {
		series := chart.Series{Name: s.name}
		for i := range r.Labels.Progress {
			series.Points = append(series.Points, chart.Point{X: float64(r.Labels.Progress[i].Pairs), Y: float64(s.of(&r.Labels.Progress[i]))})
		}
		l.Series = append(l.Series, series)
	}
	return []figure{{Title: "The verdict, as labels came", Chart: l.SVG(), Note: "Below 0 the candidate is better. The ends hold at all times together: one may look as often as one likes."}}
}

func labelNote(r *shadow.Report) string {
	l := r.Labels
	if l == nil {
		return ""
	}
	s := fmt.Sprintf("The loss is the %s. %s of %s, from %s.", strings.ReplaceAll(l.Metric, "_", " "), counted(int(l.Pairs), "label"), counted(int(r.Pairs), "pair"), chart.OneLine(l.Topic))
	if l.Expired > 0 {
		s += " The labels of " + counted(int(l.Expired), "other") + " did not come in time."
	}
	if l.Skipped > 0 {
		s += " " + counted(int(l.Skipped), "loss") + " too large to be added up."
	}
	return s
}

// quantileRows is the table of all quantiles.
func quantileRows(r *shadow.Report) [][]string {
	head, row := []string{""}, []string{"difference"}
	for _, q := range r.Difference.Quantiles {
		head, row = append(head, fmt.Sprintf("p%g", 100*q.Of)), append(row, signedAmount(q.Value))
	}
	return [][]string{head, row}
}

// viewTop is the view of one of the largest differences.
func viewTop(r *shadow.Report, t *shadow.Top) topView {
	v := topView{Title: chart.OneLine(t.Source)}
	pairs := []string{"production", amount(drift.Number(t.Production)) + " (" + t.Model + ")", "candidate", amount(drift.Number(t.Candidate)), "difference", signedAmount(drift.Number(t.Candidate - t.Production))}
	if known(t.Label) {
		pairs = append(pairs, r.Label, amount(t.Label))
	}
	v.Facts = facts(pairs...)
	if rows := inputRows(t); len(rows) > 1 {
		v.Rows = rows
	}
	if t.Lacks != "" {
		text := chart.OneLine(t.Lacks)
		v.Note = strings.ToUpper(text[:1]) + text[1:] + "."
	}
	return v
}
