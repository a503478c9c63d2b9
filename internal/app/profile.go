package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"millrace.dev/internal/anomaly"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/source"
	"millrace.dev/model"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// ProfileOptions say of what to make a profile, or to show one.
type ProfileOptions struct {
	Of       string   // data as [source.Open] names it, a model as [App.LoadModel] does, or a file of a profile as JSON
	File     string   // the pipeline file that has the schema; "": the schema is inferred
	Set      []string // overrides of it
	Registry string   // the folder of models; "": that of the pipeline file
	Key      string   // the field whose values should all differ; "": source.key of the pipeline file
	Exact    bool     // count all rows into bins, where that takes reading the data twice
	Threads  int
}

// Described is what is known of data by its profile.
type Described struct {
	Of       string           `json:"of"`   // as it was asked for
	Kind     string           `json:"kind"` // data, model or profile
	Format   string           `json:"format,omitempty"`
	Digest   string           `json:"digest,omitempty"` // of the data, or of the model
	Records  uint64           `json:"records"`
	Rejected []batch.Rejected `json:"rejected"`
	// Sampled tells that the counts in bins are those of a sample of 16,384 rows, scaled to all rows.
	Sampled   bool              `json:"sampled"`
	Schema    *DescribedSchema  `json:"schema,omitempty"`
	Keys      *DescribedKeys    `json:"keys,omitempty"`
	Anomalies []anomaly.Anomaly `json:"anomalies"`
	Profile   *profile.Profile  `json:"profile"`

	data   *examined // nil for a model or a profile
	bundle *model.Bundle
}

// DescribedSchema says with which types the data was read.
type DescribedSchema struct {
	Declared string            `json:"declared,omitempty"` // the pipeline file, or the model, that has it; "": inferred
	Looked   int               `json:"looked"`             // the records that were looked at
	Columns  []DescribedColumn `json:"columns"`
}

// DescribedColumn says what a column is, and why.
type DescribedColumn struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"` // number, time, level or text; nested for objects and arrays, which have no profile
	Layouts []string `json:"layouts,omitempty"`
	Quoted  bool     `json:"quoted,omitempty"` // JSON numbers that are texts are read as numbers
	Why     string   `json:"why"`
}

// DescribedKeys says how often keys come again.
type DescribedKeys struct {
	Field    string `json:"field"`
	Rows     uint64 `json:"rows"`
	Distinct uint64 `json:"distinct"`
	Repeated uint64 `json:"repeated"` // rows whose key came before
	Exact    bool   `json:"exact"`    // else an estimate with a standard error of 0.8 % of the keys
}

// Describe makes the profile of data, or returns that of a model or a file.
func (a *App) Describe(ctx context.Context, o ProfileOptions) (*Described, error) {
	d, err := a.newDescriber(o)
	if err != nil {
		return nil, err
	}
	defer closeClient(d.client)
	return d.describe(ctx, o.Of, nil)
}

// describer describes one or two sets of data.
type describer struct {
	ProfileOptions

	app      *App
	pipeline *config.Pipeline // nil without a file
	client   *kafka.Client    // nil until a topic is read
}

func (a *App) newDescriber(o ProfileOptions) (*describer, error) {
	d := &describer{ProfileOptions: o, app: a}
	if o.File == "" {
		return d, nil
	}
	var err error
	if d.pipeline, err = a.Load(o.File, o.Set); err != nil {
		return nil, err
	}
	if d.Key == "" {
		d.Key = d.pipeline.Source.Key
	}
	return d, nil
}

func (d *describer) maxBytes() int {
	if d.pipeline == nil {
		return 0
	}
	return d.pipeline.Source.MaxRecordBytes
}

// describe describes what name stands for; data is counted into the bins of beside too, where that is not nil.
func (d *describer) describe(ctx context.Context, name string, beside *Described) (*Described, error) {
	if source.IsTopic(name) {
		return d.describeData(ctx, name, beside)
	}
	if p, err := readProfile(name); err != nil || p != nil {
		return p, err
	}
	_, missing := os.Stat(name)
	if strings.HasSuffix(name, model.Extension) || missing != nil && strings.Contains(name, "@") {
		return d.describeModel(ctx, name)
	}
	return d.describeData(ctx, name, beside)
}

