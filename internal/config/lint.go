package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"millrace.dev/feature"
	datasource "millrace.dev/internal/source"
	"millrace.dev/internal/spell"
	"millrace.dev/record"
)

// column is a declared field of the schema with its place.
type column struct {
	record.Field
	node *node
}

// lint checks what concerns more than one key, and completes the Pipeline. top is the decoded file.
func (d *decoder) lint(top map[string]value) {
	p := d.p
	p.Group = cmp.Or(p.Group, p.Name)
	p.Samples.Topic = cmp.Or(p.Samples.Topic, p.Name+".features")
	d.lintColumns(top["schema"])
	d.lintLabel()
	d.lintLabels()
	d.lintIgnore()
	d.lintRequired(top["schema"])
	d.lintSource()
	d.lintTables(top["tables"])
	d.lintWindows()
	d.lintChecks(top["checks"])
	d.lintAccept(top["model"])
	d.lintSchedule(top["schedule"])
	d.lintAB(top["ab"])
	d.lintOutcomes(top["outcomes"])
	d.lintCanary(top["canary"])
	d.lintSchema()
	d.lintSplit()
	d.lintParams()
	d.lintKafka()
	d.lintTopics()
	d.lintControl()
	d.lintShadow(top["shadow"])
	d.lintServe(top["serve"])
	d.lintQuery(top["query"])
	d.lintRemote()
	d.lintSinkField()
	d.lintTests(top["tests"])
}

// lintColumns collects the fields of the schema, by type and in the order of the file.
func (d *decoder) lintColumns(schema value) {
	columns, ok := d.lintFields("schema", schema)
	d.columns = columns
	wrong := !ok
	if n := len(d.columns); n > record.MaxFields {
		d.reportKey("schema", fmt.Sprintf("the schema has %d fields, and at most %d are possible", n, record.MaxFields), "leave out what no feature and no input needs")
	}
	if d.at["schema"] != nil && !wrong && len(d.columns) == 0 {
		d.reportKey("schema", "the schema declares no field", "millrace init writes a schema from a CSV file")
	}
}

// lintFields returns the fields that a mapping under path declares, by type and in the order of the file, and whether it is
// free of faults.
func (d *decoder) lintFields(path string, schema value) (columns []column, ok bool) {
	seen := map[string]*node{}
	ok = !d.failed[path]
	for _, t := range []record.Type{record.Time, record.Numeric, record.Enum, record.String} {
		ok = ok && !d.failed[path+"."+t.String()]
		for _, item := range schema.fields[t.String()].list {
			name := item.fields["name"]
			if name.node == nil {
				continue
			}
			c := column{Field: record.Field{Name: name.text, Type: t}, node: name.node}
			if first := seen[c.Name]; first != nil {
				line, col := first.src.position(first.start)
				d.report(c.node, fmt.Sprintf("the field %s is here twice: the first time in line %d, column %d", c.node.shown(), line, col), "a field has one type")
				continue
			}
			seen[c.Name] = c.node
			layouts := item.fields["layouts"]
			c.Layouts = layouts.texts()
			if zone := item.fields["zone"].text; zone != "UTC" { // which is what a field without a zone has
				c.Zone = zone
			}
			c.Quoted = item.fields["quoted"].yes
			columns = append(columns, c)
		}
	}
	return columns, ok
}

// lintSource checks the fields that the source names.
func (d *decoder) lintSource() {
	if len(d.columns) == 0 {
		return
	}
	if name := d.p.Source.EventTime; name != "" {
		const at = "source.event_time"
		switch i, ok := d.column(name); {
		case !ok:
			d.reportAt(at, at+": the schema has no field "+d.shown(at, name), meant(name, d.columnNames(), "declare it under schema.time"))
		case d.columns[i].Type != record.Time:
			d.reportAt(at, fmt.Sprintf("%s: %s is a field of type %s", at, d.shown(at, name), d.columns[i].Type), "declare it under schema.time")
		}
	}
	d.lintTextKey("source.key", d.p.Source.Key)
}

// lintTextKey wants a field whose text is a key, "" being none, and tells whether it is one.
func (d *decoder) lintTextKey(at, name string) bool {
	if name == "" || len(d.columns) == 0 {
		return false
	}
	i, ok := d.column(name)
	switch {
	case !ok:
		d.reportAt(at, at+": the schema has no field "+d.shown(at, name), meant(name, d.columnNames(), "declare it under schema.string, and name it in train.ignore"))
		return false
	case d.columns[i].Type != record.Enum && d.columns[i].Type != record.String:
		d.reportAt(at, fmt.Sprintf("%s: %s is a field of type %s, and a key is a text", at, d.shown(at, name), d.columns[i].Type), "declare it under schema.enum or schema.string")
		return false
	}
	return true
}

