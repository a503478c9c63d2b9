package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/feature"
	"millrace.dev/record"
)

// Test is a record, and what the pipeline has to make of it.
type Test struct {
	Name  string
	Line  int // of the file, from 1
	Given Given
	// Expect has the values of features. A record that is a dead letter has none.
	Expect     []Expectation
	Prediction *Expectation // nil where the test says nothing of it
	DeadLetter *Rejection   // nil where the record is none
}

// Given is what a record of a test has: the record, and what is known beside it.
type Given struct {
	Record  record.Raw
	Before  []record.Raw // records that windows have seen before, in their order
	Tables  map[string][]GivenRow
	Windows map[string]map[string]float64 // aggregates by window and name, NaN is missing; nil: they are computed of Before
}

// GivenRow is a row of a table.
type GivenRow struct {
	Key  string
	Row  *record.Row
	From int64 // when it begins to hold, in microseconds since 1970; record.MissingTime: it always has
}

// Expectation is what a value has to be.
type Expectation struct {
	Name    string // of a feature, or of an element of a vector; "" is the prediction
	Feature string // of which Name is an element, or Name
	// Waits tells that only a model has the value.
	Waits  bool
	Want   feature.Value
	Within Tolerance // of a number
}

// Tolerance is by how much a number may differ. The zero value wants the very same number.
type Tolerance struct {
	Absolute float64
	Share    float64 // of the number that is wanted
	Text     string  // as the file has it; "" is none
}

// Accepts tells whether the expectation is met.
func (e *Expectation) Accepts(got feature.Value) bool {
	w := &e.Want
	if w.Missing || got.Missing {
		return w.Missing == got.Missing
	}
	switch w.Kind {
	case feature.KindNumber:
		return w.Number == got.Number || math.Abs(w.Number-got.Number) <= max(e.Within.Absolute, e.Within.Share*math.Abs(w.Number))
	case feature.KindBool:
		return w.Flag == got.Flag
	case feature.KindTime:
		return w.Time == got.Time
	default:
		return w.Text == got.Text
	}
}

// Rejection is why a record has to be a dead letter. What is "" does not matter.
type Rejection struct {
	Stage, Class, Field string

	Trained bool // it is by a rule that only a model can test
}

// NeedsModel tells whether only a model can say if the test passes, and what for.
func (t *Test) NeedsModel() (what string, needed bool) {
	if t.Prediction != nil {
		return "a prediction", true
	}
	for i := range t.Expect {
		if t.Expect[i].Waits {
			return "the feature " + t.Expect[i].Feature + ", which is fitted in training,", true
		}
	}
	if t.DeadLetter != nil && t.DeadLetter.Stage == record.StageScore {
		return "a dead letter of the stage score", true
	}
	if t.DeadLetter != nil && t.DeadLetter.Trained {
		return "the rule " + t.DeadLetter.Class, true
	}
	return "", false
}

func testFields() []field {
	return []field{
		{key: "name", kind: kindText, required: true, example: "a renovated house", doc: "What the test is about; no two have the same"},
		{key: "given", kind: kindMapping, required: true, doc: "The record, and what is known beside it", fields: []field{
			{
				key: "record", kind: kindAny, required: true, example: "{city: Kent, price: 1}",
				doc: "The record: a mapping of its fields, typed by the schema, or its JSON as one text; null is a record without a value",
			},
			{key: "key", kind: kindText, defDoc: "none", doc: "The key of the record"},
			{
				key: "timestamp", kind: kindText, defDoc: "none", check: checkInstant, example: "2014-05-02T10:00:00Z",
				doc: "The timestamp of the record: a date, a time in RFC 3339, or milliseconds since 1970",
			},
			{
				key: "tables", kind: kindNamed, defDoc: "no table has a row",
				doc:  "The rows of tables: names of tables to lists of rows, with the columns of the table and its key (of a MaxMind database, key)",
				item: &field{kind: kindAny, doc: "A list of rows"},
			},
			{
				key: "windows", kind: kindNamed, defDoc: "what the records before it give",
				doc:  "The aggregates that the record finds: names of windows to mappings of aggregates to numbers; what is left out is missing",
				item: &field{kind: kindAny, doc: "A mapping of aggregates to numbers"},
			},
			{
				key: "before", kind: kindList, defDoc: "none",
				doc:  "Records that have gone through the windows before, in their order, each like record, or {record: ..., timestamp: ..., key: ...}",
				item: &field{kind: kindAny, doc: "A record"},
			},
		}},
		{
			key: "expect", kind: kindNamed, defDoc: "none",
			doc:  "The values of features, and of elements of vectors by the names that they have as inputs: a number, true, false, a text, null for missing, or {value: 1.5, within: 1%}",
			item: &field{kind: kindAny, doc: "A value"},
		},
		{key: "prediction", kind: kindAny, defDoc: "any", doc: "The prediction: a number, or {value: 461000, within: 5%}, or within: 1000. It needs a model"},
		{key: "dead_letter", kind: kindMapping, doc: "Why the record gets no prediction, instead of expect and prediction", fields: []field{
			{key: "stage", kind: kindText, defDoc: "any", allowed: []string{record.StageDecode, record.StageEnrich, record.StageCheck, record.StageScore}, doc: "Where in the path it is rejected"},
			{key: "class", kind: kindText, defDoc: "any", example: "no_row", doc: "The class of the problem; of the stage check, the name of a rule"},
			{key: "field", kind: kindText, defDoc: "any", doc: "The field at fault, or the table"},
		}},
	}
}

