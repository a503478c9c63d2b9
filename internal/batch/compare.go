package batch

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"millrace.dev/feature"
	"millrace.dev/internal/sample"
	"millrace.dev/model"
	"millrace.dev/record"
)

// The kinds of what is compared.
const (
	kindTime       = "time"       // the event time
	kindLookup     = "look-up"    // that a row was looked for, and whether there was one
	kindColumn     = "column"     // of a row
	kindAggregate  = "aggregate"  // of a window
	kindInput      = "input"      // of the model
	kindPrediction = "prediction" //
)

// Compared counts how a value that a stream had compares with the same of batch, over all samples.
type Compared struct {
	Feature  string    `json:"feature"`
	Kind     string    `json:"kind"`     // time, look-up, column, aggregate, input or prediction
	Compared int       `json:"compared"` // both sides have it
	Mismatch int       `json:"mismatch"` // two values that differ by a bit at least
	Missing  int       `json:"missing"`  // one side has a value, for the other it is missing
	Extra    int       `json:"extra"`    // one side has it, the other does not know it; not among Compared
	Examples []Example `json:"examples,omitempty"`
}

// Example is a difference. The texts show values of a record.
type Example struct {
	Record string `json:"record"`        // topic/partition/offset
	Key    string `json:"key,omitempty"` // of a look-up
	Stream string `json:"stream"`
	Batch  string `json:"batch"`
}

// Comparison is what came of one level of verifying.
type Comparison struct {
	Records   int         `json:"records"`   // samples
	Differing int         `json:"differing"` // of them, with any difference
	Rejected  int         `json:"rejected"`  // of these, what batch makes no prediction of
	NotFound  int         `json:"not_found"` // of these, what the history does not have
	Features  []*Compared `json:"features"`
	// Lost has examples of what was rejected or not found.
	Lost []Example `json:"lost,omitempty"`

	examples int
	index    map[[2]string]*Compared
}

// NewComparison returns a comparison of nothing, which keeps up to examples differences of each feature.
func NewComparison(examples int) *Comparison {
	return &Comparison{Features: []*Compared{}, examples: examples, index: map[[2]string]*Compared{}}
}

func (c *Comparison) of(kind, name string) *Compared {
	key := [2]string{kind, name}
	f := c.index[key]
	if f == nil {
		f = &Compared{Feature: name, Kind: kind}
		c.index[key] = f
		c.Features = append(c.Features, f)
	}
	return f
}

// comparer compares samples with what came of them again.
type comparer struct {
	into    *Comparison
	plan    *feature.Plan
	given   bool // rows and aggregates were given: that they are the same says nothing
	record  string
	key     string
	differs bool
}

// absent is how an example shows what one side does not have.
const absent = "not there"

// compare compares a sample with what came of it again.
func (c *comparer) compare(s *sample.Sample, again outcome) {
	c.record, c.key, c.differs = s.Source(), "", false
	c.into.Records++
	switch {
	case !again.found:
		c.into.NotFound++
		c.lost("the history does not have the record")
	case again.problem != nil:
		c.into.Rejected++
		p := again.problem
		c.lost(strings.TrimSuffix(fmt.Sprintf("rejected: %s/%s %s", p.Stage, p.Class, p.Field), " "))
	default:
		c.all(s, again.sample)
	}
	if c.differs {
		c.into.Differing++
	}
}

func (c *comparer) lost(batch string) {
	c.differs = true
	if len(c.into.Lost) < c.into.examples {
		c.into.Lost = append(c.into.Lost, Example{Record: c.record, Stream: "a prediction", Batch: batch})
	}
}

func (c *comparer) all(s, again *sample.Sample) {
	c.pair(kindTime, "event_time", record.Time, millis(s.EventTime), millis(again.EventTime))
	c.lookups(s.Lookups, again.Lookups)
	for _, w := range c.plan.Windows() {
		c.members(kindAggregate, w.Name+".", s.Windows[w.Name], again.Windows[w.Name], func(string) record.Type { return record.Numeric })
	}
	for _, name := range slices.Sorted(maps.Keys(s.Windows)) {
		if _, ok := again.Windows[name]; !ok {
			c.members(kindAggregate, name+".", s.Windows[name], nil, func(string) record.Type { return record.Numeric })
		}
	}
	types := map[string]record.Type{}
	for _, in := range c.plan.Inputs() {
		types[in.Name] = in.Type
	}
	c.members(kindInput, "", s.Inputs, again.Inputs, func(name string) record.Type { return types[name] })
	c.pair(kindPrediction, kindPrediction, record.Numeric, s.Prediction, again.Prediction)
}

