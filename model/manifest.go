package model

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/record"
)

// Manifest says what a bundle is.
type Manifest struct {
	// Format is the version of the file format; [Bundle.Encode] sets it.
	Format int `json:"format"`
	// Name is the name of the model: see [CheckName].
	Name string `json:"name"`
	// Label is the field that the model predicts.
	Label string `json:"label"`
	// LabelUnit is the unit of the label, as people write it. Default: none.
	LabelUnit string `json:"label_unit,omitempty"`
	// EventTime is the time field of the records that is their event time. Default: "", the timestamp of the record.
	EventTime string `json:"event_time,omitempty"`
	// SinkField is the field of an output record that holds the prediction.
	SinkField string `json:"sink_field"`
	// Millrace is the version of millrace that wrote the bundle.
	Millrace string `json:"millrace"`
	// Created is when the model was made, to the second, if that is to be part of its identity: two bundles
	// that differ in it alone have different digests. Default: the zero time, not stored.
	Created time.Time `json:"created,omitzero"`
}

// Scores measures predictions against the labels of one part of the data, on the label's scale. A measure
// that is not defined (of no rows, say) is NaN.
type Scores struct {
	// RMSE is the root of the mean squared error, in the label's unit.
	RMSE float64
	// MAE is the mean absolute error, in the label's unit.
	MAE float64
	// R2 is the coefficient of determination, 1 - SSE/SST; 1 is perfect, 0 is as good as the mean.
	R2 float64
	// LabelMean is the mean of the labels, in their unit.
	LabelMean float64
	// Rows is the number of rows measured.
	Rows int
}

type scoresJSON struct {
	RMSE      *float64 `json:"rmse"`
	MAE       *float64 `json:"mae"`
	R2        *float64 `json:"r2"`
	LabelMean *float64 `json:"label_mean"`
	Rows      int      `json:"rows"`
}

// MarshalJSON writes {"rmse":x,"mae":x,"r2":x,"label_mean":x,"rows":n}, with null for NaN.
func (s Scores) MarshalJSON() ([]byte, error) {
	return json.Marshal(scoresJSON{
		RMSE: orNull(s.RMSE), MAE: orNull(s.MAE), R2: orNull(s.R2), LabelMean: orNull(s.LabelMean), Rows: s.Rows,
	})
}

// UnmarshalJSON reads what [Scores.MarshalJSON] wrote.
func (s *Scores) UnmarshalJSON(b []byte) error {
	var j scoresJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*s = Scores{RMSE: orNaN(j.RMSE), MAE: orNaN(j.MAE), R2: orNaN(j.R2), LabelMean: orNaN(j.LabelMean), Rows: j.Rows}
	return nil
}