func checkInstant(s string) *fault {
	if _, ok := instant(s); ok {
		return nil
	}
	return &fault{"want a date, a time in RFC 3339, or milliseconds since 1970", "such as 2014-05-02T10:00:00Z"}
}

// instant reads a timestamp, in milliseconds since 1970.
func instant(s string) (int64, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, n >= 0
	}
	for _, layout := range record.DefaultLayouts() {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UnixMilli(), t.UnixMilli() >= 0
		}
	}
	return 0, false
}

// lintTests checks the tests, and completes the Pipeline by them.
func (d *decoder) lintTests(tests value) {
	if len(tests.list) == 0 || d.p.Schema == nil || len(d.ps.list) > 0 && !d.onlyTests() {
		return // what the tests are about is wrong
	}
	probe, err := feature.NewProbe(d.p.Declaration())
	if err != nil {
		return // as above
	}
	l := testLinter{decoder: d, probe: probe}
	names := map[string]bool{}
	for i := range tests.list {
		n := tests.list[i].node
		path := fmt.Sprintf("tests[%d]", slices.Index(tests.node.items, n)) // one without a name is not in the list
		t := Test{Name: tests.list[i].fields["name"].text}
		t.Line, _ = n.src.position(n.start)
		if names[t.Name] && t.Name != "" {
			d.reportAt(path+".name", "another test is called "+d.shown(path+".name", t.Name), "give it a name of its own")
		}
		names[t.Name] = true
		l.test(path, &t, tests.list[i].fields)
		d.p.Tests = append(d.p.Tests, t)
	}
}

// onlyTests tells whether the problems so far are about tests alone.
func (d *decoder) onlyTests() bool {
	return !slices.ContainsFunc(d.ps.list, func(p Problem) bool { return !strings.HasPrefix(p.Message, "tests[") })
}

// testLinter checks tests.
type testLinter struct {
	*decoder

	probe *feature.Probe
}

func (l *testLinter) test(path string, t *Test, f map[string]value) {
	given := f["given"].fields
	t.Given.Record = record.Raw{Timestamp: -1}
	if v, ok := given["record"]; ok {
		t.Given.Record.Value = l.recordJSON(v.node, path+".given.record")
	}
	if key, ok := given["key"]; ok {
		t.Given.Record.Key = []byte(key.text)
	}
	if at, ok := given["timestamp"]; ok {
		t.Given.Record.Timestamp, _ = instant(at.text)
	}
	for i, v := range given["before"].list {
		t.Given.Before = append(t.Given.Before, l.before(v.node, fmt.Sprintf("%s.given.before[%d]", path, i)))
	}
	l.tables(path+".given.tables", t, given["tables"])
	l.windows(path+".given.windows", t, given["windows"])
	if l.at[path+".given.windows"] != nil && l.at[path+".given.before"] != nil {
		l.reportKey(path+".given.before", path+".given has windows and before: the aggregates are given, or computed", "leave one of them out")
	}
	for i, name := range f["expect"].names {
		l.expect(path+".expect", t, name, f["expect"].list[i].node)
	}
	if v, ok := f["prediction"]; ok {
		t.Prediction = &Expectation{}
		l.wanted(v.node, path+".prediction", feature.KindNumber, t.Prediction)
		if t.Prediction.Want.Missing {
			l.report(v.node, path+".prediction: a prediction is a number", "a record without one is a dead letter: dead_letter: {class: ...}")
		}
	}
	if v := f["dead_letter"]; v.node != nil {
		t.DeadLetter = &Rejection{Stage: v.fields["stage"].text, Class: v.fields["class"].text, Field: v.fields["field"].text}
		l.rejection(path+".dead_letter", t.DeadLetter)
		if len(t.Expect) > 0 || t.Prediction != nil {
			l.reportKey(path+".dead_letter", path+" has dead_letter beside expect or prediction: a dead letter has no values", "leave one of them out")
		}
		return
	}
	if l.at[path+".expect"] == nil && l.at[path+".prediction"] == nil && l.at[path] != nil && l.at[path].kind == mappingNode {
		l.reportKey(path, path+" expects nothing", "add expect, prediction or dead_letter")
	}
}

