package pipeline

import (
	"fmt"
	"math"
	"strings"

	"millrace.dev/codec"
	"millrace.dev/feature"
	"millrace.dev/record"
)

// Inspector runs single records through the path and keeps what each step makes of them, with a model or without one: the
// decoder, the windows, the look-ups and the programs of features are those of the path. It is for one goroutine at a time.
type Inspector struct {
	probe    *feature.Probe
	decoder  codec.Decoder
	batch    *record.Batch
	times    EventTimes
	at       []int64
	finder   *Finder
	windows  *Windows
	states   *MemoryStates
	options  Options
	label    string
	worker   *Worker // nil without a model
	inputs   map[string]int
	features []SeenFeature // without values
	rules    *feature.Rules
	tester   *feature.RuleProbe
	checker  *checker
}

// InspectorOptions say how an [Inspector] reads records.
type InspectorOptions struct {
	Options

	Label     string // the field that the model predicts
	EventTime string // the time field that is the event time; "" is the record's timestamp
	// Path is that of a model that was trained with the same declaration. Default: none, so that there is no prediction.
	Path *Path
	// Rules are those of Options.Checks, compiled for the model of Path, or for none. Default: none
	Rules *feature.Rules
}

// NewInspector returns an inspector of records with a probe of their features.
func NewInspector(probe *feature.Probe, o InspectorOptions) (*Inspector, error) {
	schema := probe.Plan().Schema()
	d, err := NewDecoder(schema, o.Options, o.Label)
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	n := &Inspector{
		probe: probe, decoder: d, batch: record.NewBatch(schema, nil), times: NewEventTimes(schema, o.EventTime),
		finder: NewFinder(probe.Plan(), o.Tables), label: o.Label, options: o.Options,
	}
	if n.windows, err = NewWindows(probe.Plan()); err != nil {
		return nil, err
	}
	n.Forget()
	if o.Path != nil {
		if n.worker, err = o.Path.NewWorker(); err != nil {
			return nil, err
		}
		n.batch, n.inputs = n.worker.NewBatch(), map[string]int{}
		for i, in := range o.Path.bundle.Plan.Inputs() {
			n.inputs[in.Name] = i
		}
	}
	if o.Rules != nil {
		n.rules, n.tester, n.checker = o.Rules, o.Rules.NewProbe(), newChecker(o.Checks, o.Rules)
	}
	n.describe()
	return n, nil
}

// describe finds the elements of features, those of a vector that waits among the inputs of the model.
func (n *Inspector) describe() {
	of := map[string][]string{} // elements of features, by the longest name that theirs begins with
	if n.worker != nil {
		for _, in := range n.worker.path.bundle.Plan.Inputs() {
			longest := ""
			for _, f := range n.probe.Features() {
				if len(f.Name) > len(longest) && (in.Name == f.Name || strings.HasPrefix(in.Name, f.Name+"_")) {
					longest = f.Name
				}
			}
			of[longest] = append(of[longest], in.Name)
		}
	}
	for _, f := range n.probe.Features() {
		s := SeenFeature{Name: f.Name, Kind: f.Kind}
		for _, e := range f.Elements {
			s.Elements = append(s.Elements, SeenElement{Name: e.Name})
		}
		if f.Waits && len(f.Elements) == 0 {
			for _, name := range of[f.Name] {
				s.Elements = append(s.Elements, SeenElement{Name: name})
			}
		}
		n.features = append(n.features, s)
	}
}

// Features describes the declared features, without values: those of a vector that waits for being fitted have their
// elements if there is a model, and the feature is an input of it. It must not be changed.
func (n *Inspector) Features() []SeenFeature { return n.features }

// Decoder returns a decoder of records of another format, for [Inspector.Remember]. Of o only Format and Header count.
func (n *Inspector) Decoder(o Options) (codec.Decoder, error) {
	own := n.options
	own.Format, own.Header = o.Format, o.Header
	return NewDecoder(n.batch.Schema(), own, n.label)
}

// Forget forgets what the windows know.
func (n *Inspector) Forget() { n.states = NewMemoryStates(n.windows) }