func orNull(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

func orNaN(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

// Metrics holds the scores of the three parts of the data.
type Metrics struct {
	Train      Scores `json:"train"`
	Validation Scores `json:"validation"`
	Test       Scores `json:"test"`
}

// Lineage says what a model was made of.
type Lineage struct {
	// DataName names the data: a file's name, or a pattern of files, without its folder; topic://NAME?from=...&to=... with
	// the offsets of a topic's partitions, so that the same records can be read again.
	DataName string `json:"data_name"`
	// DataDigest is "sha256:" and the SHA-256, in hex, of the bytes that were read, or of a topic's records.
	DataDigest string `json:"data_digest"`
	// Labels says where the label came from, if not from the data. Default: nil, from the data.
	Labels *LabelSource `json:"labels,omitempty"`
	// Tables says where the rows came from that features looked up, in the order of the plan. Default: none.
	Tables []TableSource `json:"tables,omitempty"`
	// Rows counts the rows of the data.
	Rows Rows `json:"rows"`
	// Where is the condition that a row had to meet. Default: "", every row.
	Where string `json:"where,omitempty"`
	// Split says how the rows were dealt out.
	Split Split `json:"split"`
	// Params are the trainer's parameters: the JSON object that the trainer's own type makes. It is kept as
	// text, so that a bundle stays what it is when a later trainer has more parameters, or others.
	Params json.RawMessage `json:"params"`
	// Features are the declared features, in the order of the pipeline file.
	Features []FeatureSource `json:"features"`
	// Inputs names the declared inputs of the model, in their order: a vector among them is several of the bundle's.
	Inputs []string `json:"inputs,omitempty"`
	// PlanDigest is the digest of the declared features, tables and windows before anything was fitted: a pipeline file
	// that declares the same has the same.
	PlanDigest string `json:"plan_digest,omitempty"`
	// Imported says which file of another system the trees came from. Default: nil, they were grown here.
	Imported *Imported `json:"imported,omitempty"`
	// CodeVersion is the revision of the pipeline's own files, if there is one. Default: none.
	CodeVersion string `json:"code_version,omitempty"`
	// RunID is the scheduler's name for the run. It is part of the bundle's identity. Default: none.
	RunID string `json:"run_id,omitempty"`
	// DataFrom and DataTo bound the data interval that the scheduler named, in UTC, DataTo exclusive. They say what was asked
	// for; the data and its digest, what was read. Default: zero, none was named.
	DataFrom time.Time `json:"data_from,omitzero"`
	DataTo   time.Time `json:"data_to,omitzero"`
}

// Imported is the file of another system that a model's trees came from. The rows that the lineage counts are then those that
// the plan was fitted on and the model was measured on; which rows the other system trained on is not known.
type Imported struct {
	// Format names the other system: lightgbm or xgboost.
	Format string `json:"format"`
	// Version is that of the format, as the file says it. Default: "", it does not say.
	Version string `json:"version,omitempty"`
	// Objective is what the trees were grown for, as the file says it. Default: "", it does not say.
	Objective string `json:"objective,omitempty"`
	// Name names the file, without its folder, or says where else it came from.
	Name string `json:"name"`
	// Digest is "sha256:" and the SHA-256, in hex, of the file.
	Digest string `json:"digest"`
}

// LabelSource is the data that labels came from, by key.
type LabelSource struct {
	// DataName and DataDigest are as those of the data.
	DataName   string `json:"data_name"`
	DataDigest string `json:"data_digest"`
	// Key is the field with the key. Default: "", the keys of the messages.
	Key string `json:"key,omitempty"`
	// Field is the field with the label.
	Field string `json:"field"`
}

// TableSource is the data that the rows of a table came from.
type TableSource struct {
	// Name is the table's name in the plan.
	Name string `json:"name"`
	// DataName and DataDigest are as those of the data; of a topic that was read as a changelog they are its name and the
	// SHA-256 over its partitions.
	DataName   string `json:"data_name"`
	DataDigest string `json:"data_digest"`
}

// Rows counts the rows of the training data: each row read is excluded, or in one of the three parts.
type Rows struct {
	Read       int         `json:"read"`
	Excluded   int         `json:"excluded"`
	Reasons    []Exclusion `json:"reasons"` // they add up to Excluded
	Train      int         `json:"train"`
	Validation int         `json:"validation"`
	Test       int         `json:"test"`
}

// Exclusion counts the rows that were left out for one reason.
type Exclusion struct {
	Reason string `json:"reason"`
	Rows   int    `json:"rows"`
}

// Split holds the shares of the three parts, which add up to 1, and the seed of the draw.
type Split struct {
	Train      float64 `json:"train"`
	Validation float64 `json:"validation"`
	Test       float64 `json:"test"`
	Seed       int64   `json:"seed"`
}

// FeatureSource is a feature as the pipeline file declares it.
type FeatureSource struct {
	Name string `json:"name"`
	Expr string `json:"expr"`
}

// Input describes one input of the model.
type Input struct {
	// Name is the name of the column or feature.
	Name string `json:"name"`
	// Type is record.Numeric or record.Enum.
	Type record.Type `json:"type"`
	// Levels is the number of levels of an enum input.
	Levels int `json:"levels"`
	// Importance is the input's part in what the model has learned, as the trainer measures it; 0 or more.
	Importance float64 `json:"importance"`
}

// NewInputs describes the inputs of a fitted plan, in its order, with their importance for the forest.
func NewInputs(p *feature.Plan, f *gbm.Forest) ([]Input, error) {
	columns, importance := p.Inputs(), f.Importance()
	if err := f.Match(columns); err != nil {
		return nil, fmt.Errorf("model: the forest is not one for the plan: %w", err)
	}
	inputs := make([]Input, len(columns))
	for i, c := range columns {
		inputs[i] = Input{Name: c.Name, Type: c.Type, Levels: len(c.Levels), Importance: importance[i]}
	}
	return inputs, nil
}

// Round is the state of the training after some number of trees. A measure that was not taken is NaN.
type Round struct {
	// Trees is the number of trees so far.
	Trees int
	// Loss is the root mean squared error of the training rows on the scale on which trees are fitted.
	Loss float64
	// RMSE and MAE are the errors on the validation part, in the label's unit.
	RMSE, MAE float64
}

type roundJSON struct {
	Trees int      `json:"trees"`
	Loss  *float64 `json:"loss"`
	RMSE  *float64 `json:"rmse"`
	MAE   *float64 `json:"mae"`
}

// MarshalJSON writes {"trees":n,"loss":x,"rmse":x,"mae":x}, with null for NaN.
func (r Round) MarshalJSON() ([]byte, error) {
	return json.Marshal(roundJSON{Trees: r.Trees, Loss: orNull(r.Loss), RMSE: orNull(r.RMSE), MAE: orNull(r.MAE)})
}

// UnmarshalJSON reads what [Round.MarshalJSON] wrote.
func (r *Round) UnmarshalJSON(b []byte) error {
	var j roundJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*r = Round{Trees: j.Trees, Loss: orNaN(j.Loss), RMSE: orNaN(j.RMSE), MAE: orNaN(j.MAE)}
	return nil
}

// History is the course of the training.
type History struct {
	// Best is the number of trees that were kept.
	Best int `json:"best"`
	// Stopped tells that training ended early, because the validation part no longer improved.
	Stopped bool `json:"stopped"`
	// Rounds are in order of their number of trees.
	Rounds []Round `json:"rounds"`
}

// NewHistory returns the course of a training by gbm.
func NewHistory(h *gbm.History) History {
	out := History{Best: h.Best, Stopped: h.Stopped, Rounds: make([]Round, len(h.Rounds))}
	for i, r := range h.Rounds {
		out.Rounds[i] = Round{Trees: r.Trees, Loss: r.Loss, RMSE: r.RMSE, MAE: r.MAE}
	}
	return out
}
