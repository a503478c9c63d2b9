package batch

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"millrace.dev/codec"
	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/source"
	"millrace.dev/model"
	"millrace.dev/record"
)

// goldenRows is how many rows of the training data a bundle keeps as golden rows.
const goldenRows = 32

// goldenBytes is the largest size of a golden row: larger ones would swell the bundle, and as JSON, with its escapes, a
// row can be longer than a record may be.
const goldenBytes = 64 << 10

// seal measures the forest on the three parts and makes the bundle.
func (t *trainer) seal(digest string, sets [parts]*set, forest *gbm.Forest, history *gbm.History) (*model.Bundle, error) {
	inputs, err := model.NewInputs(t.plan, forest)
	if err != nil {
		return nil, err
	}
	lineage, err := t.lineage(digest)
	if err != nil {
		return nil, err
	}
	train := measure(forest, sets[Train])
	b := &model.Bundle{
		Manifest: model.Manifest{Name: t.Name, Label: t.Label, LabelUnit: t.LabelUnit, EventTime: t.EventTime, SinkField: t.Field, Millrace: t.CodeVersion},
		Schema:   t.Schema, Plan: t.plan, Forest: forest, Inputs: inputs, Lineage: lineage,
		Metrics: model.Metrics{
			Train: train, Validation: measure(forest, sets[Validation]), Test: measure(forest, sets[Test]),
		},
		History:    model.NewHistory(history),
		Profile:    t.profile,
		Evaluation: evaluate(forest, sets[Test], train.LabelMean),
	}
	for _, m := range []*model.Scores{&b.Metrics.Train, &b.Metrics.Validation, &b.Metrics.Test} {
		if math.IsInf(m.RMSE, 0) || math.IsInf(m.MAE, 0) {
			return nil, &source.DataError{Path: t.Data, Err: fmt.Errorf("the errors in %s are too large to be squared", t.Label), Hint: "measure the label in a larger unit"}
		}
	}
	if t.Tested != nil {
		t.Tested(sets[Test].tested(predicted(forest, sets[Test])))
	}
	t.profile.AddPredictions(heldOut(forest, sets))
	t.profile.Sample = t.sampler.Sample(t.profile, predicted(forest, &t.sampled))
	if b.Golden, err = pipeline.Golden(b, append(t.golden, oddRecords(t.Schema)...)); err != nil {
		return nil, err
	}
	for i, want := range t.expected {
		if err := b.CheckGolden(i, want.row(forest)); err != nil {
			return nil, fmt.Errorf("a row of %s gives other features as JSON than in training: %w", t.Data, err)
		}
	}
	return b, nil
}

func (t *trainer) lineage(digest string) (model.Lineage, error) {
	params, err := json.Marshal(t.Params)
	if err != nil {
		return model.Lineage{}, err
	}
	if t.foreign != nil {
		params = []byte("{}")
	}
	l := model.Lineage{
		DataName: t.data.Name(), DataFrom: t.From.UTC(), DataTo: t.To.UTC(), DataDigest: digest, Labels: t.labels.lineage(), Where: t.Where, Params: params, RunID: t.RunID, Inputs: t.Inputs, Tables: t.Sources, PlanDigest: t.declaredDigest,
		Imported: t.imported,
		Rows:     model.Rows{Read: int(t.read), Train: t.rows[Train], Validation: t.rows[Validation], Test: t.rows[Test]},
		Split:    model.Split{Train: t.Split.Train, Validation: t.Split.Validation, Test: t.Split.Test, Seed: t.Split.Seed},
	}
	l.Rows.Excluded, l.Rows.Reasons = t.excluded.list()
	for _, f := range t.Features {
		l.Features = append(l.Features, model.FeatureSource{Name: f.Name, Expr: f.Expr})
	}
	return l, nil
}

// measure scores one part.
func measure(f *gbm.Forest, s *set) model.Scores {
	var m scores
	predictions := predicted(f, s)
	for i, label := range s.label {
		m.add(label, predictions[i])
	}
	return m.result()
}

// heldOut returns the predictions for the rows that the forest was not grown on: those that it was know its errors.
func heldOut(f *gbm.Forest, sets [parts]*set) []float64 {
	var out []float64
	for _, s := range []*set{sets[Validation], sets[Test]} {
		out = append(out, predicted(f, s)...)
	}
	return out
}

func predicted(f *gbm.Forest, s *set) []float64 {
	out := make([]float64, s.frame.Rows)
	f.Score(&s.frame, out)
	return out
}

// oddRecords returns the golden rows that no training data has: Kafka's null, a broken record, and one whose enums
// hold levels that training has not seen.
func oddRecords(s *record.Schema) []model.GoldenRow {
	unseen := map[string]string{}
	for i := range s.Len() {
		if f := s.Field(i); f.Type == record.Enum {
			unseen[f.Name] = "a level that no training data has"
		}
	}
	text, _ := json.Marshal(unseen) // a map of texts can always be written
	return []model.GoldenRow{{}, {Value: []byte("{")}, {Value: text}}
}

// goldenInputs is a row of the training data that becomes a golden row: what training computed for it, from the data
// file, must be what the stream's path computes for the same record as JSON.
type goldenInputs struct{ frame record.Frame }

func newSample(f *record.Frame, row int) goldenInputs {
	s := goldenInputs{frame: record.Frame{Rows: 1, Columns: make([]record.Column, len(f.Columns))}}
	for i, c := range f.Columns {
		s.frame.Columns[i] = record.Column{Name: c.Name, Type: c.Type, Levels: c.Levels}
		if c.Type == record.Numeric {
			s.frame.Columns[i].Numbers = []float64{c.Numbers[row]}
		} else {
			s.frame.Columns[i].Codes = []int32{c.Codes[row]}
		}
	}
	return s
}