// Remember brings the windows up to date with a record, as if it had come before those that are inspected. It returns why
// the path rejects the record, which the windows then have not seen, or nil. d decodes the record; nil is the inspector's
// decoder.
func (n *Inspector) Remember(r record.Raw, d codec.Decoder) (*record.Problem, error) {
	if d == nil {
		n.take(r)
	} else {
		n.batch.Reset()
		n.batch.Append(r)
		d.Decode(n.batch)
		n.at = n.times.Append(n.at[:0], n.batch)
	}
	if p := n.batch.Problem(0); p != nil {
		own := *p
		return &own, nil
	}
	_, err := n.windows.Observe(n.batch, n.at, n.states)
	return nil, err
}

func (n *Inspector) take(r record.Raw) {
	n.batch.Reset()
	n.batch.Append(r)
	if n.worker != nil {
		n.worker.Decode(n.batch)
	} else {
		n.decoder.Decode(n.batch)
	}
	n.at = n.times.Append(n.at[:0], n.batch)
}

// Given is what a record has beside itself when it is inspected.
type Given struct {
	// Find finds the row of a table that a key had at a time, or nil: see [Lookup]. Default: no table has a row.
	Find func(table, key string, at int64) *record.Row
	// Observe has the aggregates computed from the records that the inspector remembers, and the record remembered. Default:
	// they are those of Windows.
	Observe bool
	// Windows has aggregates by window and name. What is not there is missing.
	Windows map[string]map[string]float64
}

// Seen is what the steps of the path have made of a record.
type Seen struct {
	Fields    []SeenField // the decoded fields, without the label; nil where decoding has failed, as are those that follow
	EventTime int64       // in microseconds since 1970, or record.MissingTime
	Lookups   []SeenLookup
	Windows   []SeenWindow
	Features  []SeenFeature // all that are declared; nil where the record was rejected before
	Inputs    []SeenInput   // of the model; nil without one
	Checks    []SeenCheck   // nil where the record was rejected before
	// Problem is why the record has no prediction; nil without a model if it gets as far as that.
	Problem    *record.Problem
	Scored     bool
	Prediction float64
}

// SeenField is a field of a record.
type SeenField struct {
	Name  string
	Type  record.Type
	Value feature.Value
}

// SeenLookup is a row that was looked up.
type SeenLookup struct {
	Table string
	Key   record.Text
	Row   *record.Row // nil if there is none
}

// SeenWindow is a window as a record has found it.
type SeenWindow struct {
	Name       string
	Key        record.Text
	Aggregates []SeenElement
}

// SeenFeature is a feature with its values.
type SeenFeature struct {
	Name string
	Kind feature.Kind
	// Elements are those of a vector; another feature is one itself, and a row of a table has none.
	Elements []SeenElement
}

// SeenElement is a value with its name.
type SeenElement struct {
	Name  string
	Value feature.Value
	Known bool // false: only a model of which it is an input knows it
}

// SeenCheck is what a rule says of a record.
type SeenCheck struct {
	Check

	Verdict feature.Verdict
}

// SeenInput is an input of a model.
type SeenInput struct {
	Name    string
	Value   feature.Value
	Missing bool
	Unseen  bool // it has a value that training has not seen
}

// Inspect runs a record through the path.
func (n *Inspector) Inspect(r record.Raw, g Given) (*Seen, error) {
	n.take(r)
	s := &Seen{EventTime: record.MissingTime}
	if p := n.batch.Problem(0); p != nil {
		s.Problem = copyOf(p)
		return s, nil
	}
	s.EventTime, s.Fields = n.at[0], n.fields()
	aggregates, err := n.observe(s, g)
	if err != nil {
		return nil, err
	}
	rows := &seenRows{givenRows: givenRows{n.probe.Plan().Tables(), g.Find}, at: n.at[0]}
	n.probe.Eval(n.batch, feature.Enrichment{Rows: rows, Windows: aggregates})
	s.Lookups = rows.seen
	n.verdict(s, g, rows, aggregates)
	if s.evaluated() {
		s.Features = n.values(s)
		n.check(s, g)
	}
	return s, nil
}

func copyOf(p *record.Problem) *record.Problem {
	own := *p
	return &own
}

