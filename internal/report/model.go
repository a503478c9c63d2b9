package report

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"millrace.dev/internal/chart"
	"millrace.dev/model"
	"millrace.dev/profile"
)

// modelView is the body of a page about a model.
type modelView struct {
	Ref, State, Aliases string
	Head                []fact
	Tiles               []tile
	Scores              [][]string
	Remarks             []string
	Errors              []figure
	Quantiles, Groups   [][]string
	Data                []fact
	Reasons             []fact
	Training            []figure
	Importance          *figure
	Parameters          []fact
	Features            []fact
	Inputs              string
	Lineage             []fact
	Gates               []string
	Log                 []string
	Columns             []columnView
	Checks              string
}

// Model writes a page from which a person decides about a model: what it is worth, where it errs, what it was made of, what
// its training data looks like, and who decided what.
func Model(w io.Writer, s *Subject) error {
	b := s.Bundle
	v := modelView{
		Ref: chart.OneLine(s.Ref), State: s.State, Aliases: strings.Join(s.Aliases, ", "), Head: s.head(), Tiles: s.tiles(), Scores: s.scores(), Remarks: s.remarks(),
		Errors: s.errorFigures(), Quantiles: s.quantiles(), Groups: s.groups(), Data: s.data(), Training: s.trainingFigures(), Importance: s.importanceFigure(),
		Parameters: s.parameters(), Inputs: chart.OneLine(strings.Join(b.Lineage.Inputs, ", ")), Lineage: s.lineage(), Checks: s.checks(),
	}
	for _, r := range b.Lineage.Rows.Reasons {
		v.Reasons = append(v.Reasons, fact{Name: chart.OneLine(r.Reason), Value: chart.Grouped(int64(r.Rows))})
	}
	for _, f := range b.Lineage.Features {
		v.Features = append(v.Features, fact{Name: chart.OneLine(f.Name), Value: chart.OneLine(f.Expr)})
	}
	for i := range s.Gates {
		v.Gates = append(v.Gates, s.Gates[i].text())
	}
	for _, e := range s.Log {
		v.Log = append(v.Log, chart.OneLine(strings.TrimSuffix(fmt.Sprintf("%s  %s by %s: %s", e.At.UTC().Format(time.RFC3339), e.Action, e.Actor, e.Reason), ": ")))
	}
	if b.Profile != nil {
		importance := s.importance()
		for i := range b.Profile.Columns {
			c, text := &b.Profile.Columns[i], ""
			if x, ok := importance[c.Name]; ok {
				text = chart.Percent(x)
			}
			unit := ""
			if c.Role == profile.Label || c.Role == profile.Prediction {
				unit = b.Manifest.LabelUnit
			}
			v.Columns = append(v.Columns, viewOf(c, text, unit))
		}
	}
	return write(w, s.Ref+", a model of "+b.Manifest.Label, "model", v)
}

// errorFigures shows the errors of the test rows.
func (s *Subject) errorFigures() []figure {
	e := s.Bundle.Evaluation
	if e == nil || e.Rows == 0 {
		return nil
	}
	label := s.label()
	grid := &chart.Grid{
		Title: "Predictions and labels of the test rows", Desc: "A cell shows how many rows have a label and a prediction in its bins.",
		X: chart.Axis{Title: "prediction: " + label}, Y: chart.Axis{Title: "label: " + label}, Edges: e.Edges, Counts: e.Grid, Equal: "prediction = label", Unit: "rows",
	}
	bins := &chart.Histogram{
		Title: "Errors of the test rows", Desc: "Rows by error: the prediction minus the label.", X: chart.Axis{Title: "error: " + label}, Y: chart.Axis{Title: "test rows", Whole: true},
		Bins: openBins(e.ErrorEdges, e.ErrorCounts), Mark: 0, MarkName: "no error",
	}
	spans := &chart.Spans{
		Title: "Errors by size of the prediction", Desc: "For each tenth of the test rows, by size of their predictions, between which errors 80% of them lie, and the mean error.",
		X: chart.Axis{Title: "prediction, a tenth of the rows each: " + label}, Y: chart.Axis{Title: "error: " + label}, RangeName: "80% of the errors", MeanName: "mean error (bias)",
	}
	for _, g := range e.Groups {
		spans.Groups = append(spans.Groups, chart.Span{Upper: g.Upper, Low: g.Low, Median: g.Median, High: g.High, Mean: g.Bias})
	}
	return []figure{
		{Title: "Predicted and actual", Chart: grid.SVG(), Note: "The area of a box is its number of test rows. Rows on the line are predicted right. The outermost cells hold also what lies beyond them."},
		{Title: "Errors", Chart: bins.SVG(), Note: "An error is the prediction minus the label: on the right the model predicts too much." + beyond(e)},
		{Title: "Errors by size of the prediction", Chart: spans.SVG(), Note: "Bars of one height around 0 mean that errors do not depend on the size of the prediction."},
	}
}