func (s *goldenInputs) row(f *gbm.Forest) model.GoldenRow {
	var p [1]float64
	f.Score(&s.frame, p[:])
	return model.NewGoldenRow(nil, &s.frame, 0, p[0])
}

// keepSample adds row i of a lane to the golden rows while there is room for it: the first rows that take part, and later
// ones that have more missing inputs than any before. f has the inputs that the row would have in a stream.
func (t *trainer) keepSample(l *lane, f *record.Frame, i int) error {
	missing := 0
	for _, c := range f.Columns {
		if c.Type == record.Numeric && math.IsNaN(c.Numbers[i]) || c.Type == record.Enum && c.Codes[i] == record.MissingCode {
			missing++
		}
	}
	if len(t.golden) >= goldenRows/2 && (missing <= t.missing || len(t.golden) >= goldenRows) {
		return nil
	}
	value, ok := t.recordJSON(l.batch, i)
	if !ok {
		return nil
	}
	g := model.GoldenRow{Value: value}
	for _, c := range l.windows {
		g.Windows = append(g.Windows, model.NewNumber(c[i]))
	}
	var err error
	if g.Rows, err = t.rowsOf(l, i, &g); err != nil {
		return err
	}
	t.missing = max(t.missing, missing)
	t.golden = append(t.golden, g)
	t.expected = append(t.expected, newSample(f, i))
	return nil
}

// rowsOf returns the rows of tables that the features of row i of a lane look up: it computes them once more, for this row
// alone.
func (t *trainer) rowsOf(l *lane, i int, g *model.GoldenRow) ([]model.GoldenTableRow, error) {
	if len(t.tables) == 0 {
		return nil, nil
	}
	d, err := pipeline.NewDecoder(t.Schema, pipeline.Options{}, t.Label)
	if err != nil {
		return nil, err
	}
	b := record.NewBatch(t.Schema, t.plan.Levels())
	b.Append(record.Raw{Value: g.Value, Timestamp: -1})
	d.Decode(b)
	e := feature.Enrichment{}
	for _, c := range l.windows {
		e.Windows = append(e.Windows, c[i:i+1])
	}
	recorder := pipeline.NewRecorder(t.plan, t.tables)
	e.Rows = pipeline.NewFinder(t.plan, nil).Bind(b, l.times[i:i+1], recorder)
	t.plan.NewEvaluator().Eval(b, e)
	return recorder.Rows(), nil
}

// recordJSON writes row i of b as the JSON record that a producer would send, with the fields that the model needs: a
// bundle goes to more people than the data does, and need not tell them the rest. It returns false where a time cannot be written in a layout of its field such that it is read back as the same instant, and where
// the record is larger than goldenBytes.
func (t *trainer) recordJSON(b *record.Batch, i int) ([]byte, bool) {
	out := []byte{'{'}
	used := t.plan.Used()
	for f := range b.Schema().Len() {
		field := b.Schema().Field(f)
		if !field.Required && !slices.Contains(used, field.Name) {
			continue
		}
		var value any
		switch field.Type {
		case record.Numeric:
			if x := b.Numbers(f)[i]; !math.IsNaN(x) {
				value = json.RawMessage(codec.AppendFloat(nil, x))
			}
		case record.Enum:
			if c := b.Codes(f)[i]; c != record.MissingCode {
				value = b.Dict(f).Level(c)
			}
		case record.Time:
			if us := b.Times(f)[i]; us != record.MissingTime {
				text, ok := formatTime(field, us)
				if !ok {
					return nil, false
				}
				value = text
			}
		case record.String:
			if !b.Texts(f).Missing(i) {
				value = string(b.Texts(f).At(i))
			}
		}
		if value == nil || f == t.label {
			continue
		}
		name, _ := json.Marshal(field.Name) // a text can always be written
		text, err := json.Marshal(value)
		if err != nil || len(out)+len(name)+len(text) > goldenBytes {
			return nil, false
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, name...), ':'), text...)
	}
	return append(out, '}'), len(out) > 1
}

// formatTime writes an instant in the first layout of field that keeps it.
func formatTime(field record.Field, us int64) (any, bool) {
	zone := time.UTC
	if field.Zone != "" {
		z, err := time.LoadLocation(field.Zone)
		if err != nil {
			return nil, false
		}
		zone = z
	}
	at := time.UnixMicro(us).In(zone)
	for _, layout := range field.Layouts {
		var value any
		switch layout {
		case record.LayoutUnix:
			value = us / 1e6
		case record.LayoutUnixMilli:
			value = us / 1e3
		case record.LayoutUnixMicro:
			value = us
		case record.LayoutUnixDay:
			_, east := at.Zone()
			value = int64(math.Floor((float64(us)/1e6 + float64(east)) / (24 * 3600)))
		default:
			value = at.Format(layout)
		}
		if readsAs(field, value, us) {
			return value, true
		}
	}
	return nil, false
}

// readsAs tells whether the decoder takes value for the instant us. Package time cannot say: it reads a local time that
// a zone has twice in its own way, and knows nothing of the other layouts of the field.
func readsAs(field record.Field, value any, us int64) bool {
	s, err := record.NewSchema(field)
	if err != nil {
		return false
	}
	d, err := pipeline.NewDecoder(s, pipeline.Options{})
	if err != nil {
		return false
	}
	text, err := json.Marshal(map[string]any{field.Name: value})
	if err != nil {
		return false
	}
	b := record.NewBatch(s, nil)
	b.Append(record.Raw{Value: text, Timestamp: -1})
	d.Decode(b)
	return b.Times(0)[0] == us
}