// verdict finds out whether the record gets a prediction, and which.
func (n *Inspector) verdict(s *Seen, g Given, rows *seenRows, aggregates [][]float64) {
	if n.worker == nil {
		n.probe.Find(n.batch, feature.Enrichment{Rows: n.finder.Bind(n.batch, n.at, &rows.givenRows), Windows: aggregates})
		n.finder.Bind(nil, nil, nil)
		if p := n.batch.Problem(0); p != nil {
			s.Problem = copyOf(p)
		}
		return
	}
	plan := n.worker.path.bundle.Plan
	before := n.worker.Counts()
	n.worker.Complete(n.batch, Enrichment{Rows: &givenRows{plan.Tables(), g.Find}, Windows: s.aggregates(plan)})
	if p := n.batch.Problem(0); p != nil {
		s.Problem = copyOf(p)
	} else {
		s.Scored, s.Prediction = true, n.worker.Prediction(0)
	}
	if !s.evaluated() {
		return
	}
	counts := n.worker.Counts()
	for i := range n.worker.Frame().Columns {
		s.Inputs = append(s.Inputs, SeenInput{
			Name: n.worker.Frame().Columns[i].Name, Value: n.input(i),
			Missing: counts[i].Missing > before[i].Missing, Unseen: counts[i].Unseen > before[i].Unseen,
		})
	}
}

// evaluated tells whether the record got as far as having features.
func (s *Seen) evaluated() bool {
	return s.Problem == nil || s.Problem.Stage == record.StageScore || s.Problem.Stage == record.StageCheck
}

// aggregates returns what the record has found of the windows, as a plan wants it.
func (s *Seen) aggregates(plan *feature.Plan) [][]float64 {
	var columns [][]float64
	for _, w := range plan.Windows() {
		for _, a := range w.Aggregates {
			x := math.NaN()
			for k := range s.Windows {
				for _, e := range s.Windows[k].Aggregates {
					if s.Windows[k].Name == w.Name && e.Name == a.Name {
						x = e.Value.Number
					}
				}
			}
			columns = append(columns, []float64{x})
		}
	}
	return columns
}

// check tests the rules one by one. Without a model it also says what becomes of the record.
func (n *Inspector) check(s *Seen, g Given) {
	if n.rules == nil {
		return
	}
	plan := n.rules.Plan()
	rows := &seenRows{givenRows: givenRows{plan.Tables(), g.Find}, at: n.at[0]}
	var broken []feature.Broken
	for i, v := range n.tester.Eval(n.batch, feature.Enrichment{Rows: rows, Windows: s.aggregates(plan)}) {
		s.Checks = append(s.Checks, SeenCheck{n.checker.checks[i], v})
		if v == feature.VerdictBroken {
			broken = append(broken, feature.Broken{Rule: int32(i)})
		}
	}
	if n.worker == nil && s.Problem == nil && len(broken) > 0 {
		n.checker.row(n.batch, 0, broken)
		if p := n.batch.Problem(0); p != nil {
			s.Problem = copyOf(p)
		}
	}
}

// input returns what the model has as its input i.
func (n *Inspector) input(i int) feature.Value {
	c := &n.worker.Frame().Columns[i]
	if c.Type == record.Enum {
		if c.Codes[0] < 0 {
			return feature.Value{Kind: feature.KindText, Missing: true}
		}
		return feature.Value{Kind: feature.KindText, Text: c.Levels[c.Codes[0]]}
	}
	return number(c.Numbers[0])
}

func number(x float64) feature.Value {
	return feature.Value{Kind: feature.KindNumber, Number: x, Missing: math.IsNaN(x) || math.IsInf(x, 0)}
}