// openBins gives the two outermost bins, which are open, the width of their neighbours.
func openBins(edges []float64, counts []int) []chart.Bin {
	n := len(edges)
	if n == 0 || len(counts) != n+1 {
		return nil
	}
	first, last := 1.0, 1.0
	if n > 1 {
		first, last = edges[1]-edges[0], edges[n-1]-edges[n-2]
	}
	bounds := append(append([]float64{edges[0] - first}, edges...), edges[n-1]+last)
	var bins []chart.Bin
	for i, k := range counts {
		if (i == 0 || i == n) && k == 0 {
			continue
		}
		bins = append(bins, chart.Bin{Low: bounds[i], High: bounds[i+1], N: []float64{float64(k)}})
	}
	return bins
}

// beyond says what the outermost bins of errors hold.
func beyond(e *model.Evaluation) string {
	n := len(e.ErrorEdges)
	if n == 0 {
		return ""
	}
	low, high := e.ErrorCounts[0], e.ErrorCounts[n]
	if low == 0 && high == 0 {
		return ""
	}
	return fmt.Sprintf(" The outermost bars hold also what lies beyond: %s below %s, %s above %s.",
		rows(low), chart.Short(e.ErrorEdges[0]), rows(high), chart.Short(e.ErrorEdges[n-1]))
}

func rows(n int) string {
	if n == 1 {
		return "1 row"
	}
	return chart.Grouped(int64(n)) + " rows"
}

// trainingFigures shows the course of the training. The loss is on the scale on which trees are fitted, which can be another one than the
// label's, so that the two have a chart each.
func (s *Subject) trainingFigures() []figure {
	h := &s.Bundle.History
	var loss, rmse []chart.Point
	known := false
	for _, r := range h.Rounds {
		loss, rmse = append(loss, chart.Point{X: float64(r.Trees), Y: r.Loss}), append(rmse, chart.Point{X: float64(r.Trees), Y: r.RMSE})
		known = known || !math.IsNaN(r.RMSE)
	}
	if len(h.Rounds) == 0 {
		return nil
	}
	kept := fmt.Sprintf("kept: %d trees", h.Best)
	note := "All trees were grown that the parameters ask for."
	if h.Stopped {
		note = "Training stopped early, because this error no longer fell."
	}
	trees := chart.Axis{Title: "trees", Whole: true}
	validation := &chart.Lines{
		Title: "Error on the validation part by number of trees", Desc: kept, X: trees, Y: chart.Axis{Title: s.with("RMSE")},
		Series: []chart.Series{{Name: "validation", Points: rmse}}, Mark: float64(h.Best), MarkName: kept,
	}
	training := &chart.Lines{
		Title: "Loss on the training part by number of trees", Desc: kept, X: trees, Y: chart.Axis{Title: s.lossTitle()},
		Series: []chart.Series{{Name: "train", Points: loss}}, Mark: float64(h.Best), MarkName: kept,
	}
	var list []figure
	if known {
		list = append(list, figure{"Learning curve: RMSE on the validation part", validation.SVG(), note})
	}
	return append(list, figure{"Learning curve: loss on the training part", training.SVG(), "The root mean squared error on the scale on which trees are fitted."})
}

// lossTitle says on which scale the loss is.
func (s *Subject) lossTitle() string {
	for _, f := range s.parameters() {
		if f.Name == "label_transform" {
			return "loss: RMSE of " + f.Value + " of the label"
		}
	}
	return "loss: " + s.with("RMSE")
}

// importanceFigure shows the inputs by importance.
func (s *Subject) importanceFigure() *figure {
	const most = 20
	inputs := s.ranked()
	bars := &chart.Bars{Title: "Inputs by importance", Axis: chart.Axis{Percent: true}}
	f := &figure{Title: "Inputs by importance"}
	for _, in := range inputs[:min(most, len(inputs))] {
		bars.Rows = append(bars.Rows, chart.Bar{Name: in.Name, Values: []float64{in.Importance}})
	}
	if len(inputs) > most {
		f.Note = fmt.Sprintf("%d inputs of less importance are not drawn.", len(inputs)-most)
	}
	f.Chart = bars.SVG()
	return f
}