// rejection checks that a rule that is to reject a record is there, and can.
func (l *testLinter) rejection(path string, r *Rejection) {
	if r.Stage != record.StageCheck || r.Class == "" {
		return
	}
	names := make([]string, 0, len(l.p.Checks.Record))
	for i := range l.p.Checks.Record {
		c := &l.p.Checks.Record[i]
		if names = append(names, c.Name); c.Name != r.Class {
			continue
		}
		if r.Trained = c.Trained; c.Otherwise == Warn {
			l.reportAt(path+".class", fmt.Sprintf("%s.class: a record that breaks the rule %s is predicted all the same", path, quote(r.Class)), "the rule's outcome is warn")
		}
		return
	}
	l.reportAt(path+".class", fmt.Sprintf("%s.class: no rule of checks.record is called %s", path, l.shown(path+".class", r.Class)), meant(r.Class, names, ""))
}

// before reads a record that came before: what a record can be, or one with its timestamp and key.
func (l *testLinter) before(n *node, path string) record.Raw {
	r := record.Raw{Timestamp: -1}
	long := n.kind == mappingNode && n.get("record") != nil
	for _, p := range n.pairs {
		long = long && slices.Contains([]string{"record", "key", "timestamp"}, p.key.yaml)
	}
	if _, field := l.p.Schema.Index("record"); !long || field {
		r.Value = l.recordJSON(n, path)
		return r
	}
	for _, p := range n.pairs {
		at := path + "." + p.key.yaml
		switch {
		case p.key.yaml == "record":
			r.Value = l.recordJSON(p.value, at)
		case p.value.kind != scalarNode || !l.expand(p.value):
			l.report(p.value, at+": want a single value", "")
		case p.key.yaml == "key":
			r.Key = []byte(p.value.text)
		default:
			ms, ok := instant(p.value.text)
			if r.Timestamp = ms; !ok {
				ft := checkInstant(p.value.text)
				l.report(p.value, at+": "+ft.message, ft.hint)
			}
		}
	}
	return r
}

// windows reads the aggregates that are given.
func (l *testLinter) windows(path string, t *Test, windows value) {
	if windows.node == nil {
		return
	}
	t.Given.Windows = map[string]map[string]float64{}
	for i, name := range windows.names {
		at := path + "." + name
		k := slices.IndexFunc(l.p.Windows, func(w feature.Window) bool { return w.Name == name })
		if k < 0 {
			var known []string
			for j := range l.p.Windows {
				known = append(known, l.p.Windows[j].Name)
			}
			l.reportKey(at, at+": the pipeline has no window "+quote(name), meant(name, known, "declare it under windows"))
			continue
		}
		n := windows.list[i].node
		if n.kind != mappingNode {
			l.report(n, at+": want a mapping of aggregates to numbers", "such as {n: 3}")
			continue
		}
		var known []string
		for _, a := range l.p.Windows[k].Aggregates {
			known = append(known, a.Name)
		}
		values := map[string]float64{}
		for _, p := range n.pairs {
			if !slices.Contains(known, p.key.yaml) {
				l.report(p.key, fmt.Sprintf("%s: the window has no aggregate %s", at, quote(p.key.yaml)), meant(p.key.yaml, known, "it has "+strings.Join(known, ", ")))
				continue
			}
			var e Expectation
			l.scalarWanted(p.value, at+"."+p.key.yaml, feature.KindNumber, &e)
			if values[p.key.yaml] = e.Want.Number; e.Want.Missing {
				values[p.key.yaml] = math.NaN()
			}
		}
		t.Given.Windows[name] = values
	}
}

// expect reads what a feature, or an element of one, has to be.
func (l *testLinter) expect(path string, t *Test, name string, n *node) {
	e, kind, ok := l.find(path, name)
	if !ok {
		return
	}
	l.wanted(n, path+"."+name, kind, &e)
	t.Expect = append(t.Expect, e)
}