// fields returns the fields of the record.
func (n *Inspector) fields() []SeenField {
	var out []SeenField
	schema := n.batch.Schema()
	for i := range schema.Len() {
		f := schema.Field(i)
		if f.Name == n.label {
			continue
		}
		s := SeenField{Name: f.Name, Type: f.Type, Value: feature.Value{Kind: feature.KindText}}
		switch f.Type {
		case record.Numeric:
			s.Value = number(n.batch.Numbers(i)[0])
		case record.Time:
			at := n.batch.Times(i)[0]
			s.Value = feature.Value{Kind: feature.KindTime, Time: at, Missing: at == record.MissingTime}
		case record.Enum:
			if c := n.batch.Codes(i)[0]; c == record.MissingCode {
				s.Value.Missing = true
			} else {
				s.Value.Text = n.batch.Dict(i).Level(c)
			}
		case record.String:
			if t := n.batch.Texts(i); t.Missing(0) {
				s.Value.Missing = true
			} else {
				s.Value.Text = strings.Clone(t.View(0))
			}
		}
		out = append(out, s)
	}
	return out
}

// observe finds the aggregates of the windows, by the plan of the probe.
func (n *Inspector) observe(s *Seen, g Given) ([][]float64, error) {
	keys := n.windows.Rows(n.batch)
	for i := range n.windows.infos {
		info := &n.windows.infos[i]
		w := SeenWindow{Name: info.Name, Key: record.Text{S: strings.Clone(keys[i].Keys[0].S), OK: keys[i].Keys[0].OK}}
		for _, a := range info.Aggregates {
			x, ok := g.Windows[info.Name][a.Name]
			if !ok {
				x = math.NaN()
			}
			w.Aggregates = append(w.Aggregates, SeenElement{Name: a.Name, Value: number(x), Known: true})
		}
		s.Windows = append(s.Windows, w)
	}
	var columns [][]float64
	if g.Observe {
		var err error
		if columns, err = n.windows.Observe(n.batch, n.at, n.states); err != nil {
			return nil, err
		}
	}
	column := 0
	for i := range s.Windows {
		for k := range s.Windows[i].Aggregates {
			e := &s.Windows[i].Aggregates[k]
			if g.Observe {
				e.Value = number(columns[column][0])
			} else {
				columns = append(columns, []float64{e.Value.Number})
			}
			column++
		}
	}
	return columns, nil
}

// values returns the features with the values that the probe or the model has for them.
func (n *Inspector) values(s *Seen) []SeenFeature {
	out := make([]SeenFeature, len(n.features))
	for i, f := range n.probe.Features() {
		out[i] = n.features[i]
		out[i].Elements = append([]SeenElement(nil), n.features[i].Elements...)
		for k := range out[i].Elements {
			e := &out[i].Elements[k]
			if k < len(f.Elements) && !f.Elements[k].Waits {
				e.Value, e.Known = n.probe.Value(i, k), true
			} else if at, ok := n.inputs[e.Name]; ok && s.Inputs != nil {
				e.Value, e.Known = ofKind(s.Inputs[at].Value, out[i].Kind), true
			}
		}
	}
	return out
}

// givenRows finds rows by the names of tables, for a driver's place in the path.
type givenRows struct {
	tables []feature.Table
	find   func(table, key string, at int64) *record.Row
}

// Row finds a row.
func (r *givenRows) Row(table, _ int, key string, at int64) *record.Row {
	if r.find == nil {
		return nil
	}
	return r.find(r.tables[table].Name, key, at)
}

// seenRows finds rows for one record on behalf of its features, and notes them.
type seenRows struct {
	givenRows

	at   int64
	seen []SeenLookup
}

// Row finds a row, and notes the look-up if it is the first one of the key.
func (r *seenRows) Row(table, _ int, key record.Text) *record.Row {
	name := r.tables[table].Name
	for i := range r.seen {
		if l := &r.seen[i]; l.Table == name && l.Key == key {
			return l.Row
		}
	}
	l := SeenLookup{Table: name, Key: record.Text{S: strings.Clone(key.S), OK: key.OK}}
	if key.OK {
		l.Row = r.givenRows.Row(table, 0, key.S, r.at)
	}
	r.seen = append(r.seen, l)
	return l.Row
}

// ofKind returns the value of an input as that of a feature: a bool is 0 or 1 to the model alone.
func ofKind(v feature.Value, kind feature.Kind) feature.Value {
	if kind == feature.KindBool && v.Kind == feature.KindNumber {
		return feature.Value{Kind: kind, Missing: v.Missing, Flag: v.Number == 1}
	}
	return v
}
