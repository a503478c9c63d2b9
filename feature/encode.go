package feature

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"

	"millrace.dev/record"
)

const planVersion = 1

// planJSON is an encoded plan. The order of the fields is that of the bytes.
type planJSON struct {
	Version int             `json:"feature_plan"`
	Source  json.RawMessage `json:"source,omitempty"`
	Schema  json.RawMessage `json:"schema"`
	Zones   json.RawMessage `json:"zones,omitempty"`
	Program json.RawMessage `json:"program"`
	Inputs  json.RawMessage `json:"inputs"`
	Seeds   json.RawMessage `json:"seeds,omitempty"`
}

type valueJSON struct {
	Op      string    `json:"op"`
	Args    []int32   `json:"args,omitempty"`
	Field   string    `json:"field,omitempty"`
	Number  *float64  `json:"number,omitempty"`
	Bool    *bool     `json:"bool,omitempty"`
	Text    *string   `json:"text,omitempty"`
	Time    *int64    `json:"time,omitempty"` // microseconds since 1970; a literal without a value is missing
	Pattern *string   `json:"pattern,omitempty"`
	Group   *int      `json:"group,omitempty"`
	Zone    string    `json:"zone,omitempty"`
	Numbers []float64 `json:"numbers,omitempty"`
	Texts   []string  `json:"texts,omitempty"`
	Times   []int64   `json:"times,omitempty"`
}

type inputJSON struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Value  int32    `json:"value"`
	Levels []string `json:"levels,omitzero"`
}

type seedJSON struct {
	Field  string   `json:"field"`
	Levels []string `json:"levels"`
}

type zoneJSON struct {
	Name   string  `json:"name"`
	From   []int64 `json:"from"`
	Offset []int64 `json:"offset"`
}

// MarshalBinary returns the plan as JSON: the features as they were declared, the schema, the program with one
// instruction a line, and the inputs with their levels. The bytes are canonical: equal plans have equal bytes,
// on every machine, and [ReadPlan] takes no others. It is an error if they would be longer than 32 MiB.
func (p *Plan) MarshalBinary() ([]byte, error) {
	b := p.encode(true)
	if len(b) > maxPlanBytes {
		return nil, fmt.Errorf("feature: the plan has %d bytes, at most %d can be stored: ignore enum columns of many levels", len(b), maxPlanBytes)
	}
	return b, nil
}

// Digest returns "sha256:" and the SHA-256 of the plan without its source, in hexadecimal. Plans of one digest
// compute the same; white space, comments, brackets that change nothing, the order of declarations and features
// that no input needs leave it as it is.
func (p *Plan) Digest() string {
	sum := sha256.Sum256(p.encode(false))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (p *Plan) encode(withSource bool) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"feature_plan\":%d,\n", planVersion)
	if withSource && len(p.source) > 0 {
		encodeList(&b, "source", len(p.source), func(i int) any { return p.source[i] })
	}
	b.WriteString(`"schema":`)
	b.Write(encodeJSON(p.schema))
	b.WriteString(",\n")
	if names := zoneNames(p.prog.zones); len(names) > 0 {
		encodeList(&b, "zones", len(names), func(i int) any {
			z := p.prog.zones[names[i]]
			return zoneJSON{names[i], z.from, z.offset}
		})
	}
	table := newOpTable()
	encodeList(&b, "program", len(p.prog.values), func(i int) any { return p.prog.values[i].json(table, p.schema) })
	encodeList(&b, "inputs", len(p.inputs), func(i int) any {
		in := &p.inputs[i]
		return inputJSON{in.name, in.kind.inputType(), p.prog.results[i], in.levels}
	})
	if len(p.seeds) > 0 {
		encodeList(&b, "seeds", len(p.seeds), func(i int) any {
			return seedJSON{p.schema.Field(p.seeds[i].field).Name, p.seeds[i].levels}
		})
	}
	b.Truncate(b.Len() - len(",\n"))
	b.WriteString("}\n")
	return b.Bytes()
}