func (d *decoder) column(name string) (int, bool) {
	i := slices.IndexFunc(d.columns, func(c column) bool { return c.Name == name })
	return i, i >= 0
}

func (d *decoder) columnNames() []string {
	names := make([]string, len(d.columns))
	for i := range d.columns {
		names[i] = d.columns[i].Name
	}
	return names
}

func (d *decoder) featureNames() []string {
	names := make([]string, len(d.p.Features))
	for i := range d.p.Features {
		names[i] = d.p.Features[i].Name
	}
	return names
}

// lintLabel finds the label, which must be a numeric field, and no feature's name.
func (d *decoder) lintLabel() {
	d.label = -1
	label := d.p.Train.Label
	if label == "" || len(d.columns) == 0 {
		return
	}
	i, ok := d.column(label)
	switch {
	case !ok:
		d.reportAt("train.label", "train.label: the schema has no field "+d.at["train.label"].shown(), meant(label, d.columnNames(), "declare it under schema.numeric"))
	case d.columns[i].Type != record.Numeric:
		d.reportAt("train.label", fmt.Sprintf("train.label: %s is a field of type %s, and a model predicts a numeric one", d.at["train.label"].shown(), d.columns[i].Type), "declare it under schema.numeric")
	default:
		d.label = i
	}
}

// lintLabels checks by what the records find their labels.
func (d *decoder) lintLabels() {
	l := &d.p.Train.Labels
	if l.Data == "" || len(d.columns) == 0 {
		return
	}
	const at = "train.labels.key"
	if l.Key == "" {
		if !datasource.IsTopic(l.Data) || d.p.Train.Data != "" && !datasource.IsTopic(d.p.Train.Data) {
			d.reportKey("train.labels", "train.labels has no key, and only the messages of two topics have one of their own", "add key: the enum or string field, of both, that a record is known by")
		}
		return
	}
	if d.lintTextKey(at, l.Key) && l.Key == cmp.Or(l.Field, d.p.Train.Label) {
		d.reportAt(at, at+": "+d.shown(at, l.Key)+" is the field that has the label", "")
	}
}

// meant returns a hint that names the nearest candidate, or else the given one.
func meant(name string, candidates []string, otherwise string) string {
	if best := spell.Nearest(name, candidates); best != "" {
		return fmt.Sprintf("did you mean %s?", quote(best))
	}
	return otherwise
}

// lintIgnore checks the names in train.ignore, and makes the list of inputs.
func (d *decoder) lintIgnore() {
	if len(d.columns) == 0 {
		return
	}
	names := append(d.columnNames(), d.featureNames()...)
	ignored := d.names("train.ignore", d.p.Train.Ignore, names, "the schema and the features have no")
	for i, c := range d.columns {
		switch {
		case ignored[c.Name] || i == d.label:
		case c.Type == record.Time:
			d.report(c.node, c.node.shown()+" is a time, and a model takes numbers and enums only", "add it to train.ignore; features can be made of it, such as year("+inExpression(c.Name)+")")
		case c.Type == record.String:
			d.report(c.node, c.node.shown()+" is a string, and a model takes numbers and enums only", "add it to train.ignore; features can be made of it, such as "+inExpression(c.Name)+"[0:3]")
		default:
			d.p.Inputs = append(d.p.Inputs, c.Name)
		}
	}
	for _, name := range d.featureNames() {
		if _, column := d.column(name); !column && !ignored[name] {
			d.p.Inputs = append(d.p.Inputs, name)
		}
	}
	if len(d.p.Inputs) == 0 && d.label >= 0 {
		d.reportAt("train.ignore", "the model has no input: every field and feature is ignored, or the label", "")
	}
}

// names checks a list of names, each of which must be known and stand there once, and returns them as a set.
func (d *decoder) names(path string, list, known []string, missing string) map[string]bool {
	set := make(map[string]bool, len(list))
	all := make(map[string]bool, len(known))
	for _, name := range known {
		all[name] = true
	}
	for i, name := range list {
		if d.ps.full {
			break
		}
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case !all[name]:
			d.reportAt(at, fmt.Sprintf("%s: %s %s", path, missing, d.at[at].shown()), meant(name, known, ""))
		case set[name]:
			d.reportAt(at, fmt.Sprintf("%s names %s twice", path, d.at[at].shown()), "")
		}
		set[name] = true
	}
	return set
}

// lintRequired checks and applies schema.required.
func (d *decoder) lintRequired(schema value) {
	if len(d.columns) == 0 {
		return
	}
	required := schema.fields["required"]
	list := required.texts()
	set := d.names("schema.required", list, d.columnNames(), "the schema has no field")
	for i := range d.columns {
		d.columns[i].Required = set[d.columns[i].Name]
	}
	if d.label >= 0 && d.columns[d.label].Required {
		d.columns[d.label].Required = false
		i := slices.Index(list, d.p.Train.Label)
		d.reportAt(fmt.Sprintf("schema.required[%d]", i), "the label cannot be required: the records of a stream do not have it yet", "training skips rows without a label by itself")
	}
}

