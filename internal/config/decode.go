package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/spell"
)

// value is a value of the file, typed by its field. Which parts are set follows from the field's kind.
type value struct {
	node    *node
	text    string
	integer int64
	number  float64
	yes     bool
	time    time.Duration
	list    []value
	names   []string // the keys of a kindNamed mapping, in order, for the values in list
	fields  map[string]value
}

func (v *value) texts() []string {
	out := make([]string, len(v.list))
	for i := range v.list {
		out[i] = v.list[i].text
	}
	return out
}

// decoder makes a Pipeline of nodes, and collects what is wrong.
type decoder struct {
	p    *Pipeline
	ps   *problemList
	env  func(string) (string, bool)
	dir  string
	root *node
	at   map[string]*node // the value of each path of keys that is set: train.label, train.ignore[2]
	keys map[string]*node // its key
	// failed holds the paths whose values are wrong, as far as another check could stumble over them.
	failed map[string]bool
	// columns are the fields of the schema in order, with their places.
	columns []column
	ruleAt  map[string]string // the path of each rule of checks.record, by its name
	label   int               // the label's position in columns, or -1
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// report adds a problem at a node.
func (d *decoder) report(n *node, message, hint string) {
	d.ps.add(n.src, n.start, n.end(), message, hint)
}

// reportAt adds a problem at the value of path, or, where that is a default, at the innermost key around it that is
// there.
func (d *decoder) reportAt(path, message, hint string) {
	if n := d.at[path]; n != nil && n.kind != mappingNode {
		d.report(n, message, hint)
		return
	}
	d.reportKey(path, message, hint)
}

// reportKey adds a problem at the innermost key of path that is there.
func (d *decoder) reportKey(path, message, hint string) {
	for i := len(path); i > 0; i = strings.LastIndexByte(path[:i], '.') {
		if n := d.keys[path[:i]]; n != nil {
			d.report(n, message, hint)
			return
		}
	}
	d.ps.add(d.root.src, d.root.start, d.root.end(), message, hint)
}

// fields decodes the mapping n, nil for one that is not there, as one with the given fields, and returns their
// values; it also gives them to the Pipeline.
func (d *decoder) fields(n *node, path string, fields []field) map[string]value {
	values := make(map[string]value, len(fields))
	if n != nil {
		if n.kind == scalarNode && n.null {
			n = &node{kind: mappingNode, src: n.src, start: n.start}
		}
		if n.kind == mappingNode {
			d.unknownKeys(n, path, fields)
		} else {
			d.report(n, fmt.Sprintf("%s is a mapping of keys to values, and this is %s", path, n.kind), keysHint(fields))
			d.failed[path] = true
			n = nil
		}
	}
	for i := range fields {
		f := &fields[i]
		at := join(path, f.key)
		var p *pair
		if n != nil {
			p = n.get(f.key)
		}
		v, ok := d.field(p, at, f)
		if p == nil && n != nil && f.required {
			hint := strings.ToLower(f.doc[:1]) + f.doc[1:]
			if f.example != "" {
				hint += ", such as " + f.key + ": " + f.example
			}
			d.reportKey(path, at+" is missing", hint)
		}
		if ok {
			values[f.key] = v
			if f.set != nil {
				f.set(d.p, v)
			}
		}
	}
	return values
}

// field decodes the value of f, or its default where p is nil; ok tells whether there is one.
func (d *decoder) field(p *pair, path string, f *field) (v value, ok bool) {
	if p != nil {
		d.keys[path], d.at[path] = p.key, p.value
		if f.secret {
			p.value.src.mask(p.value.start)
		}
		if f.kind != kindMapping && f.kind != kindNamed && f.kind != kindAny && p.value.kind == scalarNode {
			if !d.expand(p.value) {
				return v, false
			}
			switch v := p.value; {
			case v.null && len(v.segments) > 0 && !f.required: // variables without a value: as if the key were not there
				p = nil
				delete(d.at, path)
			case v.null:
				d.report(p.key, path+" has no value", "give it one, or leave the key out")
				return value{}, false
			}
		}
	}
	switch {
	case f.kind == kindMapping:
		var n *node
		if p != nil {
			n = p.value
		}
		return value{node: n, fields: d.fields(n, path, f.fields)}, true
	case p != nil:
		if v, ok := d.value(p.value, path, f); ok {
			return v, true
		}
		d.failed[path] = true
	}
	if f.def == "" {
		return v, false
	}
	// The default also stands in for a value that is wrong, so that no later check reports it again.
	return d.value(&node{src: &source{name: "default", text: f.def, starts: []int{0}}, yaml: f.def, typed: true}, path, f)
}

// unknownKeys reports the keys of n that no field has.
func (d *decoder) unknownKeys(n *node, path string, fields []field) {
	for _, p := range n.pairs {
		key := p.key.yaml
		if d.ps.full {
			return
		}
		if slices.ContainsFunc(fields, func(f field) bool { return f.key == key }) {
			continue
		}
		if slices.ContainsFunc(fields, func(f field) bool { return f.secret }) {
			p.value.src.mask(p.value.start) // it may be a misspelt password
		}
		where := "a pipeline file"
		if path != "" {
			where = path
		}
		hint := keysHint(fields)
		if best := spell.Nearest(key, fieldKeys(fields)); best != "" {
			hint = fmt.Sprintf("did you mean %s?", quote(best))
		} else if other := elsewhere(key, "", pipelineFields()); other != "" {
			hint = fmt.Sprintf("did you mean %s?", other)
		}
		d.report(p.key, fmt.Sprintf("%s has no key %s", where, quote(key)), hint)
	}
}

func fieldKeys(fields []field) []string {
	keys := make([]string, len(fields))
	for i := range fields {
		keys[i] = fields[i].key
	}
	return keys
}

func keysHint(fields []field) string { return "its keys are " + strings.Join(fieldKeys(fields), ", ") }

// value decodes n as a value of f.
func (d *decoder) value(n *node, path string, f *field) (value, bool) {
	switch f.kind {
	case kindList:
		return d.list(n, path, f)
	case kindNamed:
		return d.named(n, path, f)
	case kindAny:
		return value{node: n}, true
	default:
	}
	v := value{node: n}
	if n.kind != scalarNode {
		d.report(n, fmt.Sprintf("%s is %s, and this is %s", path, f.kind, n.kind), "")
		return v, false
	}
	if !d.expand(n) {
		return v, false
	}
	if n.null {
		d.report(n, path+" has no value", "")
		return v, false
	}
	if n.text == "" {
		d.report(n, path+" is empty", "")
		return v, false
	}
	v.text = n.text
	if f.secret && !n.onlyVariable() {
		d.report(n, path+" stands in the file", "keep secrets out of it: name a variable, ${NAME}, without a default")
		return v, false
	}
	if ft := f.scalar(&v); ft != nil {
		if len(n.segments) > 0 {
			ft.hint = "" // it may be made of a variable's value
		}
		d.report(n, path+": "+ft.message+", not "+n.shown(), ft.hint)
		return v, false
	}
	switch f.kind {
	case kindPath:
		v.text = d.path(v.text)
	case kindData:
		v.text = d.data(v.text)
	case kindRegistry:
		return d.registry(n, path, v)
	default:
	}
	return v, true
}

// onlyVariable tells whether the scalar is one reference to a variable, without a default.
func (n *node) onlyVariable() bool {
	return len(n.segments) == 1 && n.segments[0].in == 0 && n.segments[0].inEnd == len(n.yaml) &&
		strings.HasPrefix(n.yaml, "${") && !strings.Contains(n.yaml, ":-")
}

// scalar reads v.text as a value of f, and returns what is wrong with it.
func (f *field) scalar(v *value) *fault {
	if len(f.allowed) > 0 && !slices.Contains(f.allowed, v.text) {
		ft := &fault{message: "want " + alternatives(f.allowed)}
		if best := spell.Nearest(v.text, f.allowed); best != "" {
			ft.hint = fmt.Sprintf("did you mean %s?", quote(best))
		}
		return ft
	}
	switch f.kind {
	case kindInteger:
		x, err := strconv.ParseInt(v.text, 10, 64)
		if err != nil || f.bounded && (float64(x) < f.least || float64(x) > f.most) {
			return &fault{message: "want " + f.wanted()}
		}
		v.integer = x
	case kindNumber:
		x, err := strconv.ParseFloat(v.text, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) || strings.ContainsAny(v.text, "xXpP_") || f.bounded && (x < f.least || x > f.most) {
			return &fault{message: "want " + f.wanted()}
		}
		v.number = x
	case kindShare:
		x, ok := parseShare(v.text)
		if !ok || x < f.least || x > f.most {
			return &fault{message: "want " + f.wanted(), hint: "such as 0.05 or 5%"}
		}
		v.number = x
	case kindBool:
		if v.text != "true" && v.text != "false" {
			return &fault{message: "want true or false"}
		}
		v.yes = v.text == "true"
	case kindDuration:
		x, err := parseDuration(v.text)
		if err != nil || x < time.Duration(f.least) || x > time.Duration(f.most) {
			return &fault{message: "want " + f.wanted(), hint: "write a number with its unit, such as 100ms or 2s"}
		}
		v.time = x
	default:
	}
	if f.check != nil {
		return f.check(v.text)
	}
	return nil
}

// list decodes a list. A scalar is a list of one, or, where the field allows it or for an override, of texts with
// commas between.
func (d *decoder) list(n *node, path string, f *field) (value, bool) {
	v := value{node: n}
	items := n.items
	if n.kind == scalarNode && !d.expand(n) {
		return v, false
	}
	switch {
	case n.kind == mappingNode:
		d.report(n, fmt.Sprintf("%s is a list, and this is %s", path, n.kind), "write [a, b], or one line for each item, with a dash before it")
		return v, false
	case n.kind == scalarNode && (f.commas || n.typed):
		for at, w := range wordSpans(n.text) {
			start, _ := n.place(at, len(w))
			item := &node{src: n.src, start: start, yaml: w, text: w, done: true, typed: true}
			if len(n.segments) > 0 {
				item.yaml = n.yaml // a message shows no variable's value
			}
			items = append(items, item)
		}
	case n.kind == scalarNode:
		d.report(n, path+" is a list, and this is a single value", "write [ ] around it")
		return v, false
	}
	if len(items) > maxItems {
		d.report(n, fmt.Sprintf("%s has %d items, and at most %d are possible", path, len(items), maxItems), "")
		return v, false
	}
	ok := true
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.at[at] = item
		x, fine := d.item(item, at, f.item)
		if fine {
			v.list = append(v.list, x)
		}
		ok = ok && fine
	}
	if len(items) == 0 && f.least > 0 {
		d.report(n, path+" is empty", "")
		ok = false
	}
	return v, ok || len(v.list) > 0
}