func (k kind) inputType() string {
	if k == kindText {
		return record.Enum.String()
	}
	return record.Numeric.String()
}

func zoneNames(zones map[string]*zone) []string {
	names := make([]string, 0, len(zones))
	for n := range zones {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// encodeList writes a member whose value is a list, one element a line, and a comma.
func encodeList(b *bytes.Buffer, name string, n int, element func(int) any) {
	fmt.Fprintf(b, "%q:[", name)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(encodeJSON(element(i)))
	}
	b.WriteString("],\n")
}

// encodeJSON encodes what cannot fail to be encoded.
func encodeJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("feature: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// encodeValue returns v as the program's JSON has it. Without a schema a field is written as its number.
func encodeValue(t *opTable, s *record.Schema, v *value) []byte { return encodeJSON(v.json(t, s)) }

func (v *value) json(t *opTable, s *record.Schema) valueJSON {
	j := valueJSON{Op: t[v.op].name, Args: v.arguments()}
	switch t[v.op].lit {
	case litField:
		j.Field = strconv.Itoa(v.field)
		if s != nil {
			j.Field = s.Field(v.field).Name
		}
	case litConst:
		v.literalJSON(&j)
	case litPattern:
		j.Pattern = &v.pattern
	case litGroup:
		j.Pattern, j.Group = &v.pattern, &v.group
	case litZone:
		j.Zone = v.zone
	case litList:
		j.Numbers, j.Texts, j.Times = v.numbers, v.texts, v.times
	}
	return j
}

func (v *value) literalJSON(j *valueJSON) {
	switch lit := &v.lit; {
	case lit.missing:
	case v.op == opNumber:
		j.Number = &lit.number
	case v.op == opBool:
		j.Bool = &lit.flag
	case v.op == opText:
		j.Text = &lit.text
	default:
		j.Time = &lit.time
	}
}

var errNotCanonical = errors.New("feature: read plan: the bytes are not those of a plan: something is unknown, superfluous, missing or out of place")

// ReadPlan reads what [Plan.MarshalBinary] wrote. It needs no parser, trusts nothing in b, and takes no bytes
// that it would not write itself.
func ReadPlan(b []byte) (*Plan, error) {
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
	p, err := j.plan()
	if err != nil {
		return nil, fmt.Errorf("feature: read plan: %w", err)
	}
	if !bytes.Equal(p.encode(true), b) {
		return nil, errNotCanonical
	}
	return p, nil
}

func (j *planJSON) plan() (*Plan, error) {
	p := &Plan{prog: &program{zones: map[string]*zone{}}}
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
	v := value{n: len(j.Args)}
	if len(j.Args) > len(v.args) {
		return v, fmt.Errorf("%d arguments", len(j.Args))
	}
	letters := make([]byte, len(j.Args))
	for i, a := range j.Args {
		if a < 0 || int(a) >= len(p.prog.values) {
			return v, fmt.Errorf("argument %d is not a value before it", a)
		}
		v.args[i], letters[i] = a, p.prog.values[a].kind.letter()
	}
	if v.op = table.find(j.Op, string(letters)); v.op == opNone {
		return v, fmt.Errorf("no instruction %q takes (%s)", j.Op, letters)
	}
	v.kind = table[v.op].result
	return v, v.readLiteral(p, table[v.op].lit, j)
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
		if j.Name == "" || seen[j.Name] || kind == kindTime || kind != kindText && j.Levels != nil {
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
	used, zones := make([]bool, len(p.prog.values)), map[string]bool{}
	for _, r := range p.prog.results {
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
		if v.zone != "" {
			zones[v.zone] = true
		}
	}
	if len(zones) != len(p.prog.zones) {
		return errors.New("nothing needs one of the zones")
	}
	return nil
}

func (p *Plan) readSeeds(raw json.RawMessage) error {
	list, err := decodeList[seedJSON](raw, record.MaxFields)
	if err != nil {
		return err
	}
	direct, read, last := p.directFields(), p.prog.fields(), -1
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
