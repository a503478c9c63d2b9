package batch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/pipeline"
	"millrace.dev/model"
	"millrace.dev/record"
)

// TrainOptions say what to train, on what.
type TrainOptions struct {
	Name        string // of the model
	Data        string // path of the labelled data: CSV or JSON lines
	Schema      *record.Schema
	Features    []feature.Spec
	Inputs      []string // of the model, in order: fields and features
	Label       string   // the numeric field to predict
	Field       string   // the field that takes the prediction in the stream
	Where       string   // only rows for which this expression is true; "" is all
	Split       Split
	Params      gbm.Params
	MaxBytes    int             // of a record; 0 is 1 MiB
	Threads     int             // 0 is one for each processor
	Progress    func(gbm.Round) // called after each tree, or nil
	CodeVersion string          // of millrace
	RunID       string          // the scheduler's name of this run, for the lineage; may be ""
}

// maxRejected is the share of records of the data that may fail to decode before training stops: beyond it the
// schema, not the records, is likely wrong.
const maxRejected = 0.5

// trainer carries one training through its two passes over the data.
type trainer struct {
	TrainOptions

	label    int // index of the label in the schema
	plan     *feature.Plan
	where    []*condition
	excluded exclusions
	rows     [parts]int
	keep     []bool
	read     int64

	golden   [][]byte // JSON records, and
	expected []sample // what training computed for them
	missing  int      // the most missing inputs of a golden row
}

// condition is one of the conditions that `where` joins with `and`.
type condition struct {
	text      string
	predicate *feature.Predicate
	holds     []bool
}

