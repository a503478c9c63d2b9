package model

import (
	"encoding/json"
	"errors"
	"fmt"
)

// The largest parts of an [Evaluation]. Its section stays below 20 KiB within them, unless the numbers are of the most
// digits.
const (
	MaxEvaluationBins = 32 // along one side of the grid, and of residuals
	maxGroups         = 16 // groups of predictions
	maxQuantiles      = 16
)

// Evaluation describes how the predictions of the test rows, which the training has not seen, differ from their labels. An
// error is the prediction minus the label: above 0, the model predicts too much. Numbers are in the label's unit unless
// they say otherwise. Nothing in it depends on the order of the rows.
type Evaluation struct {
	// Rows is the number of the rows that are described.
	Rows int
	// MeanRMSE and MeanMAE are the errors of a model that always predicts the mean label of the training rows: what a model
	// must be better than. NaN for no rows.
	MeanRMSE, MeanMAE float64
	// Edges are the upper ends of the bins of both predictions and labels, ascending: bin i holds what is above Edges[i-1]
	// and up to Edges[i], bin 0 also all below, and bin len(Edges) what is above the last edge.
	Edges []float64
	// Grid counts rows by the bin of the label, then that of the prediction: the rows whose label is in bin a and whose
	// prediction is in bin p are Grid[a*(len(Edges)+1)+p].
	Grid []int
	// ErrorEdges are those of bins of errors, as Edges are; ErrorCounts has their len(ErrorEdges)+1 counts.
	ErrorEdges  []float64
	ErrorCounts []int
	// Groups are the rows by size of their predictions, about a tenth each. Equal predictions are in one group.
	Groups []ErrorGroup
	// Absolute has quantiles of the error without its sign, Relative of that error as a part of the label without its sign,
	// over the rows for which this part is a number.
	Absolute, Relative []ErrorQuantile
}

// ErrorGroup describes the errors of the rows whose predictions lie above those of the group before.
type ErrorGroup struct {
	// Upper is the largest prediction.
	Upper float64 `json:"upper"`
	// Rows is the number of rows, 1 or more.
	Rows int `json:"rows"`
	// Bias is the mean error, MAE the mean absolute error.
	Bias float64 `json:"bias"`
	MAE  float64 `json:"mae"`
	// Low, Median and High are the 10 %, 50 % and 90 % quantiles of the errors.
	Low    float64 `json:"low"`
	Median float64 `json:"median"`
	High   float64 `json:"high"`
}

// ErrorQuantile is a quantile of errors: of the part P of the rows the error is at most Error.
type ErrorQuantile struct {
	P     float64 `json:"p"`
	Error float64 `json:"error"`
}

type evaluationJSON struct {
	Rows        int             `json:"rows"`
	MeanRMSE    *float64        `json:"mean_rmse"`
	MeanMAE     *float64        `json:"mean_mae"`
	Edges       []float64       `json:"edges"`
	Grid        []int           `json:"grid"`
	ErrorEdges  []float64       `json:"error_edges"`
	ErrorCounts []int           `json:"error_counts"`
	Groups      []ErrorGroup    `json:"groups"`
	Absolute    []ErrorQuantile `json:"absolute"`
	Relative    []ErrorQuantile `json:"relative"`
}

// MarshalJSON writes the evaluation as docs/formats/bundle.md says.
func (e Evaluation) MarshalJSON() ([]byte, error) {
	return json.Marshal(evaluationJSON{
		Rows: e.Rows, MeanRMSE: orNull(e.MeanRMSE), MeanMAE: orNull(e.MeanMAE), Edges: list(e.Edges), Grid: list(e.Grid), ErrorEdges: list(e.ErrorEdges),
		ErrorCounts: list(e.ErrorCounts), Groups: list(e.Groups), Absolute: list(e.Absolute), Relative: list(e.Relative),
	})
}

// UnmarshalJSON reads what [Evaluation.MarshalJSON] wrote.
func (e *Evaluation) UnmarshalJSON(b []byte) error {
	var j evaluationJSON
	if err := decodeJSON(b, &j); err != nil {
		return err
	}
	*e = Evaluation{
		Rows: j.Rows, MeanRMSE: orNaN(j.MeanRMSE), MeanMAE: orNaN(j.MeanMAE), Edges: j.Edges, Grid: j.Grid, ErrorEdges: j.ErrorEdges,
		ErrorCounts: j.ErrorCounts, Groups: j.Groups, Absolute: j.Absolute, Relative: j.Relative,
	}
	return nil
}

// validate wants an evaluation of rows rows whose parts agree.
func (e *Evaluation) validate(rows int) error {
	if e.Rows != rows {
		return fmt.Errorf("it is of %d rows, the test part has %d", e.Rows, rows)
	}
	if e.MeanRMSE < 0 || e.MeanMAE < 0 {
		return errors.New("a mean error below 0")
	}
	n := len(e.Edges) + 1
	if err := checkBins("the grid", e.Edges, e.Grid, n*n, rows); err != nil {
		return err
	}
	if err := checkBins("the errors", e.ErrorEdges, e.ErrorCounts, len(e.ErrorEdges)+1, rows); err != nil {
		return err
	}
	if err := checkGroups(e.Groups, rows); err != nil {
		return err
	}
	return errors.Join(checkQuantiles(e.Absolute), checkQuantiles(e.Relative))
}

// checkBins wants n counts, between ascending edges, that add up to rows.
func checkBins(what string, edges []float64, counts []int, n, rows int) error {
	if len(edges) >= MaxEvaluationBins || len(counts) != n {
		return fmt.Errorf("%s: %d edges and %d counts", what, len(edges), len(counts))
	}
	for i := 1; i < len(edges); i++ {
		if !(edges[i-1] < edges[i]) {
			return fmt.Errorf("%s: the edges do not ascend", what)
		}
	}
	left := rows
	for _, c := range counts {
		if c < 0 || c > left {
			return fmt.Errorf("%s: a count of %d among %d rows", what, c, rows)
		}
		left -= c
	}
	if left != 0 {
		return fmt.Errorf("%s: the counts add up to %d of %d rows", what, rows-left, rows)
	}
	return nil
}

func checkGroups(groups []ErrorGroup, rows int) error {
	if len(groups) > maxGroups {
		return fmt.Errorf("%d groups, the limit is %d", len(groups), maxGroups)
	}
	left := rows
	for i, g := range groups {
		if g.Rows < 1 || g.Rows > left || i > 0 && !(groups[i-1].Upper < g.Upper) {
			return errors.New("the groups are empty, not in order, or have more rows than there are")
		}
		if g.MAE < 0 || !(g.Low <= g.Median && g.Median <= g.High) {
			return errors.New("the errors of a group contradict one another")
		}
		left -= g.Rows
	}
	if left != 0 {
		return fmt.Errorf("the groups have %d of %d rows", rows-left, rows)
	}
	return nil
}

func checkQuantiles(list []ErrorQuantile) error {
	if len(list) > maxQuantiles {
		return fmt.Errorf("%d quantiles, the limit is %d", len(list), maxQuantiles)
	}
	for i, q := range list {
		ordered := i == 0 || list[i-1].P < q.P && list[i-1].Error <= q.Error
		if !ordered || !(q.P > 0 && q.P <= 1) || !(q.Error >= 0) {
			return errors.New("the quantiles of the error are not in order, or below 0")
		}
	}
	return nil
}
