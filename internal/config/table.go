package config

import (
	"fmt"
	"slices"
	"time"

	"millrace.dev/feature"
	"millrace.dev/record"
)

// Table is reference data that features look rows up in.
type Table struct {
	Name   string // letters, digits and _, no digit first
	Topic  string // of its changes; "" where the rows come from Data alone
	Format string // of the changes: debezium, upsert or maxwell
	Data   string // a source of rows for training, and for run too where there is no topic; "" is the topic
	// ValidFrom is the time column of Data that says from when on a row holds; "" is from the beginning on.
	ValidFrom string
	Key       string         // the column that is the key of a row
	Schema    *record.Schema // of the columns
	Join      Join           // how instances share the rows
	History   time.Duration  // how far back run finds rows as of the event time; 0 is the latest row, in training too
	Required  bool           // a record without a row is a dead letter
}

// Join is how the instances of a pipeline share the rows of a table.
type Join string

// The joins.
const (
	JoinGlobal      Join = "global"      // each instance holds every row, in memory
	JoinPartitioned Join = "partitioned" // each instance holds the rows of its partitions, on disk
)

// State says where state is kept.
type State struct {
	Dir string // a folder
}

// Partitioned returns the table that is partitioned, or nil. There is one at most.
func (p *Pipeline) Partitioned() *Table {
	for i := range p.Tables {
		if p.Tables[i].Join == JoinPartitioned {
			return &p.Tables[i]
		}
	}
	return nil
}

// Table returns the table of a name, or nil.
func (p *Pipeline) Table(name string) *Table {
	if i := slices.IndexFunc(p.Tables, func(t Table) bool { return t.Name == name }); i >= 0 {
		return &p.Tables[i]
	}
	return nil
}

// Declaration returns what the file says about the inputs of the model.
func (p *Pipeline) Declaration() feature.Declaration {
	d := feature.Declaration{Schema: p.Schema, Features: p.Features, Inputs: p.Inputs, Label: p.Train.Label, Windows: p.Windows}
	for i := range p.Tables {
		d.Tables = append(d.Tables, feature.Table{Name: p.Tables[i].Name, Schema: p.Tables[i].Schema})
	}
	return d
}

func tableFields() []field {
	return []field{
		{
			key: "topic", kind: kindText, check: checkTopic, example: "reference.zipcodes", defDoc: "none, the rows come from data",
			doc: "The topic of the changes; best a compacted one",
		},
		{
			key: "format", kind: kindText, def: "upsert", allowed: []string{"debezium", "upsert", "maxwell"},
			doc: "What a record of the topic says: upsert has the row as a JSON object, and null to delete it; debezium and maxwell are what these write about a database",
		},
		{
			key: "data", kind: kindPath, defDoc: "the topic",
			doc: "Where the rows come from in training, and without a topic in run too: CSV, Parquet or JSON lines, or a MaxMind database, whose keys are IP addresses and whose columns are paths such as country.iso_code",
		},
		{
			key: "valid_from", kind: kindText, defDoc: "none, a row holds at all times",
			doc: "The time column of data that says from when on a row holds, until the next one of the same key",
		},
		{
			key: "key", kind: kindText, example: "zip", defDoc: "required, but for a MaxMind database",
			doc: "The column of a row that is its key; of a topic also a field of the record's key, and with upsert a record's key that is plain text",
		},
		{key: "schema", kind: kindMapping, required: true, doc: "The columns that are read, by type", fields: columnFields()},
		{
			key: "join", kind: kindText, def: string(JoinGlobal), allowed: []string{string(JoinGlobal), string(JoinPartitioned)},
			doc: "How instances share the rows: global holds all rows in the memory of each; partitioned holds each row in one, on disk, and sends records through a topic of the pipeline's own, by this key; one table can be partitioned",
		},
		{
			key: "history", kind: kindDuration, def: "24h", least: 0, most: float64(maxHistory),
			doc: "How far back in event time a record still finds the row that was valid at its own time, in run; training has all of it. 0s is the latest row, in training too",
		},
		{
			key: "required", kind: kindBool, def: "false",
			doc: "Whether a record without a row goes to dead_letter; else the columns are missing, and it is counted",
		},
	}
}

// maxHistory bounds tables.NAME.history, and what windows look back.
const maxHistory = 400 * 24 * time.Hour

func setTables(p *Pipeline, v value) {
	for i, name := range v.names {
		f := v.list[i].fields
		t := Table{
			Name: name, Topic: f["topic"].text, Format: f["format"].text, Data: f["data"].text, ValidFrom: f["valid_from"].text, Key: f["key"].text,
			Join: Join(f["join"].text), History: f["history"].time, Required: f["required"].yes,
		}
		p.Tables = append(p.Tables, t)
	}
}

