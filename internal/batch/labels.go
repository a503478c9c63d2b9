package batch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"millrace.dev/codec"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/source"
	"millrace.dev/model"
	"millrace.dev/record"
)

// Labels say where the label of a record comes from, if not from the record: another source has it under a key.
type Labels struct {
	Data  string // as [source.Open] names it; "" is none, and the records have the label
	Key   string // the enum or string field of both that holds the key; "" is the key of the messages, if both are topics
	Field string // the numeric field of the other source. Default: the label
}

// labels are the labels by key. They take the memory of a number and a key each.
type labels struct {
	from     Labels
	name     string // of the source, for the lineage
	digest   string
	key      int // index of the key in the schema of the data, or -1 for the key of the message
	label    int // index of the label
	values   map[string]float64
	read     int
	rejected exclusions
	keyless  int // records of the source without a key or without a label
}

// labelled is data whose labels are somewhere else.
type labelled struct {
	data     *source.Source
	schema   *record.Schema
	label    int // index of the label in the schema
	maxBytes int // of a record
	client   *kafka.Client
}

// readLabels reads the labels of data. Of several for a key the last one counts; a message without a value takes the label
// of its key away.
func readLabels(ctx context.Context, from Labels, of labelled) (*labels, error) {
	l := &labels{from: from, key: -1, label: of.label, values: map[string]float64{}}
	if l.from.Field == "" {
		l.from.Field = of.schema.Field(of.label).Name
	}
	if l.from.Key == "" && (!of.data.Topic() || !source.IsTopic(l.from.Data)) {
		return nil, &source.DataError{
			Path: l.from.Data, Err: errors.New("without a key field, labels are found by the keys of messages, and both the data and the labels have to be topics"),
			Hint: "name the field with the key in train.labels.key",
		}
	}
	schema, err := l.schema(of.schema)
	if err != nil {
		return nil, err
	}
	data, err := source.Open(ctx, l.from.Data, source.Options{Schema: schema, Declared: true, MaxBytes: of.maxBytes, Client: of.client})
	if err != nil {
		return nil, err
	}
	l.name = data.Name()
	if err := l.scan(ctx, data, schema, of.maxBytes); err != nil {
		return nil, err
	}
	if n := l.rejected.rejected; float64(n) > maxRejected*float64(l.read) {
		return nil, &source.DataError{
			Path: l.from.Data, Unfit: true, Hint: "mend train.labels or the data",
			Err: fmt.Errorf("%d of %d records cannot be read as labels (%s)", n, l.read, l.rejected.summary()),
		}
	}
	return l, nil
}

// schema returns the fields that are read of the labels' source: the label, and the key if it is a field.
func (l *labels) schema(data *record.Schema) (*record.Schema, error) {
	label := data.Field(l.label)
	label.Name = l.from.Field
	if l.from.Key == "" {
		return record.NewSchema(label)
	}
	i, ok := data.Index(l.from.Key)
	if !ok || data.Field(i).Type != record.Enum && data.Field(i).Type != record.String {
		return nil, &source.DataError{
			Path: l.from.Data, Err: fmt.Errorf("labels: key %q: want an enum or string field of the schema", l.from.Key),
			Hint: "name the field of the records whose values the labels have, too",
		}
	}
	l.key = i
	key := data.Field(i)
	key.Required = false
	return record.NewSchema(label, key)
}

// scan reads the labels.
func (l *labels) scan(ctx context.Context, data *source.Source, schema *record.Schema, maxBytes int) error {
	if columns := data.Columns(); columns != nil {
		for i := range schema.Len() {
			if name := schema.Field(i).Name; !slices.Contains(columns, name) {
				return &source.DataError{
					Path: l.from.Data, Err: fmt.Errorf("it has no column %q: its columns are %s", name, strings.Join(columns, ", ")),
					Hint: "mend train.labels.key or train.labels.field",
				}
			}
		}
	}
	d, err := pipeline.NewDecoder(schema, pipeline.Options{Format: data.Format(), Header: data.Columns(), MaxBytes: maxBytes})
	if err != nil {
		return &source.DataError{Path: l.from.Data, Err: err}
	}
	b := record.NewBatch(schema, nil)
	r := data.Read(ctx)
	defer r.Close() //nolint:errcheck // it was only read
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := r.Fill(b)
		if err != nil {
			return err
		}
		if !more {
			l.digest = r.Digest()
			return nil
		}
		d.Decode(b)
		l.add(b)
	}
}

// add takes the labels of a batch of the labels' source.
func (l *labels) add(b *record.Batch) {
	const label, field = 0, 1
	key := -1
	if l.key >= 0 {
		key = field
	}
	for i, value := range b.Numbers(label) {
		l.read++
		k, ok := keyOf(b, key, i)
		if p := b.Problem(i); p != nil {
			if p.Class == codec.ClassNullValue { // a tombstone; a key that is a field is not in it
				if ok {
					delete(l.values, k)
				}
				continue
			}
			l.rejected.rejected++
			l.rejected.add(p.Class)
			continue
		}
		if !ok || math.IsNaN(value) {
			l.keyless++
			continue
		}
		if _, known := l.values[k]; !known {
			k = strings.Clone(k) // it is memory of the batch
		}
		l.values[k] = value
	}
}

// keyOf returns the key of record i, which is in a field or, where that is -1, the key of the message. It is valid until
// the batch is reset.
func keyOf(b *record.Batch, field, i int) (string, bool) {
	if field < 0 {
		k := b.Raw(i).Key
		return string(k), k != nil
	}
	if b.Schema().Field(field).Type == record.String {
		t := b.Texts(field)
		return t.View(i), !t.Missing(i)
	}
	c := b.Codes(field)[i]
	if c == record.MissingCode {
		return "", false
	}
	return b.Dict(field).Level(c), true
}

// join gives the records of a batch their labels. Those without one keep none.
func (l *labels) join(b *record.Batch) {
	numbers := b.Numbers(l.label)
	for i := range numbers {
		if b.Problem(i) != nil {
			continue
		}
		if k, ok := keyOf(b, l.key, i); ok {
			if x, ok := l.values[k]; ok {
				numbers[i] = x
			}
		}
	}
}

// summary says what came of the labels.
func (l *labels) summary() string {
	s := fmt.Sprintf("%s has %d records with labels for %d keys", l.from.Data, l.read-l.keyless-l.rejected.rejected, len(l.values))
	if l.keyless > 0 {
		s += fmt.Sprintf(", and %d without a key or a label", l.keyless)
	}
	return s
}

// lineage returns what a bundle says of the labels; nil where there are none apart from the data.
func (l *labels) lineage() *model.LabelSource {
	if l == nil {
		return nil
	}
	return &model.LabelSource{DataName: l.name, DataDigest: l.digest, Key: l.from.Key, Field: l.from.Field}
}
