package report

import (
	"io"
	"math"

	"millrace.dev/internal/backtest"
	"millrace.dev/internal/chart"
	"millrace.dev/internal/drift"
)

// backtestView is the body of a page about a backtest.
type backtestView struct {
	Title    string
	Head     []fact
	Remarks  []string
	Charts   []figure
	Models   []modelTable
	Against  []modelTable
	Verdicts []string
}

// modelTable is a table with the model that it is of.
type modelTable struct {
	Title, Note string
	Rows        [][]string
}

// Backtest writes a page with the figures of models over time.
func Backtest(w io.Writer, r *backtest.Report) error {
	v := backtestView{
		Title: "Backtest of " + shown(r.Pipeline), Remarks: backtestNotes(r), Charts: backtestCharts(r), Verdicts: verdicts(r),
		Head: facts("data", r.Data, "records", chart.Grouped(int64(r.Total.Records)), "periods", counted(len(r.Periods), "period")+" of "+every(r), "label", withUnit(r, r.Label)),
	}
	for i, m := range r.Models {
		v.Head = append(v.Head, facts("model", shown(m.Ref)+", "+m.Digest)...)
		t := modelTable{Title: shown(m.Ref), Rows: resultRows(r, i)}
		if classes := r.Total.Results[i].Classes; len(classes) > 0 {
			t.Note = "Without a prediction: " + classesText(classes) + "."
		}
		v.Models = append(v.Models, t)
	}
	for i := range r.Total.Against {
		v.Against = append(v.Against, modelTable{
			Title: shown(r.Models[i+1].Ref) + " minus " + shown(r.Models[0].Ref), Rows: differenceRows(r, i),
			Note: "On the records that both have predicted, and whose label is known. Below 0 the model is better. A 95 % interval misses the truth in one of 20 periods.",
		})
	}
	return write(w, v.Title, "backtest", v)
}

func withUnit(r *backtest.Report, name string) string {
	if r.Unit == "" {
		return name
	}
	return name + " (" + r.Unit + ")"
}

// backtestCharts show the measures over time.
func backtestCharts(r *backtest.Report) []figure {
	x := chart.Axis{Title: "event time, UTC", Time: true}
	if periodTitle(r) != "from" {
		x = chart.Axis{Title: "period", Whole: true}
	}
	of := func(title, desc string, y chart.Axis, value func(p *backtest.Period, model int) drift.Number) figure {
		c := &chart.Lines{Title: title, Desc: desc, X: x, Y: y}
		for m := range r.Models {
			c.Series = append(c.Series, chart.Series{Name: shown(r.Models[m].Ref), Points: points(r, func(p *backtest.Period) drift.Number { return value(p, m) })})
		}
		return figure{Title: title, Chart: c.SVG()}
	}
	label := chart.Axis{Title: withUnit(r, r.Label)}
	figures := []figure{
		of("Root mean squared error", "The RMSE of each period.", label, func(p *backtest.Period, m int) drift.Number { return p.Results[m].Scores.RMSE }),
		of("Mean absolute error", "The MAE of each period.", label, func(p *backtest.Period, m int) drift.Number { return p.Results[m].Scores.MAE }),
		of("Bias", "The mean of prediction minus label of each period.", label, func(p *backtest.Period, m int) drift.Number { return p.Results[m].Scores.Bias }),
		of("Share of predictions with a label", "By period.", chart.Axis{Title: "share of the predictions", Percent: true}, func(p *backtest.Period, m int) drift.Number { return p.Results[m].Coverage }),
	}
	figures[2].Note = "Above 0 the model predicts too much."
	for i := range r.Total.Against {
		title := shown(r.Models[i+1].Ref) + " minus " + shown(r.Models[0].Ref) + ", RMSE"
		c := &chart.Lines{Title: title, Desc: "The difference of each period, between the ends of its 95 % interval.", X: x, Y: label}
		for _, s := range []struct {
			name  string
			value func(d *backtest.Delta) drift.Number
		}{
			{"difference", func(d *backtest.Delta) drift.Number { return d.Value }},
			{"from", func(d *backtest.Delta) drift.Number { return d.Low }},
			{"to", func(d *backtest.Delta) drift.Number { return d.High }},
		} {
			c.Series = append(c.Series, chart.Series{Name: s.name, Points: points(r, func(p *backtest.Period) drift.Number { return s.value(&p.Against[i].RMSE) })})
		}
		figures = append(figures, figure{Title: title, Chart: c.SVG(), Note: "Below 0 the model is better than " + shown(r.Models[0].Ref) + "."})
	}
	return figures
}

// points are a value over the periods. A period without records interrupts the line.
func points(r *backtest.Report, value func(p *backtest.Period) drift.Number) []chart.Point {
	var out []chart.Point
	for i := range r.Periods {
		p := &r.Periods[i]
		at := float64(i + 1)
		if p.From != nil {
			at = float64(*p.From) / 1000
			if i > 0 && *p.From > *r.Periods[i-1].To {
				out = append(out, chart.Point{X: at, Y: math.NaN()})
			}
		}
		out = append(out, chart.Point{X: at, Y: float64(value(p))})
	}
	return out
}