// operators are the names of operators of run, which no table and no window can have too.
func operators() []string { return []string{"score"} }

// maxApplication bounds the group, where it becomes part of the names of topics.
const maxApplication = 100

// lintTables checks the tables against the schema, the topics and one another. tables is the decoded mapping.
func (d *decoder) lintTables(tables value) {
	var partitioned string
	for i := range d.p.Tables {
		t := &d.p.Tables[i]
		path := join("tables", t.Name)
		d.lintSourceName(path, t.Name)
		if d.failed[path] && tables.list[i].fields == nil { // it is no mapping
			continue
		}
		d.lintTableTopic(path, t)
		d.lintTableSchema(path, t, tables.list[i].fields["schema"])
		d.lintTableKey(path, t)
		if t.Join == JoinPartitioned {
			if partitioned != "" {
				d.reportAt(path+".join", fmt.Sprintf("%s.join: the table %s is partitioned already, and one can be", path, quote(partitioned)), "make this one global")
			}
			partitioned = t.Name
		}
	}
	stateful := partitioned != "" || len(d.p.Windows) > 0
	if g := d.p.Group; stateful && (len(g) > maxApplication || g == "." || g == "..") {
		d.reportAt("group", fmt.Sprintf("group: with windows, or a table that is partitioned, it is part of the names of topics: want at most %d characters", maxApplication), "")
	}
	if d.p.State.Dir == "" {
		d.p.State.Dir = d.path("state/" + d.p.Group)
	}
}

// lintSourceName checks the name of a table or a window.
func (d *decoder) lintSourceName(path, name string) {
	const most = 63
	_, field := d.column(name)
	what := path[:len(path)-len(name)-1]
	switch {
	case !variableName(name) || len(name) > most:
		d.reportKey(path, fmt.Sprintf("%s: want a name of at most %d letters, digits and _, not %s", what, most, quote(name)), "")
	case field || slices.Contains(d.featureNames(), name):
		d.reportKey(path, fmt.Sprintf("%s: %s is a field or a feature already", what, quote(name)), "choose another name")
	case slices.Contains(operators(), name):
		d.reportKey(path, fmt.Sprintf("%s: %s is the name of an operator", what, quote(name)), "choose another name")
	}
}

func (d *decoder) lintTableTopic(path string, t *Table) {
	switch {
	case t.Topic == "" && t.Data == "" && d.at[path+".topic"] == nil:
		d.reportKey(path, path+" needs a topic, or data", "a table's rows come from a topic, a file, or both: the file in training")
		return
	case t.Topic == "" && t.Join == JoinPartitioned:
		d.reportAt(path+".join", path+".join: a table without a topic is global", "take join out")
	}
	for _, other := range []struct{ key, topic string }{
		{"source.topic", d.p.Source.Topic}, {"sink.topic", d.p.Sink.Topic}, {"dead_letter.topic", d.p.DeadLetter.Topic},
	} {
		if t.Topic != "" && t.Topic == other.topic {
			d.reportAt(path+".topic", fmt.Sprintf("%s.topic is %s", path, other.key), "a table needs a topic of its own")
			return
		}
	}
}

// lintTableSchema makes the schema of a table.
func (d *decoder) lintTableSchema(path string, t *Table, schema value) {
	columns, ok := d.lintFields(path+".schema", schema)
	if !ok || len(columns) == 0 {
		return
	}
	var fields []record.Field
	for i := range columns {
		fields = append(fields, columns[i].Field)
	}
	s, err := record.NewSchema(fields...)
	if err != nil {
		d.reportKey(path+".schema", path+".schema: "+err.Error(), "")
		return
	}
	t.Schema = s
	if t.ValidFrom == "" {
		return
	}
	if i, ok := s.Index(t.ValidFrom); !ok || s.Field(i).Type != record.Time {
		d.reportAt(path+".valid_from", fmt.Sprintf("%s.valid_from: the table has no time column %s", path, d.shown(path+".valid_from", t.ValidFrom)), "declare it under schema.time of the table")
	}
}

func (d *decoder) lintTableKey(path string, t *Table) {
	if t.Key == "" && !isMaxMind(t.Data) && d.at[path+".key"] == nil {
		d.reportKey(path, path+" needs a key", "name the column of a row that is its key, such as key: zip")
	}
	if t.Schema == nil || t.Key == "" {
		return
	}
	if i, ok := t.Schema.Index(t.Key); ok && t.Schema.Field(i).Type == record.Time {
		d.reportAt(path+".key", fmt.Sprintf("%s.key: %s is a time, and a key is a text or a number", path, d.shown(path+".key", t.Key)), "")
	}
}