// find finds a feature or an element by its name.
func (l *testLinter) find(path, name string) (e Expectation, kind feature.Kind, ok bool) {
	var known []string
	waiting := ""
	at := path + "." + name
	for _, f := range l.probe.Features() {
		for _, x := range f.Elements {
			if known = append(known, x.Name); x.Name != name {
				continue
			}
			if kind = f.Kind; kind == feature.KindVector {
				kind = feature.KindNumber
			}
			return Expectation{Name: name, Feature: f.Name, Waits: x.Waits}, kind, true
		}
		if f.Waits && len(f.Elements) == 0 && strings.HasPrefix(name, f.Name+"_") && len(f.Name) > len(waiting) {
			waiting = f.Name // whose elements only a model knows
		}
		switch {
		case f.Name != name:
		case f.Kind == feature.KindVector && len(f.Elements) > 0:
			l.reportKey(at, at+": the feature is a vector", "name its elements: "+f.Elements[0].Name+" and so on")
			return e, 0, false
		case f.Kind == feature.KindVector: // what is fitted may turn out to have one element, of the feature's name
			waiting = name
		default:
			l.reportKey(at, at+": the feature is a row of a table, or a bag of words", "test the features that are made of it")
			return e, 0, false
		}
	}
	if waiting != "" {
		return Expectation{Name: name, Feature: waiting, Waits: true}, feature.KindNumber, true
	}
	hint := "tests expect values of features, and the file declares none"
	if len(known) > 0 {
		hint = meant(name, known, "it is one of "+shortened(known))
	}
	l.reportKey(at, at+": the pipeline has no feature of this name", hint)
	return e, 0, false
}

// shortened returns some names.
func shortened(names []string) string {
	const most = 8
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// wanted reads a value, or one with a tolerance.
func (l *testLinter) wanted(n *node, path string, kind feature.Kind, e *Expectation) {
	if n.kind != mappingNode {
		l.scalarWanted(n, path, kind, e)
		return
	}
	for _, p := range n.pairs {
		switch {
		case p.key.yaml == "value":
			l.scalarWanted(p.value, path+".value", kind, e)
		case p.key.yaml != "within":
			l.report(p.key, path+" has no key "+quote(p.key.yaml), meant(p.key.yaml, []string{"value", "within"}, "its keys are value, within"))
		case kind != feature.KindNumber:
			l.report(p.key, fmt.Sprintf("%s: a %s is the same or not: only numbers can be near", path, kind), "leave within out")
		default:
			l.tolerance(p.value, path+".within", &e.Within)
		}
	}
	if n.get("value") == nil {
		l.report(n, path+" has no value", "write it as {value: 461000, within: 5%}")
	}
}

func (l *testLinter) tolerance(n *node, path string, t *Tolerance) {
	if n.kind == scalarNode && !l.expand(n) {
		return
	}
	text, share := strings.CutSuffix(strings.TrimSpace(n.text), "%")
	x, err := strconv.ParseFloat(text, 64)
	if n.kind != scalarNode || err != nil || x < 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		l.report(n, path+": want a number of at least 0, or a percentage", "such as 5% or 1000")
		return
	}
	if t.Text = n.text; share {
		t.Share = x / 100
	} else {
		t.Absolute = x
	}
}

// scalarWanted reads a single value of a kind.
func (l *testLinter) scalarWanted(n *node, path string, kind feature.Kind, e *Expectation) {
	e.Want.Kind = kind
	if n.kind != scalarNode {
		l.report(n, path+": want a single value", "")
		return
	}
	if !l.expand(n) {
		return
	}
	plain := n.style == plainStyle
	if plain && n.null {
		e.Want.Missing = true
		return
	}
	ok, want := plain, "a "+kind.String()
	switch kind {
	case feature.KindNumber:
		var err error
		e.Want.Number, err = strconv.ParseFloat(n.text, 64)
		ok = ok && err == nil && !math.IsInf(e.Want.Number, 0) && !math.IsNaN(e.Want.Number)
	case feature.KindBool:
		e.Want.Flag = n.text == "true"
		ok, want = ok && (n.text == "true" || n.text == "false"), "true or false"
	case feature.KindTime:
		ok, want = false, "a date, or a time in RFC 3339"
		for _, layout := range record.DefaultLayouts() {
			if at, err := time.Parse(layout, n.text); err == nil {
				e.Want.Time, ok = at.UnixMicro(), true
				break
			}
		}
	default:
		e.Want.Text, ok = n.text, true
	}
	if !ok {
		l.report(n, fmt.Sprintf("%s: want %s, or null where it is missing, not %s", path, want, n.shown()), "")
	}
}