// lintSchema makes the record.Schema, and compiles features and train.where against it.
func (d *decoder) lintSchema() {
	var all []record.Field
	for i := range d.columns {
		all = append(all, d.columns[i].Field)
	}
	if len(all) == 0 {
		return
	}
	schema, err := record.NewSchema(all...)
	if err != nil { // each cause has its own check; this keeps one that is missing from passing in silence
		if len(d.ps.list) == 0 {
			d.reportKey("schema", err.Error(), "")
		}
		return
	}
	if d.p.Train.Where != "" {
		_, err := feature.CompilePredicate(schema, d.p.Train.Where)
		d.expressionProblems("train.where", err)
	}
	d.p.Schema = schema
	incomplete := slices.ContainsFunc(d.p.Tables, func(t Table) bool { return t.Schema == nil }) // which has been reported
	if len(d.p.Inputs) > 0 && d.label >= 0 && !incomplete {
		declared := d.p.Declaration()
		declared.Windows = slices.Clone(declared.Windows)
		for i := range declared.Windows {
			if w := &declared.Windows[i]; w.Size <= 0 { // which has been reported, and must not hide what else is wrong
				w.Size, w.Hop = time.Hour, 0
			}
		}
		plan, err := feature.Compile(declared)
		d.expressionProblems("features", err)
		if err == nil {
			d.lintPartitionedKey(plan)
			d.lintConditions(plan)
		}
	}
}

// lintPartitionedKey wants the table that is partitioned to be looked up by one key that is known before: records go to it.
func (d *decoder) lintPartitionedKey(plan *feature.Plan) {
	t := d.p.Partitioned()
	if t == nil {
		return
	}
	i := slices.IndexFunc(plan.Tables(), func(of feature.Table) bool { return of.Name == t.Name })
	if i < 0 {
		return // no input needs it
	}
	if _, err := plan.NewKeyReader(i); errors.Is(err, feature.ErrKey) {
		d.reportAt("tables."+t.Name+".join", fmt.Sprintf("tables.%s.join: records go to the rows of a partitioned table by one key, which is made of their fields, and features look it up by another too, or by what is looked up itself", t.Name),
			"look it up by one key, or make it global")
	}
}

// expressionProblems reports what package feature says of the expressions under key, at their places in the file.
func (d *decoder) expressionProblems(key string, err error) {
	if err == nil {
		return
	}
	list := feature.Errors(err)
	if len(list) == 0 {
		d.reportKey(key, key+": "+err.Error(), "")
	}
	for _, e := range list {
		path := key
		switch key {
		case "features":
			path = d.featurePath(e.Feature)
		case "checks.record":
			path = d.ruleAt[e.Feature]
		}
		n := d.at[path]
		if i, ok := d.column(e.Feature); ok && n == nil {
			n = d.columns[i].node
		}
		message, hint := path+": "+e.Msg, e.Hint
		if n == nil || e.Length == 0 || n.text == "" {
			d.reportKey(path, message, hint)
			continue
		}
		if n.fromVariable(e.Offset, e.Length) {
			message, hint = path+": with the value of this variable, the expression is wrong here", ""
		}
		start, end := n.place(e.Offset, e.Length)
		d.ps.add(n.src, start, end, message, hint)
	}
}

// featurePath returns where the expression is that package feature calls name: that of a feature, or a part of a window.
func (d *decoder) featurePath(name string) string {
	window, part, _ := strings.Cut(name, ".")
	for _, path := range []string{join(join("windows", window), "aggregates."+part), join("windows", name)} {
		if d.at[path] != nil && slices.ContainsFunc(d.p.Windows, func(w feature.Window) bool { return w.Name == window }) {
			return path
		}
	}
	return join("features", name)
}

// shown returns the value of path for a message, as the file has it.
func (d *decoder) shown(path, def string) string {
	if n := d.at[path]; n != nil {
		return n.shown()
	}
	return quote(def)
}

// inExpression returns how an expression names a column.
func inExpression(name string) string {
	if variableName(name) {
		return name
	}
	return fmt.Sprintf("column(%q)", name)
}

func (d *decoder) lintSplit() {
	s := d.p.Train.Split
	for _, part := range []struct {
		key   string
		share float64
	}{{"train", s.Train}, {"validation", s.Validation}, {"test", s.Test}} {
		if part.share <= 0 || part.share >= 1 {
			d.reportAt("train.split."+part.key, fmt.Sprintf("train.split.%s: want a number above 0 and below 1", part.key), "every part of the data is needed")
			return
		}
		if d.failed["train.split."+part.key] {
			return
		}
	}
	const rounding = 1e-9
	if sum := s.Train + s.Validation + s.Test; math.Abs(sum-1) > rounding {
		d.reportKey("train.split", fmt.Sprintf("train.split: the shares sum to %.6g, not to 1", sum), fmt.Sprintf("train %g, validation %g, test %g", s.Train, s.Validation, s.Test))
	}
}

