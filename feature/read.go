package feature

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"

	"millrace.dev/record"
)

var errNotCanonical = errors.New("feature: read plan: the bytes are not those of a plan: something is unknown, superfluous, missing or out of place")

// ReadPlan reads what [Plan.MarshalBinary] wrote. It needs no parser, trusts nothing in b, and takes no bytes
// that it would not write itself. The functions are those of the program that the plan may call, as in
// [Declaration.Functions]; if one is missing, or is of another version or of other types, the error matches [ErrFunction].
func ReadPlan(b []byte, functions ...Function) (*Plan, error) {
	if err := checkFunctions(functions); err != nil {
		return nil, err
	}
	if len(b) > maxPlanBytes {
		return nil, fmt.Errorf("feature: read plan: %d bytes: at most %d", len(b), maxPlanBytes)
	}
	var j planJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return nil, fmt.Errorf("feature: read plan: %w", err)
	}
	if j.Version != planVersion {
		return nil, fmt.Errorf("feature: read plan: version %d: this millrace reads version %d", j.Version, planVersion)
	}
	p, err := j.plan(slices.Clone(functions))
	if err != nil {
		return nil, fmt.Errorf("feature: read plan: %w", err)
	}
	if !bytes.Equal(p.encode(true), b) {
		return nil, errNotCanonical
	}
	return p, nil
}

func (j *planJSON) plan(functions []Function) (*Plan, error) {
	p := &Plan{prog: &program{zones: map[string]*zone{}}, given: functions}
	fields, err := decodeList[record.Field](j.Schema, record.MaxFields)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	if p.schema, err = record.NewSchema(fields...); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	if p.source, err = decodeList[Spec](j.Source, maxFeatures); err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	if err := p.readTables(j.Tables); err != nil {
		return nil, fmt.Errorf("tables: %w", err)
	}
	if err := p.readWindows(j.Windows); err != nil {
		return nil, fmt.Errorf("windows: %w", err)
	}
	if err := p.readZones(j.Zones); err != nil {
		return nil, fmt.Errorf("zones: %w", err)
	}
	if err := p.readProgram(j.Program); err != nil {
		return nil, fmt.Errorf("program: %w", err)
	}
	if err := p.readInputs(j.Inputs); err != nil {
		return nil, fmt.Errorf("inputs: %w", err)
	}
	if err := p.checkUse(); err != nil {
		return nil, fmt.Errorf("program: %w", err)
	}
	if err := p.readSeeds(j.Seeds); err != nil {
		return nil, fmt.Errorf("seeds: %w", err)
	}
	if p.layout, err = newLayout(p.schema, p.prog, map[string]*regexp.Regexp{}); err != nil {
		return nil, fmt.Errorf("program: %w", err)
	}
	return p, nil
}

// decodeList decodes a list of at most most elements, and stops at one more.
func decodeList[T any](raw json.RawMessage, most int) ([]T, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, errors.New("not a list")
	}
	var out []T
	for d.More() {
		if len(out) == most {
			return nil, fmt.Errorf("more than %d elements", most)
		}
		var e T
		if err := d.Decode(&e); err != nil {
			return nil, fmt.Errorf("element %d: %w", len(out), err)
		}
		out = append(out, e)
	}
	return out, nil
}

func (p *Plan) readZones(raw json.RawMessage) error {
	list, err := decodeList[zoneJSON](raw, 1000)
	if err != nil {
		return err
	}
	for _, j := range list {
		z := &zone{from: j.From, offset: j.Offset}
		if err := z.validate(); err != nil {
			return err
		}
		p.prog.zones[j.Name] = z
	}
	return nil
}

func (p *Plan) readProgram(raw json.RawMessage) error {
	list, err := decodeList[valueJSON](raw, maxProgram)
	if err != nil {
		return err
	}
	table := newOpTable()
	p.prog.values = make([]value, 0, len(list))
	patterns := map[string]bool{}
	for i := range list {
		v, err := p.readValue(table, &list[i])
		if err != nil {
			return fmt.Errorf("value %d: %w", i, err)
		}
		if list[i].Pattern != nil {
			if patterns[v.pattern] = true; len(patterns) > maxPatterns {
				return fmt.Errorf("more than %d regular expressions", maxPatterns)
			}
		}
		p.prog.values = append(p.prog.values, v)
	}
	return nil
}