// TrainModel reads the data twice: once to fit what features and enums need from the training rows, once to compute
// the model's inputs. Then it grows the forest, with the validation rows to choose the number of trees, and measures
// it on all three parts. The bundle depends on the data and the options alone: not on the number of threads, nor on
// the machine.
func TrainModel(ctx context.Context, o TrainOptions) (*model.Bundle, error) {
	t := &trainer{TrainOptions: o}
	if err := t.prepare(); err != nil {
		return nil, err
	}
	if err := t.columns(); err != nil {
		return nil, err
	}
	digest, err := t.fit(ctx)
	if err != nil {
		return nil, err
	}
	sets, again, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	if again != digest {
		return nil, fmt.Errorf("%s changed while it was read: train again when nothing writes to it", o.Data)
	}
	validation := sets[Validation].dataset()
	forest, history, err := gbm.Train(ctx, o.Params, sets[Train].dataset(), &validation, gbm.Options{Threads: o.Threads, Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	return t.seal(digest, sets, forest, history)
}

func (t *trainer) prepare() error {
	if err := t.Split.Validate(); err != nil {
		return err
	}
	i, ok := t.Schema.Index(t.Label)
	if !ok || t.Schema.Field(i).Type != record.Numeric {
		return fmt.Errorf("label %q: want a numeric field of the schema", t.Label)
	}
	t.label = i
	var err error
	if t.plan, err = feature.Compile(feature.Declaration{Schema: t.Schema, Features: t.Features, Inputs: t.Inputs}); err != nil {
		return err
	}
	if t.Where == "" {
		return nil
	}
	texts, err := feature.Conjuncts(t.Where)
	if err != nil {
		return fmt.Errorf("where: %w", err)
	}
	for _, text := range texts {
		p, err := feature.CompilePredicate(t.Schema, text)
		if err != nil {
			return fmt.Errorf("where: %w", err)
		}
		t.where = append(t.where, &condition{text: text, predicate: p})
	}
	return nil
}

// columns wants a CSV file to have the label and every column that an input of the model needs: one that is absent
// would be missing in every row, and a model would come out of it all the same.
func (t *trainer) columns() error {
	src, err := open(t.Data, 0)
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // it was only read
	if _, err := pipeline.NewDecoder(t.Schema, src.options); err != nil {
		return &DataError{Path: t.Data, Err: err}
	}
	if src.options.Format != pipeline.CSV {
		return nil
	}
	header := src.options.Header
	if !slices.Contains(header, t.Label) {
		return &DataError{
			Path: t.Data, Err: fmt.Errorf("it has no column %q, the label: its columns are %s", t.Label, strings.Join(header, ", ")),
			Hint: "train on labelled data, or mend train.label",
		}
	}
	absent := slices.DeleteFunc(slices.Clone(t.plan.Used()), func(name string) bool { return slices.Contains(header, name) })
	if len(absent) > 0 {
		return &DataError{
			Path: t.Data, Err: fmt.Errorf("inputs of the model need columns that it does not have: %s", strings.Join(absent, ", ")),
			Hint: "mend the schema or the data, or name the inputs in train.ignore",
		}
	}
	return nil
}

// selectRows sets t.keep for the rows of b that take part, and counts the others in t.excluded with the reason.
func (t *trainer) selectRows(b *record.Batch) {
	t.keep = slices.Grow(t.keep[:0], b.Len())[:b.Len()]
	for _, c := range t.where {
		c.holds = slices.Grow(c.holds[:0], b.Len())[:b.Len()]
		c.predicate.Eval(b, c.holds)
	}
	labels := b.Numbers(t.label)
	for i := range t.keep {
		reason := ""
		if p := b.Problem(i); p != nil {
			reason = p.Class
			if p.Field != "" {
				reason += " in " + p.Field
			}
			t.excluded.rejected++
		} else if j := slices.IndexFunc(t.where, func(c *condition) bool { return !c.holds[i] }); j >= 0 {
			reason = "not " + t.where[j].text
		} else if math.IsNaN(labels[i]) {
			reason = t.Label + " is missing"
		}
		t.keep[i] = reason == ""
		if reason != "" {
			t.excluded.add(reason)
		}
	}
}

// fit reads the data for the first time: it selects, splits and counts the rows and fits the plan on the training
// rows alone, so that nothing of the validation and test rows reaches the model.
func (t *trainer) fit(ctx context.Context) (digest string, err error) {
	fitter := t.plan.NewFitter()
	digest, err = t.scan(ctx, nil, func(b *record.Batch) error {
		t.selectRows(b)
		for i, keep := range t.keep {
			t.read++
			if keep {
				part := t.Split.Part(b.Raw(i).Offset)
				t.rows[part]++
				t.keep[i] = part == Train
			}
		}
		fitter.Add(b, t.keep, feature.Enrichment{})
		return nil
	})
	if err != nil {
		return "", err
	}
	if err := t.enough(); err != nil {
		return "", err
	}
	t.plan, err = fitter.Plan()
	return digest, err
}

// enough tells why the rows do not suffice for training.
func (t *trainer) enough() error {
	if t.read == 0 {
		return &DataError{Path: t.Data, Err: errors.New("it has no records")}
	}
	if float64(t.excluded.rejected) > maxRejected*float64(t.read) {
		return &DataError{
			Path: t.Data, Unfit: true, Hint: "mend the schema or the data",
			Err: fmt.Errorf("%d of %d records do not fit the schema (%s)", t.excluded.rejected, t.read, t.excluded.summary()),
		}
	}
	for part, n := range t.rows {
		if n == 0 {
			e := &DataError{Path: t.Data, Hint: "train on more rows"}
			msg := fmt.Sprintf("no row is left for the %s part (read: %d", Part(part), t.read)
			if s := t.excluded.summary(); s != "" {
				msg += "; excluded: " + s
				e.Hint = "see whether train.label and train.where of the pipeline file are meant so"
			}
			e.Err = errors.New(msg + ")")
			return e
		}
	}
	return nil
}

// set is the rows of one part: the inputs of the model and the labels.
type set struct {
	frame record.Frame
	label []float64
}

func (s *set) dataset() gbm.Dataset { return gbm.Dataset{Frame: &s.frame, Label: s.label} }

func (s *set) add(f *record.Frame, row int, label float64) {
	for c := range s.frame.Columns {
		to, from := &s.frame.Columns[c], &f.Columns[c]
		if to.Type == record.Numeric {
			to.Numbers = append(to.Numbers, from.Numbers[row])
		} else {
			to.Codes = append(to.Codes, from.Codes[row])
		}
	}
	s.frame.Rows++
	s.label = append(s.label, label)
}

// load reads the data for the second time and computes the inputs of all rows that take part.
func (t *trainer) load(ctx context.Context) (sets [parts]*set, digest string, err error) {
	for p := range sets {
		sets[p] = &set{frame: record.Frame{Columns: t.plan.Inputs()}}
	}
	t.excluded = exclusions{}
	evaluator := t.plan.NewEvaluator()
	digest, err = t.scan(ctx, t.plan.Levels(), func(b *record.Batch) error {
		t.selectRows(b)
		f := evaluator.Eval(b, feature.Enrichment{})
		labels := b.Numbers(t.label)
		for i, keep := range t.keep {
			if keep {
				sets[t.Split.Part(b.Raw(i).Offset)].add(f, i, labels[i])
				t.keepSample(b, f, i)
			}
		}
		return nil
	})
	return sets, digest, err
}