func millis(at *int64) json.RawMessage {
	if at == nil {
		return json.RawMessage("null")
	}
	return fmt.Append(nil, *at*1000)
}

// lookups compares look-ups by table and key.
func (c *comparer) lookups(stream, batch []sample.LoggedLookup) {
	find := func(list []sample.LoggedLookup, of *sample.LoggedLookup) *sample.LoggedLookup {
		i := slices.IndexFunc(list, func(l sample.LoggedLookup) bool { return l.Table == of.Table && l.Key == of.Key })
		if i < 0 {
			return nil
		}
		return &list[i]
	}
	for i := range stream {
		c.lookup(&stream[i], find(batch, &stream[i]))
	}
	for i := range batch {
		if find(stream, &batch[i]) == nil {
			c.lookup(nil, &batch[i])
		}
	}
	c.key = ""
}

// lookup compares a look-up; one side can be nil.
func (c *comparer) lookup(stream, batch *sample.LoggedLookup) {
	one := stream
	if one == nil {
		one = batch
	}
	c.key = one.Key
	f := c.into.of(kindLookup, one.Table)
	switch {
	case stream == nil || batch == nil:
		f.Extra++
		c.example(f, shownLookup(stream), shownLookup(batch))
		return
	case (stream.Row == nil) != (batch.Row == nil):
		f.Compared++
		f.Missing++
		c.example(f, shownLookup(stream), shownLookup(batch))
		return
	}
	f.Compared++
	if stream.Row == nil {
		return
	}
	types := map[string]record.Type{}
	for _, t := range c.plan.Tables() {
		for i := range t.Schema.Len() {
			if t.Name == one.Table {
				types[t.Schema.Field(i).Name] = t.Schema.Field(i).Type
			}
		}
	}
	c.members(kindColumn, one.Table+".", stream.Row, batch.Row, func(name string) record.Type { return types[name] })
}

func shownLookup(l *sample.LoggedLookup) string {
	switch {
	case l == nil:
		return "not looked up"
	case l.Row == nil:
		return "no row"
	default:
		return "a row"
	}
}

// members compares values by name, those of batch first, whose names are in order for each record alike.
func (c *comparer) members(kind, prefix string, stream, batch map[string]json.RawMessage, typ func(string) record.Type) {
	for _, name := range slices.Sorted(maps.Keys(batch)) {
		c.pair(kind, prefix+name, typ(name), stream[name], batch[name])
	}
	for _, name := range slices.Sorted(maps.Keys(stream)) {
		if _, ok := batch[name]; !ok {
			c.pair(kind, prefix+name, typ(name), stream[name], nil)
		}
	}
}

// pair compares two values; nil is one that a side does not have.
func (c *comparer) pair(kind, name string, t record.Type, stream, batch json.RawMessage) {
	given := c.given && (kind == kindColumn || kind == kindAggregate)
	if stream == nil || batch == nil {
		f := c.into.of(kind, name)
		f.Extra++
		c.example(f, shown(stream, t), shown(batch, t))
		return
	}
	a, errA := sample.Value(stream, t)
	b, errB := sample.Value(batch, t)
	same := errA == nil && errB == nil && a == b
	if same && given {
		return
	}
	f := c.into.of(kind, name)
	f.Compared++
	switch {
	case same:
		return
	case errA == nil && errB == nil && (a.Kind == model.Missing || b.Kind == model.Missing):
		f.Missing++
	default:
		f.Mismatch++
	}
	c.example(f, shown(stream, t), shown(batch, t))
}

func (c *comparer) example(f *Compared, stream, batch string) {
	c.differs = true
	if len(f.Examples) < c.into.examples {
		f.Examples = append(f.Examples, Example{Record: c.record, Key: c.key, Stream: stream, Batch: batch})
	}
}

// shown is a value as an example has it: a number in the shortest text that tells its bits.
func shown(text json.RawMessage, t record.Type) string {
	if text == nil {
		return absent
	}
	v, err := sample.Value(text, t)
	switch {
	case err != nil:
		return string(text) // of another type than the model's
	case v.Kind == model.Number:
		return fmt.Sprint(math.Float64frombits(v.Bits))
	case v.Kind == model.Level:
		return fmt.Sprintf("%q", v.Level)
	default:
		return v.String()
	}
}
