package feature

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"millrace.dev/record"
)

const planVersion = 1

// planJSON is an encoded plan. The order of the fields is that of the bytes.
type planJSON struct {
	Version int             `json:"feature_plan"`
	Source  json.RawMessage `json:"source,omitempty"`
	Schema  json.RawMessage `json:"schema"`
	Tables  json.RawMessage `json:"tables,omitempty"`
	Windows json.RawMessage `json:"windows,omitempty"`
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
	Tokens  *tokens   `json:"tokens,omitempty"`
	Owner   string    `json:"owner,omitempty"` // the feature that is counted for
	Table   string    `json:"table,omitempty"`
	Window  string    `json:"window,omitempty"`
	Call    *pending  `json:"call,omitempty"`

	Function *functionJSON `json:"function,omitempty"`
}

type tableJSON struct {
	Name   string         `json:"name"`
	Schema *record.Schema `json:"schema"`
}

type windowJSON struct {
	Name       string          `json:"name"`
	Key        int32           `json:"key"`
	Where      *int32          `json:"where,omitempty"`
	Args       []int32         `json:"args,omitempty"`
	Size       time.Duration   `json:"size_ns"`
	Hop        time.Duration   `json:"hop_ns,omitempty"`
	Grace      *time.Duration  `json:"grace_ns,omitempty"`
	Aggregates []aggregateJSON `json:"aggregates"`
}

type aggregateJSON struct {
	Name string  `json:"name"`
	Func string  `json:"func"`
	Arg  int     `json:"arg"`
	K    int     `json:"k"`
	P    float64 `json:"p"`
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
	if p.layout == nil {
		return nil, fmt.Errorf("feature: %w", errNotFitted)
	}
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
	if t := p.prog.tables; len(t) > 0 {
		encodeList(&b, "tables", len(t), func(i int) any { return tableJSON{t[i].Name, t[i].Schema} })
	}
	if w := p.prog.windows; len(w) > 0 {
		encodeList(&b, "windows", len(w), func(i int) any { return w[i].json() })
	}
	if names := zoneNames(p.prog.zones); len(names) > 0 {
		encodeList(&b, "zones", len(names), func(i int) any {
			z := p.prog.zones[names[i]]
			return zoneJSON{names[i], z.from, z.offset}
		})
	}
	table := newOpTable()
	encodeList(&b, "program", len(p.prog.values), func(i int) any { return p.prog.values[i].json(table, p.prog, p.schema) })
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

func (w *window) json() windowJSON {
	j := windowJSON{Name: w.Name, Key: w.key, Args: w.args, Size: w.Size, Hop: w.Hop}
	if w.where >= 0 {
		j.Where = &w.where
	}
	if w.GraceSet {
		j.Grace = &w.Grace
	}
	for _, a := range w.aggregates {
		j.Aggregates = append(j.Aggregates, aggregateJSON(a))
	}
	return j
}

// encodeValue returns v in a form that tells it from other values of a builder.
func encodeValue(t *opTable, v *value) []byte { return encodeJSON(v.json(t, nil, nil)) }

// json returns v as the JSON of p has it. Without a program fields, tables and windows are written as their numbers.
func (v *value) json(t *opTable, p *program, s *record.Schema) valueJSON {
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
	case litLevels:
		j.Texts, j.Group = v.texts, &v.group
	case litNumbers:
		j.Numbers = v.numbers
	case litOwner:
		j.Owner = v.owner
	case litRange:
		j.Numbers, j.Owner = v.numbers, v.owner
	case litTokens:
		j.Texts, j.Tokens, j.Owner = v.texts, &v.tokens, v.owner
	case litFunction:
		j.Function = v.function.json()
	case litCall:
		j.Call = v.call
	default:
		v.enrichJSON(&j, p)
	}
	return j
}

// enrichJSON writes what an instruction needs beside a batch.
func (v *value) enrichJSON(j *valueJSON, p *program) {
	lit := map[opcode]int{opRow: litTable, opWindow: litWindow, opCellNumber: litCell, opCellText: litCell, opCellTime: litCell}[v.op]
	switch {
	case lit == litTable && p != nil:
		j.Table = p.tables[v.table].Name
	case lit == litTable:
		j.Table = strconv.Itoa(v.table)
	case lit == litCell && p != nil:
		j.Field = p.tables[v.table].Schema.Field(v.field).Name
	case lit == litCell:
		j.Field = strconv.Itoa(v.field)
	case lit == litWindow && p != nil:
		w := &p.windows[v.window]
		j.Window, j.Field = w.Name, w.aggregates[v.value].Name
	case lit == litWindow:
		j.Window, j.Field = strconv.Itoa(v.window), strconv.Itoa(v.value)
	}
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
