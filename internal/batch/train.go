package batch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"millrace.dev/codec"
	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/importer"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/source"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// TrainOptions say what to train, on what.
type TrainOptions struct {
	Name                string                // of the model
	Data                string                // the labelled data, as [source.Open] names it
	Labels              Labels                // where the label comes from. Default: the data
	Client              *kafka.Client         // for data in topics. Default: none
	feature.Declaration                       // the fields, the inputs of the model, and the label, a numeric field
	Rows                map[string]table.Rows // of the tables of the declaration, by name, with their history
	Sources             []model.TableSource   // where the rows came from, for the lineage
	Required            []pipeline.Table      // the tables in which a record has to have a row. Default: none
	EventTime           string                // the time field that is the event time; "" is the timestamp of records of a topic
	Field               string                // the field that takes the prediction in the stream
	LabelUnit           string                // of the label, for people; "" is none
	Where               string                // only rows for which this expression is true; "" is all
	Split               Split
	Params              gbm.Params
	MaxBytes            int             // of a record; 0 is 1 MiB
	Threads             int             // 0 is one for each processor
	Progress            func(gbm.Round) // called after each tree, or nil
	Found               func(Found)     // called once, when the inputs of all rows are computed, or nil
	Tested              func(Tested)    // called once, with the rows of the test part, when the model is made, or nil
	CodeVersion         string          // of millrace
	RunID               string          // the scheduler's name of this run, for the lineage; may be ""
	// From and To bound the data interval that the scheduler has named, for the lineage. Default: none
	From, To time.Time
}

// Found is what the rows of the data have found in tables and windows, the rows among them that are left out. Nothing found
// at all is most likely a fault of keys or times, which a model would hide.
type Found struct {
	Tables  map[string]pipeline.TableCounts  // of look-ups, by table
	Windows map[string]pipeline.WindowCounts // of records, by window
}

// maxRejected is the share of records of the data that may fail to decode before training stops: beyond it the
// schema, not the records, is likely wrong.
const maxRejected = 0.5

// trainer carries one training through its two passes over the data.
type trainer struct {
	TrainOptions

	foreign        *importer.Model // whose trees are taken; nil: they are grown
	imported       *model.Imported
	data           *source.Source
	labels         *labels // nil where the data has the label
	label          int     // index of the label in the schema
	times          pipeline.EventTimes
	plan           *feature.Plan
	declaredDigest string // of the plan before it was fitted
	tables         lookup
	where          []string // conditions
	excluded       exclusions
	rows           [parts]int
	read           int64
	found          Found // of the last pass
	profile        *profile.Profile
	sampler        *profile.Sampler
	sampled        set // the inputs of the rows that were drawn, as a stream has them

	golden   []model.GoldenRow // JSON records with what was found for them, and
	expected []goldenInputs    // what training computed for them
	missing  int               // the most missing inputs of a golden row
}

// condition is one of the conditions that `where` joins with `and`.
type condition struct {
	text      string
	predicate *feature.Predicate
	holds     []bool
}