// item decodes an item of a list. A scalar where a mapping is wanted is the value of the mapping's first field, unless the
// mapping has to be whole.
func (d *decoder) item(n *node, path string, f *field) (value, bool) {
	if f.kind != kindMapping {
		return d.value(n, path, f)
	}
	if n.kind == scalarNode && !f.whole {
		x, ok := d.value(n, path, &f.fields[0])
		return value{node: n, fields: map[string]value{f.fields[0].key: x}}, ok
	}
	d.keys[path] = n
	v := value{node: n, fields: d.fields(n, path, f.fields)}
	_, ok := v.fields[f.fields[0].key] // with it, the item can be known to later checks, whatever else is wrong
	return v, ok
}

// named decodes a mapping whose keys are names that the user chooses.
func (d *decoder) named(n *node, path string, f *field) (value, bool) {
	v := value{node: n}
	if n.kind == scalarNode && n.null {
		return v, true
	}
	if n.kind != mappingNode {
		d.report(n, fmt.Sprintf("%s is a mapping of names to values, and this is %s", path, n.kind), "")
		return v, false
	}
	if len(n.pairs) > maxItems {
		d.report(n, fmt.Sprintf("%s has %d names, and at most %d are possible", path, len(n.pairs), maxItems), "")
		return v, false
	}
	for _, p := range n.pairs {
		at := join(path, p.key.yaml)
		d.keys[at], d.at[at] = p.key, p.value
		if f.item.kind == kindMapping {
			v.names = append(v.names, p.key.yaml)
			v.list = append(v.list, value{node: p.value, fields: d.fields(p.value, at, f.item.fields)})
			continue
		}
		if x, ok := d.value(p.value, at, f.item); ok {
			v.names = append(v.names, p.key.yaml)
			v.list = append(v.list, x)
		}
	}
	return v, true
}

// wordSpans yields the words of a list with commas, each with its offset.
func wordSpans(s string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		at := 0
		for part := range strings.SplitSeq(s, ",") {
			w := strings.TrimSpace(part)
			if w != "" && !yield(at+strings.Index(part, w), w) {
				return
			}
			at += len(part) + 1
		}
	}
}

func alternatives(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}