func (d *describer) describeModel(ctx context.Context, ref string) (*Described, error) {
	where, name := config.Model{Registry: d.Registry}, ""
	if d.pipeline == nil && d.Registry == "" && !strings.HasSuffix(ref, model.Extension) {
		p, err := d.app.Load(defaultPipeline, d.Set)
		if err != nil {
			return nil, err
		}
		d.pipeline = p
	}
	if d.pipeline != nil {
		name = d.pipeline.Name
		if d.Registry == "" {
			where = d.pipeline.Model
		}
	}
	m, err := d.app.LoadModel(ctx, where, name, ref)
	if err != nil {
		return nil, err
	}
	if m.Bundle.Profile == nil {
		return nil, &Error{Code: Usage, Op: "profile", Where: ref, Err: errors.New("the model has no profile: it was trained before bundles had one"), Hint: "train it again"}
	}
	return describedModel(m), nil
}

// describedModel describes the training data of a model that has a profile.
func describedModel(m *model.Loaded) *Described {
	p := m.Bundle.Profile
	return &Described{
		Of: m.Ref, Kind: "model", Digest: m.Digest, Records: p.Rows, Rejected: []batch.Rejected{}, Profile: p, bundle: m.Bundle,
		Anomalies: anomaly.Alone(&anomaly.Data{Profile: p, Read: p.Rows}),
	}
}

// mostProfile bounds the bytes of a file of a profile.
const mostProfile = 64 << 20