// TrainModel reads the labels, if they are apart, into memory, and the data twice or more: to fit what features and enums
// need from the training rows, in as many passes as fitted functions stand inside one another, and then to compute the
// model's inputs. Then it grows the forest, with the validation rows to choose the number of trees, and measures it on all
// three parts. The bundle depends on the data and the options alone: not on the number of threads, nor on the machine.
//
// What fitted functions learn, and the states of windows' keys, are in memory, but no rows before the last pass.
func TrainModel(ctx context.Context, o TrainOptions) (*model.Bundle, error) {
	t := &trainer{TrainOptions: o}
	if err := t.prepare(); err != nil {
		return nil, err
	}
	if err := t.open(ctx); err != nil {
		return nil, err
	}
	digest, err := t.fit(ctx)
	if err != nil {
		return nil, err
	}
	sets, err := t.load(ctx, digest)
	if err != nil {
		return nil, err
	}
	if o.Found != nil {
		o.Found(t.found)
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
	if t.plan, err = feature.Compile(t.Declaration); err != nil {
		return err
	}
	t.declaredDigest = t.plan.Digest()
	if t.tables, err = newLookup(t.plan, t.Rows); err != nil {
		return err
	}
	t.times = pipeline.NewEventTimes(t.Schema, t.EventTime)
	if t.Where == "" {
		return nil
	}
	if t.where, err = feature.Conjuncts(t.Where); err != nil {
		return fmt.Errorf("where: %w", err)
	}
	return nil
}

// open opens the data and reads the labels. It wants a file with columns to have the label and every column that an input
// of the model needs: one that is absent would be missing in every row, and a model would come out of it all the same.
func (t *trainer) open(ctx context.Context) (err error) {
	t.data, err = source.Open(ctx, t.Data, source.Options{Schema: t.Schema, Declared: true, MaxBytes: t.MaxBytes, Client: t.Client})
	if err != nil {
		return err
	}
	if _, err := t.newDecoder(); err != nil {
		return &source.DataError{Path: t.Data, Err: err}
	}
	columns := t.data.Columns()
	if columns != nil && t.Labels.Data == "" && !slices.Contains(columns, t.Label) {
		return &source.DataError{
			Path: t.Data, Err: fmt.Errorf("it has no column %q, the label: its columns are %s", t.Label, strings.Join(columns, ", ")),
			Hint: "train on labelled data, or mend train.label",
		}
	}
	if key := t.Labels.Key; columns != nil && key != "" && !slices.Contains(columns, key) {
		return &source.DataError{
			Path: t.Data, Err: fmt.Errorf("it has no column %q, by which labels are found: its columns are %s", key, strings.Join(columns, ", ")),
			Hint: "mend train.labels.key or the data",
		}
	}
	absent := slices.DeleteFunc(slices.Clone(t.plan.Used()), func(name string) bool { return columns == nil || slices.Contains(columns, name) })
	if len(absent) > 0 {
		return &source.DataError{
			Path: t.Data, Err: fmt.Errorf("inputs of the model need columns that it does not have: %s", strings.Join(absent, ", ")),
			Hint: "mend the schema or the data, or name the inputs in train.ignore",
		}
	}
	if t.Labels.Data != "" {
		t.labels, err = readLabels(ctx, t.Labels, labelled{data: t.data, schema: t.Schema, label: t.label, maxBytes: t.MaxBytes, client: t.Client})
	}
	return err
}

// newDecoder returns the decoder of the data. A label that comes from elsewhere is not looked at there.
func (t *trainer) newDecoder() (codec.Decoder, error) {
	o := pipeline.Options{Format: t.data.Format(), Header: t.data.Columns(), MaxBytes: t.MaxBytes}
	if t.Labels.Data != "" {
		return pipeline.NewDecoder(t.Schema, o, t.Label)
	}
	return pipeline.NewDecoder(t.Schema, o)
}

// selectRows sets l.keep for the rows that take part, and l.reasons for the others.
func (l *lane) selectRows(t *trainer) {
	b := l.batch
	l.keep, l.reasons = slices.Grow(l.keep[:0], b.Len())[:b.Len()], slices.Grow(l.reasons[:0], b.Len())[:b.Len()]
	for _, c := range l.where {
		c.holds = slices.Grow(c.holds[:0], b.Len())[:b.Len()]
		c.predicate.Eval(b, c.holds)
	}
	labels := b.Numbers(t.label)
	for i := range l.keep {
		reason := ""
		if p := b.Problem(i); p != nil {
			reason = problemReason(p)
		} else if t.labels != nil && math.IsNaN(labels[i]) {
			reason = "no label"
		} else if j := slices.IndexFunc(l.where, func(c *condition) bool { return !c.holds[i] }); j >= 0 {
			reason = "not " + l.where[j].text
		} else if math.IsNaN(labels[i]) {
			reason = t.Label + " is missing"
		}
		l.keep[i], l.reasons[i] = reason == "", reason
	}
}

// problemReason returns why a row that was rejected is left out.
func problemReason(p *record.Problem) string {
	if p.Field != "" {
		return p.Class + " in " + p.Field
	}
	return p.Class
}

// exclude counts the rows of a lane that are left out.
func (t *trainer) exclude(l *lane) {
	for i, reason := range l.reasons {
		if reason == "" {
			continue
		}
		if l.batch.Problem(i) != nil {
			t.excluded.rejected++
		}
		t.excluded.add(reason)
	}
}

// fitting is the worker of a pass that fits.
type fitting struct {
	t      *trainer
	fitter *feature.Fitter
	first  bool // the first pass, which counts
	train  []bool
}

func (w *fitting) run(l *lane) {
	w.train = append(w.train[:0], l.keep...)
	for i := range w.train {
		w.train[i] = w.train[i] && w.t.Split.Part(l.first+int64(i)) == Train
	}
	w.fitter.Add(l.batch, w.train, l.enrichment(w.t.tables))
}

func (w *fitting) commit(l *lane) error {
	if !w.first {
		return nil
	}
	w.t.exclude(l)
	for i, keep := range l.keep {
		w.t.read++
		if keep {
			w.t.rows[w.t.Split.Part(l.first+int64(i))]++
		}
	}
	return nil
}

// fit reads the data once or more: it selects, splits and counts the rows and fits the plan on the training rows alone,
// so that nothing of the validation and test rows reaches the model.
func (t *trainer) fit(ctx context.Context) (digest string, err error) {
	for pass := 0; pass == 0 || !t.plan.Fitted(); pass++ {
		var fitters []*feature.Fitter
		again, err := t.scan(ctx, nil, func() worker {
			f := t.plan.NewFitter()
			fitters = append(fitters, f)
			return &fitting{t: t, fitter: f, first: pass == 0}
		})
		if err != nil {
			return "", err
		}
		if pass == 0 {
			digest = again
			if err := t.enough(); err != nil {
				return "", err
			}
		} else if again != digest {
			return "", t.changed()
		}
		for _, f := range fitters[1:] {
			fitters[0].Merge(f)
		}
		if t.plan, err = fitters[0].Plan(); err != nil {
			return "", err
		}
	}
	return digest, nil
}

func (t *trainer) changed() error {
	return &source.DataError{Path: t.Data, Err: source.ErrChanged, Hint: "train again when nothing writes to it, and nothing is deleted from it"}
}

// ErrNoRows is matched by the error of a training for which no row is left, though none is broken: the data has no records,
// or what selects them fits none.
var ErrNoRows = errors.New("no rows")

var errNoRecords error = &noRows{errors.New("it has no records")}

type noRows struct{ error }

func (*noRows) Is(target error) bool { return target == ErrNoRows }

// enough tells why the rows do not suffice for training.
func (t *trainer) enough() error {
	if t.read == 0 {
		return &source.DataError{Path: t.Data, Err: errNoRecords}
	}
	if float64(t.excluded.rejected) > maxRejected*float64(t.read) {
		return &source.DataError{
			Path: t.Data, Unfit: true, Hint: "mend the schema or the data",
			Err: fmt.Errorf("%d of %d records do not fit the schema (%s)", t.excluded.rejected, t.read, t.excluded.summary()),
		}
	}
	for part, n := range t.rows {
		if n == 0 {
			e := &source.DataError{Path: t.Data, Hint: "train on more rows"}
			msg := fmt.Sprintf("no row is left for the %s part (read: %d", Part(part), t.read)
			if s := t.excluded.summary(); s != "" {
				msg += "; excluded: " + s
				e.Hint = "see whether train.label and train.where of the pipeline file are meant so"
				if t.labels != nil {
					e.Hint = "see whether train.labels and train.where of the pipeline file are meant so: " + t.labels.summary()
				}
			}
			e.Err = errors.New(msg + ")")
			if t.rows == [parts]int{} && t.excluded.rejected == 0 {
				e.Err = &noRows{e.Err}
			}
			return e
		}
	}
	return nil
}

// set is the rows of one part: the inputs of the model and the labels.
type set struct {
	frame record.Frame
	label []float64
	rows  []int64 // their numbers; of the test part alone, and where somebody asks for them
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

// loading is the worker of the pass that computes the inputs.
type loading struct {
	t         *trainer
	sets      *[parts]*set
	evaluator *feature.Evaluator
	training  *feature.Evaluator // of the training rows, where these have other inputs; nil: they have not
	again     *pipeline.Finder   // for training, so that its look-ups do not count a second time
	frame     *record.Frame
	own       *record.Frame
	survey    *profile.Survey
}

func (w *loading) run(l *lane) {
	e := l.enrichment(w.t.tables)
	w.frame = w.evaluator.Eval(l.batch, e)
	if w.training != nil {
		e.Rows = w.again.Bind(l.batch, l.times, w.t.tables)
		w.own = w.training.Eval(l.batch, e)
	}
	for i := range l.keep {
		if p := l.batch.Problem(i); p != nil && l.keep[i] { // a required table has no row
			l.keep[i], l.reasons[i] = false, problemReason(p)
		}
	}
	w.survey.Add(uint64(l.first), &profile.Rows{Batch: l.batch, Frame: w.frame, Keep: l.keep}) // as a stream has them
}

func (w *loading) commit(l *lane) error {
	w.t.exclude(l)
	w.t.sampler.Add(uint64(l.first), &profile.Rows{Batch: l.batch, Frame: w.frame, Keep: l.keep}, func(i int) { w.t.sampled.add(w.frame, i, 0) })
	labels := l.batch.Numbers(w.t.label)
	for i, keep := range l.keep {
		if !keep {
			continue
		}
		part := w.t.Split.Part(l.first + int64(i))
		w.t.rows[part]++
		f := w.frame
		if part == Train && w.training != nil {
			f = w.own
		}
		w.sets[part].add(f, i, labels[i])
		if part == Test && w.t.Tested != nil {
			w.sets[part].rows = append(w.sets[part].rows, l.first+int64(i))
		}
		if err := w.t.keepSample(l, w.frame, i); err != nil {
			return err
		}
	}
	return nil
}

// load reads the data once more and computes the inputs of all rows that take part, and their profile.
func (t *trainer) load(ctx context.Context, digest string) (sets [parts]*set, err error) {
	for p := range sets {
		sets[p] = &set{frame: record.Frame{Columns: t.plan.Inputs()}}
	}
	layout := profile.NewLayout(t.Schema, t.plan.Inputs(), t.Label)
	t.sampler = profile.NewSampler(layout, uint64(t.rows[Train]+t.rows[Validation]+t.rows[Test]))
	t.sampled = set{frame: record.Frame{Columns: t.plan.Inputs()}}
	t.excluded, t.rows = exclusions{}, [parts]int{}
	var workers []*loading
	again, err := t.scan(ctx, t.plan.Levels(), func() worker {
		w := &loading{t: t, sets: &sets, evaluator: t.plan.NewEvaluator(), survey: profile.NewSurvey(layout)}
		if t.plan.HasFolds() && t.foreign == nil {
			w.training, w.again = t.plan.NewTrainingEvaluator(), pipeline.NewFinder(t.plan, t.Required)
		}
		workers = append(workers, w)
		return w
	})
	switch {
	case err != nil:
		return sets, err
	case again != digest:
		return sets, t.changed()
	}
	if err := t.enough(); err != nil {
		return sets, err
	}
	if err := t.checkLevels(workers); err != nil {
		return sets, err
	}
	survey := workers[0].survey
	for _, w := range workers[1:] {
		survey.Merge(w.survey)
	}
	t.profile = survey.Profile()
	for i := range t.profile.Columns { // free texts can be anything, and a bundle goes to more people than the data
		if c := &t.profile.Columns[i]; c.Kind == profile.Text {
			c.Top = nil
		}
	}
	if survey.Exact() {
		return sets, nil
	}
	return sets, t.recount(ctx, layout, digest)
}

// counting is the worker of the pass that counts all rows into the bins of the profile.
type counting struct {
	t         *trainer
	evaluator *feature.Evaluator
	counter   *profile.Counter
}

func (w *counting) run(l *lane) {
	frame := w.evaluator.Eval(l.batch, l.enrichment(w.t.tables))
	for i := range l.keep {
		l.keep[i] = l.keep[i] && l.batch.Problem(i) == nil
	}
	w.counter.Add(&profile.Rows{Batch: l.batch, Frame: frame, Keep: l.keep})
}

func (w *counting) commit(*lane) error { return nil }

// recount reads the data once more, where it has so many rows that its bins were found from a sample of them, and counts all.
func (t *trainer) recount(ctx context.Context, layout profile.Layout, digest string) error {
	total, err := profile.NewCounter(t.profile, layout)
	if err != nil {
		return err
	}
	found := t.found
	var workers []*counting
	again, err := t.scan(ctx, t.plan.Levels(), func() worker {
		c, _ := profile.NewCounter(t.profile, layout) // as above
		workers = append(workers, &counting{t: t, evaluator: t.plan.NewEvaluator(), counter: c})
		return workers[len(workers)-1]
	})
	if err != nil {
		return err
	}
	if again != digest {
		return t.changed()
	}
	t.found = found
	for _, w := range workers {
		total.Merge(w.counter)
	}
	total.Fill()
	return nil
}