// readValue checks one instruction; those before it are in the program.
func (p *Plan) readValue(table *opTable, j *valueJSON) (value, error) {
	v := value{args: slices.Clone(j.Args)}
	if len(j.Args) > maxArguments {
		return v, fmt.Errorf("%d arguments", len(j.Args))
	}
	letters := make([]byte, len(j.Args))
	for i, a := range j.Args {
		if a < 0 || int(a) >= len(p.prog.values) {
			return v, fmt.Errorf("argument %d is not a value before it", a)
		}
		letters[i] = p.prog.values[a].kind.letter()
	}
	if j.Op == opUserName {
		return v, p.readUser(&v, string(letters), j.Function)
	}
	if v.op = table.find(j.Op, string(letters)); v.op == opNone {
		return v, fmt.Errorf("no instruction %q takes (%s)", j.Op, letters)
	}
	if v.op == opWeight && !p.prog.values[j.Args[1]].isCode() {
		return v, errors.New("the code of a weight is no literal")
	}
	v.kind = table[v.op].result
	return v, v.readLiteral(p, table[v.op].lit, j)
}

// isCode tells whether v is the literal code of a label, or that of none.
func (v *value) isCode() bool {
	c := v.lit.number
	return v.op == opNumber && !v.lit.missing && c >= notSeen && c <= maxLevels && c == math.Trunc(c)
}

func (v *value) readLiteral(p *Plan, lit int, j *valueJSON) error {
	switch lit {
	case litField:
		i, ok := p.schema.Index(j.Field)
		if !ok {
			return fmt.Errorf("no field %q", j.Field)
		}
		v.field, v.kind = i, fieldKind(p.schema.Field(i).Type)
	case litConst:
		return v.readConst(j)
	case litPattern, litGroup:
		if j.Pattern == nil || lit == litGroup && (j.Group == nil || *j.Group < 0) {
			return errors.New("no regular expression, or no group")
		}
		if v.pattern = *j.Pattern; lit == litGroup {
			v.group = *j.Group
		}
	case litZone:
		if v.zone = j.Zone; j.Zone != "" && p.prog.zones[j.Zone] == nil {
			return fmt.Errorf("no zone %q", j.Zone)
		}
	case litList:
		v.numbers, v.texts, v.times = j.Numbers, j.Texts, j.Times
		return v.checkList()
	default:
		return v.readFitted(p, lit, j)
	}
	return nil
}

// readFitted reads what a fitted function has become, and what comes from tables and windows.
func (v *value) readFitted(p *Plan, lit int, j *valueJSON) error {
	switch lit {
	case litLevels:
		if v.texts = j.Texts; j.Group == nil || *j.Group < 0 || *j.Group > maxInputs {
			return errors.New("no buckets, or too many")
		}
		v.group = *j.Group
		return checkLevels(v.texts, maxLevels)
	case litNumbers, litRange:
		v.numbers, v.owner = j.Numbers, j.Owner
		return v.checkNumbers()
	case litOwner:
		v.owner = j.Owner
	case litTokens:
		if v.texts, v.owner = j.Texts, j.Owner; j.Tokens == nil {
			return errors.New("no tokens")
		}
		v.tokens = *j.Tokens
		if err := v.checkTokens(); err != nil {
			return err
		}
		return checkLevels(v.texts, maxLevels)
	case litTable:
		if v.table = slices.IndexFunc(p.prog.tables, func(t Table) bool { return t.Name == j.Table }); v.table < 0 {
			return fmt.Errorf("no table %q", j.Table)
		}
	case litCell:
		return v.readCell(p, j)
	case litWindow:
		return v.readWindow(p, j)
	case litCall:
		return errNotFitted
	}
	return nil
}

func (v *value) readCell(p *Plan, j *valueJSON) error {
	v.table = p.prog.values[v.args[0]].table
	s := p.prog.tables[v.table].Schema
	i, ok := s.Index(j.Field)
	if !ok || fieldKind(s.Field(i).Type) != v.kind {
		return fmt.Errorf("the table has no column %q of this type", j.Field)
	}
	v.field = i
	return nil
}