// readProfile reads a file that holds a profile as JSON: what profile --json prints, or the profile alone. It returns nil if
// the file holds something else, or cannot be read.
func readProfile(path string) (*Described, error) {
	info, err := os.Stat(path)
	if !strings.HasSuffix(path, ".json") || err != nil || !info.Mode().IsRegular() || info.Size() > mostProfile {
		return nil, nil //nolint:nilnil // whoever opens it as data says what is wrong
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil //nolint:nilnil // as above
	}
	defer f.Close() //nolint:errcheck // it was only read
	b, err := io.ReadAll(io.LimitReader(f, mostProfile))
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(b, []byte(`"columns"`)) {
		return nil, nil //nolint:nilnil // as above
	}
	var d struct {
		Format   string           `json:"format"`
		Digest   string           `json:"digest"`
		Records  uint64           `json:"records"`
		Rejected []batch.Rejected `json:"rejected"`
		Sampled  bool             `json:"sampled"`
		Keys     *DescribedKeys   `json:"keys"`
		Profile  *profile.Profile `json:"profile"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, nil //nolint:nilnil // more than one record, most likely
	}
	if d.Profile == nil {
		d.Profile = &profile.Profile{}
		if err := json.Unmarshal(b, d.Profile); err != nil || len(d.Profile.Columns) == 0 || d.Profile.Columns[0].Kind == "" {
			return nil, nil //nolint:nilnil // a record with such a field
		}
	}
	if err := d.Profile.Validate(); err != nil {
		return nil, &Error{Code: Usage, Op: "read profile", Where: path, Err: err, Hint: "make it again: millrace profile DATA --json > FILE.json"}
	}
	records := max(d.Records, d.Profile.Rows)
	return &Described{
		Of: path, Kind: "profile", Format: d.Format, Digest: d.Digest, Records: records, Rejected: append([]batch.Rejected{}, d.Rejected...),
		Sampled: d.Sampled, Keys: d.Keys, Profile: d.Profile, Anomalies: anomaly.Alone(&anomaly.Data{Profile: d.Profile, Read: records}),
	}, nil
}

// examined is data and what was seen of it.
type examined struct {
	look    *look
	schema  *record.Schema
	changed []anomaly.Changed
	facts   anomaly.Data // of all of it, for judging
	counted *profile.Profile
}

// open opens data. A topic needs the brokers of the pipeline file, or of the environment.
func (d *describer) open(ctx context.Context, name string, o source.Options) (*source.Source, error) {
	if source.IsTopic(name) && d.client == nil {
		c, _, err := d.app.connection(d.File, nil)
		if err != nil {
			return nil, err
		}
		if d.client, err = kafka.New(c); err != nil {
			return nil, err
		}
	}
	o.MaxBytes, o.Rename, o.Client = d.maxBytes(), true, d.client
	return source.Open(ctx, name, o)
}

func (d *describer) describeData(ctx context.Context, name string, beside *Described) (*Described, error) {
	data, err := d.open(ctx, name, source.Options{})
	if err != nil {
		return nil, err
	}
	x := &examined{}
	if x.look, err = lookAt(ctx, data, d.maxBytes()); err != nil {
		return nil, err
	}
	out := &Described{Of: name, Kind: "data", Format: formatOf(data), data: x}
	fields, declared := d.fields(x.look, beside)
	schema, unfit, err := x.look.fit(fields, d.maxBytes())
	if err != nil {
		return nil, err
	}
	x.schema = schema
	if data.FileFormat() == source.Parquet { // which writes times as the schema has them
		if data, err = d.open(ctx, name, source.Options{Schema: schema, Declared: true}); err != nil {
			return nil, err
		}
	}
	out.Schema = describeSchema(x.look, schema, declared, fields)
	o := batch.ProfileOptions{Data: data, Schema: schema, MaxBytes: d.maxBytes(), Threads: d.Threads, Exact: d.Exact}
	if o.Key, err = d.key(schema, name); err != nil {
		return nil, err
	}
	x.changed = changes(fields, schema, unfit, beside == nil || declared != "" && beside.bundle == nil)
	if err := d.compareWith(ctx, &o, x, beside); err != nil {
		return nil, err
	}
	done, err := batch.MakeProfile(ctx, o)
	if err != nil {
		return nil, err
	}
	out.fill(done, x)
	if declared != "" {
		for _, f := range fields {
			x.facts.Schema = append(x.facts.Schema, f.Name)
		}
	}
	out.Anomalies = anomaly.Alone(&x.facts)
	return out, nil
}

// fields returns the fields that data is to be read with, and who has declared them; "" if nobody has.
func (d *describer) fields(l *look, beside *Described) (fields []record.Field, declared string) {
	of := func(s *record.Schema) []record.Field {
		var list []record.Field
		for i := range s.Len() {
			list = append(list, s.Field(i))
		}
		return list
	}
	switch {
	case beside != nil && beside.bundle != nil:
		return of(beside.bundle.Schema), beside.Of
	case d.File != "":
		return of(d.pipeline.Schema), d.File
	case beside != nil && beside.data != nil: // as the first data was read, where that is how this is
		fields = l.alike(beside.Profile)
		for i := range fields {
			if k, ok := beside.data.schema.Index(fields[i].Name); ok && fields[i].Type == record.Time {
				fields[i].Layouts = beside.data.schema.Field(k).Layouts
			}
		}
		return fields, ""
	case beside != nil:
		return l.alike(beside.Profile), ""
	default:
		return l.inferred(), ""
	}
}

// key returns the field whose values should all differ.
func (d *describer) key(s *record.Schema, name string) (string, error) {
	_, has := s.Index(d.Key)
	if d.Key == "" || has {
		return d.Key, nil
	}
	if d.pipeline != nil && d.Key == d.pipeline.Source.Key { // its absence is an anomaly already
		return "", nil
	}
	var names []string
	for i := range s.Len() {
		names = append(names, s.Field(i).Name)
	}
	return "", &Error{Code: Usage, Op: "profile", Where: name, Err: fmt.Errorf("--key: it has no column %q: its columns are %s", d.Key, strings.Join(names, ", "))}
}

// changes returns the fields that did not fit.
func changes(fields []record.Field, s *record.Schema, unfit []string, declared bool) []anomaly.Changed {
	var out []anomaly.Changed
	for _, f := range fields {
		if i, ok := s.Index(f.Name); ok && slices.Contains(unfit, f.Name) && kindOf(s.Field(i).Type) != kindOf(f.Type) && declared {
			out = append(out, anomaly.Changed{Column: f.Name, Was: kindOf(f.Type), Is: kindOf(s.Field(i).Type)})
		}
	}
	return out
}

func formatOf(s *source.Source) string {
	if s.Topic() {
		return "topic"
	}
	return s.FileFormat().String()
}

// describeSchema says how each column was read, and why.
func describeSchema(l *look, s *record.Schema, declared string, fields []record.Field) *DescribedSchema {
	out := &DescribedSchema{Declared: declared, Looked: l.rows - l.bad, Columns: []DescribedColumn{}}
	for i := range s.Len() {
		f := s.Field(i)
		c := DescribedColumn{Name: f.Name, Kind: string(kindOf(f.Type)), Layouts: f.Layouts, Quoted: f.Quoted, Why: "the data does not have it"}
		if seen, ok := l.column(f.Name); ok {
			c.Why = seen.Seen
		}
		if slices.Equal(f.Layouts, record.DefaultLayouts()) {
			c.Layouts = nil
		}
		if declared != "" {
			c.Why = "declared"
			if !slices.ContainsFunc(fields, func(g record.Field) bool { return g.Name == f.Name && g.Type == f.Type }) {
				c.Why = "its values do not fit what is declared"
			}
		}
		out.Columns = append(out.Columns, c)
	}
	for _, c := range l.columns {
		if c.Nested > 0 && c.Nested == c.Values && declared == "" {
			out.Columns = append(out.Columns, DescribedColumn{Name: c.Field.Name, Kind: "nested", Why: c.Seen})
		}
	}
	return out
}

// fill takes what was made, and lists what is known for judging.
func (out *Described) fill(done *batch.Profiled, x *examined) {
	out.Digest, out.Records, out.Rejected, out.Sampled, out.Profile = done.Digest, done.Read, done.Rejections(), done.Sampled, done.Profile
	x.counted = done.Counted
	x.facts = anomaly.Data{Profile: done.Profile, Changed: x.changed, Read: done.Read}
	var parts []string
	for _, r := range out.Rejected {
		x.facts.Bad += r.Rows
		reason := r.Class
		if r.Field != "" {
			reason += " in " + r.Field
		}
		if len(parts) < 5 {
			parts = append(parts, fmt.Sprintf("%d %s", r.Rows, reason))
		}
	}
	x.facts.Reasons = strings.Join(parts, ", ")
	for _, c := range x.look.columns {
		x.facts.Columns = append(x.facts.Columns, anomaly.Column{
			Name: c.Field.Name, Looked: c.Values, Numbers: c.Numeric, Quoted: c.Quoted, Formatted: c.Formatted, Kinds: c.Kinds(),
		})
	}
	names := x.look.data.Columns()
	for i, given := range x.look.data.Given() {
		if names[i] != given {
			x.facts.Renamed = append(x.facts.Renamed, anomaly.Renamed{Given: given, Name: names[i]})
		}
	}
	for _, o := range done.Outside {
		x.facts.Outside = append(x.facts.Outside, anomaly.Outside{Column: o.Column, Plausible: o.Plausible, Below: o.Below, Above: o.Above})
	}
	if k := done.Keys; k != nil {
		out.Keys = &DescribedKeys{Field: k.Field, Rows: k.Rows, Distinct: k.Distinct, Repeated: k.Repeated(), Exact: k.Exact}
		x.facts.Keys = &anomaly.Keys{Field: k.Field, Rows: k.Rows, Repeated: k.Repeated(), Exact: k.Exact, Error: keysError * float64(k.Distinct)}
	}
}

// keysError is the standard error of an estimate of different keys, in parts of it.
const keysError = 0.008