func (d *decoder) lintParams() {
	for _, e := range paramErrors(d.p.Train.GBM.Validate()) {
		path := "train.gbm." + e.Param
		got := e.Value
		if n := d.at[path]; n != nil {
			got = n.shown()
		}
		d.reportAt(path, fmt.Sprintf("%s: want %s, not %s", path, e.Want, got), e.Hint)
	}
}

func (d *decoder) lintKafka() {
	tls := &d.p.Kafka.TLS
	if !tls.Enabled && (tls.CAFile != "" || tls.CertFile != "" || tls.KeyFile != "") {
		d.reportKey("kafka.tls", "kafka.tls names files, and is not enabled", "add enabled: true")
	}
	if (tls.CertFile == "") != (tls.KeyFile == "") {
		d.reportKey("kafka.tls", "kafka.tls needs cert_file and key_file together", "")
	}
	if d.at["kafka.sasl"] == nil || d.failed["kafka.sasl"] {
		return
	}
	password, file := d.at["kafka.sasl.password"] != nil, d.at["kafka.sasl.password_file"] != nil
	if password == file {
		message := "kafka.sasl needs a password"
		if password {
			message = "kafka.sasl has two passwords"
		}
		d.reportKey("kafka.sasl", message, "give password_file, or password with the name of a variable, ${NAME}")
	}
}

// lintTopics checks that the three topics differ: a pipeline that reads what it writes never ends.
func (d *decoder) lintTopics() {
	source, sink, dead := d.p.Source.Topic, d.p.Sink.Topic, d.p.DeadLetter.Topic
	if sink != "" && sink == source {
		d.reportAt("sink.topic", "sink.topic is source.topic: the pipeline would read its own predictions", "write to another topic")
	}
	if dead != "" && (dead == source || dead == sink) {
		d.reportAt("dead_letter.topic", "dead_letter.topic is the topic of the source or the sink", "dead letters need a topic of their own")
	}
	d.lintSamples()
}

// lintSamples checks that samples have a topic of their own, if there are any.
func (d *decoder) lintSamples() {
	const at = "sample_features"
	s := d.p.Samples
	if s.Rate == 0 && d.at[at+".topic"] == nil {
		return
	}
	others := []string{d.p.Source.Topic, d.p.Sink.Topic, d.p.DeadLetter.Topic}
	for i := range d.p.Tables {
		others = append(others, d.p.Tables[i].Topic)
	}
	if slices.Contains(others, s.Topic) {
		d.reportAt(at+".topic", fmt.Sprintf("%s.topic, which is %s, is another topic of the pipeline", at, s.Topic), "samples need a topic of their own")
	}
}

// lintControl checks that the topics by which instances are told what to do, and tell what they do, can be made, and are no
// others of the pipeline.
func (d *decoder) lintControl() {
	p := d.p
	if !p.Controlled() {
		return
	}
	if checkTopic(p.ControlTopic()) != nil && d.at["group"] != nil && !d.failed["group"] {
		d.reportAt("group", "group: instances are told which model to run in the topic "+d.shown("group", p.ControlTopic())+", which is no name of a topic",
			"shorten the name; model.update: restart needs no such topic")
	}
	topics := map[string]string{"source.topic": p.Source.Topic, "sink.topic": p.Sink.Topic, "dead_letter.topic": p.DeadLetter.Topic}
	if p.Samples.Rate > 0 {
		topics["sample_features.topic"] = p.Samples.Topic
	}
	if p.Checks.Window != nil {
		topics["checks.window.topic"] = p.Checks.Window.Topic
	}
	for i := range p.Tables {
		topics["tables."+p.Tables[i].Name+".topic"] = p.Tables[i].Topic
	}
	for _, at := range slices.Sorted(maps.Keys(topics)) {
		if t := topics[at]; t != "" && (t == p.ControlTopic() || t == p.StatusTopic()) {
			d.reportAt(at, fmt.Sprintf("%s, which is %s, is the topic that instances are controlled by, or tell their status in", at, t), "choose another name")
		}
	}
}

// lintSinkField checks that records do not have the field that the prediction is added as. The label may be it.
func (d *decoder) lintSinkField() {
	field := d.p.Sink.Field
	if i, ok := d.column(field); ok && i != d.label {
		d.reportAt("sink.field", fmt.Sprintf("sink.field: %s is a field of the records, which are passed on unchanged", d.shown("sink.field", field)), "choose a name that is not in the schema, or the label")
	}
}
