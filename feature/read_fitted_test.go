package feature

import (
	"strings"
	"testing"
	"time"

	"millrace.dev/record"
)

// enrichedPlan has every instruction that carries what was fitted, or what comes from tables and windows.
func enrichedPlan(t testing.TB) *Plan {
	t.Helper()
	zips := mustSchema(t, record.Field{Name: "income", Type: record.Numeric}, record.Field{Name: "county", Type: record.Enum}, record.Field{Name: "since", Type: record.Time})
	p, err := Compile(Declaration{
		Schema: fitSchema(), Label: "label",
		Tables:  []Table{{"zips", zips}, {"counties", zips}},
		Windows: []Window{{Name: "w", Key: "e", Where: "x > 1", Size: time.Hour, Grace: time.Minute, GraceSet: true, Aggregates: []Spec{{"n", "count()"}, {"p", "percentile(x, 0.9)"}, {"l", "last(y > 1, 2)"}}}},
		Features: []Spec{
			{"a", "zips[e].income + year(zips[e].since)"},
			{"b", "counties[zips[e].county].county"},
			{"c", "w.n + w.p + w.l"},
			{"one", "one_hot(e, top: 2)"},
			{"hash", "hash_one_hot(s, size: 3)"},
			{"mm", "min_max(x)"},
			{"q", "quantile_bucket(y, buckets: 2)"},
			{"t", "target_mean(e)"},
			{"n", "n_hot(s)"},
			{"g", "ngrams(s, low: 1, high: 2)"},
			{"hn", "hash_n_hot_weighted(s, size: 3)"},
		},
		Inputs: []string{"a", "b", "c", "one", "hash", "mm", "q", "t", "n", "g", "hn"},
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := []fitRow{{x: 1, y: 1, label: 3, e: text{"a", true}, s: text{"p,q", true}}, {x: 5, y: 2, label: 4, e: text{"b", true}, s: text{"p q", true}, id: 1}}
	if p, err = fitOnce(p, rows); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestReadPlanRefusesFitted changes one thing at a time of what was fitted, of tables and of windows.
func TestReadPlanRefusesFitted(t *testing.T) {
	t.Parallel()
	good := string(encoded(t, enrichedPlan(t)))
	if _, err := ReadPlan([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, with, want string }{
		{`"group":0,"texts":["a","b"]`, `"group":-1,"texts":["a","b"]`, "no buckets"},
		{`"group":0,"texts":["a","b"]`, `"group":8193,"texts":["a","b"]`, "too many"},
		{`"group":0,"texts":["a","b"]`, `"group":0,"texts":["b","a"]`, "not sorted"},
		{`"group":0,"texts":["a","b"]`, `"group":0,"texts":["a","a"]`, "not sorted"},
		{`"group":0,"texts":["a","b"]`, `"texts":["a","b"]`, "no buckets"},
		{`"numbers":[1,5]`, `"numbers":[5,1]`, "do not ascend"},
		{`"numbers":[1,5]`, `"numbers":[1,5,6]`, "too few or too many"},
		{`"numbers":[1,5]`, `"numbers":[]`, "too few"},
		{`"op":"bucket","args":[`, `"op":"bucket","numbers":[1],"args":[`, ""},
		{`{"op":"pick","args":[`, `{"op":"pick","number":1,"args":[`, "not those of a plan"},
		{`"sep":","`, `"sep":""`, "cannot be taken apart"},
		{`"sep":" ","low":1,"high":2`, `"sep":" ","low":0,"high":2`, "cannot be taken apart"},
		{`"sep":" ","low":1,"high":2`, `"sep":" ","low":2,"high":1`, "cannot be taken apart"},
		{`"sep":" ","low":1,"high":2`, `"sep":" ","low":1,"high":101`, "cannot be taken apart"},
		{`"sep":" ","low":1,"high":2`, `"sep":" ","low":1,"high":-2`, "cannot be taken apart"},
		{`"sep":" ","low":1,"high":2`, `"sep":" ","weight":":","low":1,"high":2`, "cannot be taken apart"},
		{`"weight":":","size":3`, `"weight":":","size":0`, "cannot be taken apart"},
		{`"weight":":","size":3`, `"weight":":","size":8193`, "cannot be taken apart"},
		{`"weight":":","size":3`, `"weight":":","low":1,"size":3`, "cannot be taken apart"},
		{`,"tokens":{"sep":","}`, ``, "no tokens"},
		{`"table":"zips"`, `"table":"zip"`, `no table "zip"`},
		{`"table":"zips"`, `"table":"counties"`, ""},
		{`{"op":"cell_number","args":[1],"field":"income"`, `{"op":"cell_number","args":[1],"field":"county"`, "no column"},
		{`"field":"income"`, `"field":"incom"`, "no column"},
		{`"tables":[`, `"tables":[{"name":"more","schema":[{"name":"a","type":"numeric"}]},`, "nothing needs one"},
		{`{"name":"counties"`, `{"name":"zips"`, "comes twice"},
		{`{"name":"counties"`, `{"name":""`, "no name"},
		{`"field":"n","window":"w"`, `"field":"n","window":"v"`, "no window"},
		{`"field":"n","window":"w"`, `"field":"m","window":"w"`, "no window"},
		{`"size_ns":3600000000000`, `"size_ns":0`, "no size"},
		{`"size_ns":3600000000000`, `"size_ns":3600000000000,"hop_ns":-1`, "no size"},
		{`"grace_ns":60000000000`, `"grace_ns":-1`, "no size"},
		{`"aggregates":[`, `"aggregates":[],"a":[`, "too many aggregates"},
		{`"func":"count","arg":-1`, `"func":"count","arg":-2`, "the aggregate"},
		{`"func":"count","arg":-1`, `"func":"counts","arg":-1`, "the aggregate"},
		{`"func":"count","arg":-1`, `"func":"mean","arg":-1`, "the aggregate"},
		{`"func":"count","arg":-1`, `"func":"count","arg":9`, "the aggregate"},
		{`"func":"count","arg":-1,"k":1`, `"func":"count","arg":-1,"k":2`, "the aggregate"},
		{`"k":1,"p":0.9`, `"k":1,"p":1.1`, "the aggregate"},
		{`"k":2,"p":0`, `"k":101,"p":0`, "the aggregate"},
		{`"k":2,"p":0`, `"k":0,"p":0`, "the aggregate"},
		{`"k":2,"p":0`, `"k":2,"p":0.5`, "the aggregate"},
		{`{"name":"p","func"`, `{"name":"n","func"`, "no window"},
		{`"program":[`, `"program":[{"op":"call"},`, "no instruction"},
	} {
		i := strings.Index(good, c.old)
		if i < 0 {
			t.Errorf("the plan has no %s", c.old)
			continue
		}
		bad := good[:i] + c.with + good[i+len(c.old):]
		if _, err := ReadPlan([]byte(bad)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %s: %v, want %s", c.with, c.old, err, c.want)
		}
	}
	if t.Failed() {
		t.Log(good)
	}
}

// TestReadPlanRefusesWindowsOf refuses windows that are made of what is not of the record, or of the wrong type.
func TestReadPlanRefusesWindowsOf(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(p *program, w *window){
		"a key that is no text":       func(p *program, w *window) { w.key = p.of(opLessNumber) },
		"a key of a table":            func(p *program, w *window) { w.key = p.of(opCellText) },
		"a key that is not there":     func(_ *program, w *window) { w.key = -1 },
		"a condition that is no bool": func(_ *program, w *window) { w.where = w.key },
		"a condition below":           func(_ *program, w *window) { w.where = -2 },
		"an argument of a table":      func(p *program, w *window) { w.args[0] = p.of(opCellNumber) },
		"an argument of a window":     func(p *program, w *window) { w.args[0] = p.of(opWindow) },
		"an argument that is a bool":  func(p *program, w *window) { w.args[1] = p.of(opLessNumber) },
		"an argument too many":        func(_ *program, w *window) { w.args = append(w.args, w.args[0]) },
	} {
		p := enrichedPlan(t)
		change(p.prog, &p.prog.windows[0])
		if _, err := ReadPlan(encoded(t, p)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	p := enrichedPlan(t)
	for i := range p.prog.values {
		if v := &p.prog.values[i]; v.op == opWeight {
			v.args[1] = p.prog.of(opCellNumber)
		}
	}
	if _, err := ReadPlan(encoded(t, p)); err == nil || !strings.Contains(err.Error(), "no literal") {
		t.Errorf("a weight of a code that is computed: %v", err)
	}
}

// of returns the first value of an instruction.
func (p *program) of(op opcode) int32 {
	for i := range p.values {
		if p.values[i].op == op {
			return int32(i)
		}
	}
	panic("the program has none")
}
