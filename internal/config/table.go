package config

import (
	"fmt"
	"slices"
	"strings"

	"millrace.dev/record"
)

// Table is reference data in a topic: its rows fill fields of the schema.
type Table struct {
	Name     string // letters, digits and _, no digit first
	Topic    string
	Format   string   // upsert
	Key      string   // the enum or string field of a record that holds the key of its row
	Join     Join     // how instances share the rows
	Fields   []string // of the schema that come from the row, at least one; no field comes from two tables
	Required bool     // a record without a row is a dead letter
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

func tableFields() []field {
	return []field{
		{
			key: "topic", kind: kindText, required: true, check: checkTopic, example: "reference.zipcodes",
			doc: "The topic of the rows; best a compacted one",
		},
		{
			key: "format", kind: kindText, def: "upsert", allowed: []string{"upsert"},
			doc: "What a record of the topic says: with upsert its value, a JSON object, is the row of its key, a text, and a null value deletes the row",
		},
		{
			key: "key", kind: kindText, required: true, example: "statezip",
			doc: "The enum or string field of a record that holds the key of its row",
		},
		{
			key: "join", kind: kindText, def: string(JoinGlobal), allowed: []string{string(JoinGlobal), string(JoinPartitioned)},
			doc: "How instances share the rows: global holds all rows in the memory of each; partitioned holds each row in one, on disk, and sends records through a topic of the pipeline's own, by this key; one table can be partitioned",
		},
		{
			key: "fields", kind: kindList, required: true, least: 1, example: "[median_income]",
			doc:  "The fields of the schema that come from the row, and never from the record",
			item: &field{kind: kindText, doc: "The name of a field"},
		},
		{
			key: "required", kind: kindBool, def: "false",
			doc: "Whether a record without a row goes to dead_letter; else the fields are missing, as long as schema.required has none of them",
		},
	}
}

func setTables(p *Pipeline, v value) {
	for i, name := range v.names {
		f := v.list[i].fields
		fields := f["fields"]
		p.Tables = append(p.Tables, Table{
			Name: name, Topic: f["topic"].text, Format: f["format"].text, Key: f["key"].text, Join: Join(f["join"].text),
			Fields: fields.texts(), Required: f["required"].yes,
		})
	}
}

// operator is the name of the operator of run that scores, which no table can have too.
const operator = "score"

// maxApplication bounds the group, where it becomes part of the names of topics.
const maxApplication = 100

// lintTables checks the tables against the schema, the topics and one another.
func (d *decoder) lintTables() {
	owner := map[string]string{} // of a field, its table
	var partitioned string
	for i := range d.p.Tables {
		t := &d.p.Tables[i]
		path := join("tables", t.Name)
		d.lintTableName(path, t.Name)
		d.lintTableTopic(path, t.Topic)
		d.lintTableFields(path, t, owner)
		if t.Join == JoinPartitioned {
			if partitioned != "" {
				d.reportAt(path+".join", fmt.Sprintf("%s.join: the table %s is partitioned already, and one can be", path, quote(partitioned)), "make this one global")
			}
			partitioned = t.Name
		}
	}
	for i := range d.p.Tables {
		t := &d.p.Tables[i]
		d.lintTableKey(join("tables", t.Name), t.Key, owner)
	}
	if g := d.p.Group; partitioned != "" && (len(g) > maxApplication || g == "." || g == "..") {
		d.reportAt("group", fmt.Sprintf("group: with a table that is partitioned it is part of the names of topics: want at most %d characters", maxApplication), "")
	}
	if d.p.State.Dir == "" {
		d.p.State.Dir = d.path("state/" + d.p.Group)
	}
}

func (d *decoder) lintTableName(path, name string) {
	const most = 63
	_, field := d.column(name)
	switch {
	case !variableName(name) || len(name) > most:
		d.reportKey(path, fmt.Sprintf("tables: want a name of at most %d letters, digits and _, not %s", most, quote(name)), "")
	case field || slices.Contains(d.featureNames(), name):
		d.reportKey(path, fmt.Sprintf("tables: %s is a field or a feature already", quote(name)), "choose another name")
	case name == operator:
		d.reportKey(path, fmt.Sprintf("tables: %s is the name of an operator", quote(name)), "choose another name")
	}
}

func (d *decoder) lintTableTopic(path, topic string) {
	for _, other := range []struct{ key, topic string }{
		{"source.topic", d.p.Source.Topic}, {"sink.topic", d.p.Sink.Topic}, {"dead_letter.topic", d.p.DeadLetter.Topic},
	} {
		if topic != "" && topic == other.topic {
			d.reportAt(path+".topic", fmt.Sprintf("%s.topic is %s", path, other.key), "a table needs a topic of its own")
			return
		}
	}
}

func (d *decoder) lintTableFields(path string, t *Table, owner map[string]string) {
	if len(d.columns) == 0 {
		return
	}
	d.names(path+".fields", t.Fields, d.columnNames(), "the schema has no field")
	for i, name := range t.Fields {
		at := fmt.Sprintf("%s.fields[%d]", path, i)
		if c, ok := d.column(name); ok && c == d.label {
			d.reportAt(at, fmt.Sprintf("%s.fields: the label %s is what the model predicts", path, quote(name)), "take it out")
		}
		if first, ok := owner[name]; ok && first != t.Name {
			d.reportAt(at, fmt.Sprintf("%s.fields: %s comes from the table %s already", path, quote(name), quote(first)), "a field comes from one table")
			continue
		}
		owner[name] = t.Name
	}
}

func (d *decoder) lintTableKey(path, key string, owner map[string]string) {
	if key == "" || len(d.columns) == 0 {
		return
	}
	at := path + ".key"
	c, ok := d.column(key)
	switch {
	case !ok:
		var texts []string
		for _, c := range d.columns {
			if c.Type == record.Enum || c.Type == record.String {
				texts = append(texts, c.Name)
			}
		}
		d.reportAt(at, at+": the schema has no field "+d.shown(at, key), meant(key, texts, "it is one of "+strings.Join(texts, ", ")))
	case d.columns[c].Type != record.Enum && d.columns[c].Type != record.String:
		d.reportAt(at, fmt.Sprintf("%s: %s is a field of type %s, and a key is a text", at, d.shown(at, key), d.columns[c].Type), "declare it under schema.enum or schema.string")
	case owner[key] != "":
		d.reportAt(at, fmt.Sprintf("%s: %s comes from the table %s", at, d.shown(at, key), quote(owner[key])), "a key is a field of the record")
	}
}