func (v *value) readWindow(p *Plan, j *valueJSON) error {
	for i := range p.prog.windows {
		if w := &p.prog.windows[i]; w.Name == j.Window {
			v.window, v.value = i, slices.IndexFunc(w.aggregates, func(a Aggregate) bool { return a.Name == j.Field })
			if v.value >= 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("no window %q with an aggregate %q", j.Window, j.Field)
}

// checkNumbers tells whether the numbers of an instruction are what it needs.
func (v *value) checkNumbers() error {
	n := len(v.numbers)
	ok := n > 0 && n <= 2*maxLevels
	switch v.op {
	case opBucket:
		ok = ok && n >= 2 && ascending(v.numbers)
	case opWithin:
		ok = n == 2 && v.numbers[0] <= v.numbers[1]
	default:
	}
	if !ok {
		return errors.New("the numbers are too few or too many, or do not ascend")
	}
	return nil
}

func (v *value) checkTokens() error {
	t := &v.tokens
	ok := t.Sep != ""
	switch v.op {
	case opHashTokens:
		ok = ok && t.Size >= 1 && t.Size <= maxInputs && t.Low == 0 && t.High == 0 && len(v.texts) == 0
	case opGrams:
		ok = ok && t.Weight == "" && t.Low >= 1 && t.Low <= maxGram && t.High <= maxGram && (t.High >= t.Low || t.High == -1) && t.Size == 0
	default:
		ok = ok && t.Low == 0 && t.High == 0 && t.Size == 0
	}
	if !ok {
		return errors.New("a text cannot be taken apart like this")
	}
	return nil
}

func (v *value) readConst(j *valueJSON) error {
	switch {
	case v.op == opNumber && j.Number != nil:
		v.lit.number = *j.Number
	case v.op == opBool && j.Bool != nil:
		v.lit.flag = *j.Bool
	case v.op == opText && j.Text != nil:
		v.lit.text = *j.Text
	case v.op == opTime && j.Time != nil:
		if v.lit.time = *j.Time; v.lit.time == math.MinInt64 {
			return errors.New("this time is the missing one")
		}
	default:
		v.lit.missing = true
	}
	return nil
}

// checkList tells whether the list of an "in" has elements of one type, sorted, each once.
func (v *value) checkList() error {
	n, ok := len(v.numbers), ascending(v.numbers) && len(v.texts)+len(v.times) == 0
	switch v.op {
	case opInText:
		n, ok = len(v.texts), ascending(v.texts) && len(v.numbers)+len(v.times) == 0
	case opInTime:
		n, ok = len(v.times), ascending(v.times) && len(v.numbers)+len(v.texts) == 0
	default:
	}
	if !ok || n == 0 || n > maxList {
		return errors.New("the list must be sorted, of the right type, and not empty")
	}
	return nil
}

func ascending[T float64 | string | int64](list []T) bool {
	for i := range list {
		if i > 0 && list[i-1] >= list[i] { // no number here is a NaN
			return false
		}
	}
	return true
}

func (p *Plan) readInputs(raw json.RawMessage) error {
	list, err := decodeList[inputJSON](raw, maxInputs)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	p.inputs = make([]input, len(list))
	for k, j := range list {
		if j.Value < 0 || int(j.Value) >= len(p.prog.values) {
			return fmt.Errorf("%q: no value %d", j.Name, j.Value)
		}
		kind := p.prog.values[j.Value].kind
		p.inputs[k] = input{name: j.Name, kind: kind}
		p.prog.results = append(p.prog.results, j.Value)
		if j.Name == "" || seen[j.Name] || !kind.isInput() || kind != kindText && j.Levels != nil {
			return fmt.Errorf("%q: no name, a name that comes twice, a time, or a number with levels", j.Name)
		}
		seen[j.Name] = true
		if j.Levels != nil {
			if err := checkLevels(j.Levels, maxLevels); err != nil {
				return fmt.Errorf("%q: %w", j.Name, err)
			}
			p.setLevels(k, j.Levels)
		}
	}
	return nil
}

// checkUse tells whether every value and zone is needed.
func (p *Plan) checkUse() error {
	if err := p.checkWindows(); err != nil {
		return err
	}
	used, zones := make([]bool, len(p.prog.values)), map[string]bool{}
	tables, windows := make([]bool, len(p.prog.tables)), make([]bool, len(p.prog.windows))
	for _, r := range p.prog.roots() {
		used[r] = true
	}
	for i := len(used) - 1; i >= 0; i-- {
		if !used[i] {
			return fmt.Errorf("nothing needs value %d", i)
		}
		v := &p.prog.values[i]
		for _, a := range v.arguments() {
			used[a] = true
		}
		switch v.op {
		case opRow:
			tables[v.table] = true
		case opWindow:
			windows[v.window] = true
		default:
		}
		if v.zone != "" {
			zones[v.zone] = true
		}
	}
	if len(zones) != len(p.prog.zones) || slices.Contains(tables, false) || slices.Contains(windows, false) {
		return errors.New("nothing needs one of the zones, tables or windows")
	}
	return nil
}

func (p *Plan) readSeeds(raw json.RawMessage) error {
	list, err := decodeList[seedJSON](raw, record.MaxFields)
	if err != nil {
		return err
	}
	direct, read, last := p.directFields(), p.prog.fields(p.prog.live(p.prog.results)), -1
	for _, j := range list {
		f, ok := p.schema.Index(j.Field)
		if _, needed := slices.BinarySearch(read, f); !ok || !needed || direct[f] || f <= last || p.schema.Field(f).Type != record.Enum {
			return fmt.Errorf("field %q", j.Field)
		}
		if err := checkLevels(j.Levels, maxSeeds); err != nil {
			return fmt.Errorf("field %q: %w", j.Field, err)
		}
		p.seeds, last = append(p.seeds, seed{f, j.Levels}), f
	}
	return nil
}
