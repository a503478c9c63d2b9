package api

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"millrace.dev/codec"
	"millrace.dev/internal/oip"
	"millrace.dev/internal/spell"
	"millrace.dev/record"
)

// question is what a request with tensors asks: records or rows of inputs, not both.
type question struct {
	rows    int
	records []record.Raw
	frame   *record.Frame
}

func tensorError(status int, format string, args ...any) error {
	return &refusal{status, fmt.Errorf(format, args...)}
}

// question tells by the names of the tensors what a request asks: whole records; a tensor for each field; or a tensor for
// each input of the model, where one of them is no field or the request says so. at is the time of the records, which have none of their own.
func (s *signature) question(r *oip.InferRequest, at int64) (*question, error) {
	if r.Raw != nil { // the only input that a model has whatever its fields are
		return &question{rows: 1, records: []record.Raw{{Value: r.Raw, Timestamp: at}}}, nil
	}
	if len(r.Inputs) == 0 {
		return nil, tensorError(http.StatusBadRequest, "the request has no inputs")
	}
	rows, err := s.shape(r.Inputs)
	if err != nil {
		return nil, err
	}
	q := &question{rows: rows}
	if s.isRecords(r.Inputs) {
		q.records, err = wholeRecords(&r.Inputs[0], at)
		return q, err
	}
	ready, _ := r.Parameters[oip.ParameterInputs].(bool)
	for i := range r.Inputs {
		if ready || s.feature[r.Inputs[i].Name] {
			q.frame, err = s.frame(r.Inputs, rows)
			return q, err
		}
	}
	q.records, err = s.records(r.Inputs, rows, at)
	return q, err
}

// shape returns the number of rows, which is that of all tensors, and wants each name once.
func (s *signature) shape(inputs []oip.Tensor) (int, error) {
	rows := inputs[0].Len()
	seen := make(map[string]struct{}, len(inputs))
	for i := range inputs {
		t := &inputs[i]
		if _, twice := seen[t.Name]; twice {
			return 0, tensorError(http.StatusBadRequest, "input %.64q comes twice", t.Name)
		}
		seen[t.Name] = struct{}{}
		if rank := len(t.Shape); rank != 1 && (rank != 2 || t.Shape[1] != 1) {
			return 0, tensorError(http.StatusBadRequest, "input %.64q: want the shape [rows] or [rows, 1]", t.Name)
		}
		if t.Len() != rows {
			return 0, tensorError(http.StatusBadRequest, "input %.64q has %d rows, and %.64q has %d", t.Name, t.Len(), inputs[0].Name, rows)
		}
	}
	return rows, nil
}

// isRecords tells whether the only tensor holds whole records: a model that knows its name otherwise is asked that.
func (s *signature) isRecords(inputs []oip.Tensor) bool {
	if len(inputs) != 1 || inputs[0].Name != recordTensor || inputs[0].Datatype != oip.Bytes {
		return false
	}
	_, field := s.schema.Index(recordTensor)
	_, input := s.input[recordTensor]
	return !field && !input
}

func wholeRecords(t *oip.Tensor, at int64) ([]record.Raw, error) {
	if len(t.Texts) > mostRecords {
		return nil, &refusal{http.StatusRequestEntityTooLarge, errManyRecords}
	}
	all := make([]record.Raw, len(t.Texts))
	for i, text := range t.Texts {
		all[i] = record.Raw{Value: text, Offset: int64(i), Timestamp: at}
	}
	return all, nil
}

// records writes the rows of tensors that are fields as JSON records: so there is one decoder that says what a value means.
func (s *signature) records(inputs []oip.Tensor, rows int, at int64) ([]record.Raw, error) {
	if rows > mostRecords {
		return nil, &refusal{http.StatusRequestEntityTooLarge, errManyRecords}
	}
	fields := make([]int, len(inputs))
	for k := range inputs {
		t := &inputs[k]
		i, ok := s.schema.Index(t.Name)
		if !ok {
			return nil, s.unknown(t.Name)
		}
		if text := t.Datatype == oip.Bytes; text && s.types[i] == record.Numeric || !text && s.types[i] == record.String {
			return nil, tensorError(http.StatusBadRequest, "input %.64q is %s, and the field is %s", t.Name, t.Datatype, s.types[i])
		}
		fields[k] = i
	}
	memory := make([]byte, 0, rows*len(inputs)*24)
	ends := make([]int, rows)
	for row := range rows {
		memory = append(memory, '{')
		for k, i := range fields {
			var err error
			if memory, err = s.appendMember(memory, i, &inputs[k], row); err != nil {
				return nil, err
			}
		}
		memory = append(memory, '}')
		ends[row] = len(memory)
	}
	all := make([]record.Raw, rows)
	from := 0
	for row, end := range ends {
		all[row] = record.Raw{Value: memory[from:end:end], Offset: int64(row), Timestamp: at}
		from = end
	}
	return all, nil
}

// appendMember appends a member of a JSON object, unless the value is absent: NaN, null, and the text "" of a time or of an
// enum that does not have this level.
func (s *signature) appendMember(dst []byte, field int, t *oip.Tensor, row int) ([]byte, error) {
	of := s.types[field]
	switch t.Datatype {
	case oip.Bytes:
		text := t.Texts[row]
		if text == nil || len(text) == 0 && (of == record.Time || of == record.Enum && !s.empty[t.Name]) {
			return dst, nil
		}
		return appendText(s.appendName(dst, field), text), nil
	case oip.FP16, oip.FP32, oip.FP64:
		v := t.Floats[row]
		if math.IsNaN(v) {
			return dst, nil
		}
		if math.IsInf(v, 0) {
			return nil, rowError(row, &record.Problem{Stage: record.StageDecode, Class: codec.ClassOutOfRange, Field: t.Name, Reason: "the number is infinite"})
		}
		return codec.AppendFloat(s.appendName(dst, field), v), nil
	case oip.Bool:
		dst = s.appendName(dst, field)
		switch {
		case of != record.Numeric:
			return strconv.AppendBool(dst, t.Bools[row]), nil
		case t.Bools[row]:
			return append(dst, '1'), nil
		default:
			return append(dst, '0'), nil
		}
	case oip.Uint8, oip.Uint16, oip.Uint32, oip.Uint64:
		return strconv.AppendUint(s.appendName(dst, field), t.Uints[row], 10), nil
	default:
		return strconv.AppendInt(s.appendName(dst, field), t.Ints[row], 10), nil
	}
}

// appendName appends what a member has before its value.
func (s *signature) appendName(dst []byte, field int) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(dst, s.members[field]...)
}

// appendText appends a JSON string. Bytes that are not UTF-8 stay what they are: the decoder refuses them.
func appendText(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// frame makes columns of tensors that are the inputs of the model. NaN, and a text that is no level, are missing.
func (s *signature) frame(inputs []oip.Tensor, rows int) (*record.Frame, error) {
	fr := &record.Frame{Rows: rows, Columns: make([]record.Column, len(s.inputs))}
	for k := range inputs {
		t := &inputs[k]
		i, ok := s.input[t.Name]
		if !ok {
			return nil, tensorError(http.StatusBadRequest, "input %.64q is no input of the model%s: send all inputs of the model and nothing else, or fields and nothing else",
				t.Name, s.firstFeature(inputs))
		}
		c := &fr.Columns[i]
		*c = record.Column{Name: t.Name, Type: s.inputs[i].Type}
		if text := t.Datatype == oip.Bytes; text != (c.Type == record.Enum) {
			return nil, tensorError(http.StatusBadRequest, "input %.64q is %s, and the input of the model is %s", t.Name, t.Datatype, c.Type)
		}
		if c.Type == record.Enum {
			c.Codes = codes(t.Texts, s.codes[i])
		} else if c.Numbers, ok = numbers(t); !ok {
			return nil, tensorError(http.StatusBadRequest, "input %.64q has an integer that no 64-bit float equals", t.Name)
		}
	}
	var missing []string
	for i := range fr.Columns {
		if fr.Columns[i].Type == 0 {
			missing = append(missing, s.inputs[i].Name)
		}
	}
	if len(missing) > 0 {
		return nil, tensorError(http.StatusBadRequest, "%d of the %d inputs of the model are missing: %s", len(missing), len(s.inputs), some(missing))
	}
	return fr, nil
}

func codes(texts [][]byte, of map[string]int32) []int32 {
	all := make([]int32, len(texts))
	for row, text := range texts {
		code, ok := of[string(text)]
		if !ok || text == nil {
			code = record.MissingCode
		}
		all[row] = code
	}
	return all
}

// numbers returns the elements as floats; integers that no float equals are not rounded.
func numbers(t *oip.Tensor) ([]float64, bool) {
	all := make([]float64, t.Len())
	switch t.Datatype {
	case oip.FP16, oip.FP32, oip.FP64:
		return t.Floats, true
	case oip.Bool:
		for i, v := range t.Bools {
			if v {
				all[i] = 1
			}
		}
	case oip.Uint8, oip.Uint16, oip.Uint32, oip.Uint64:
		for i, v := range t.Uints {
			if all[i] = float64(v); all[i] >= 1<<64 || uint64(all[i]) != v {
				return nil, false
			}
		}
	default:
		for i, v := range t.Ints {
			if all[i] = float64(v); all[i] >= 1<<63 || int64(all[i]) != v {
				return nil, false
			}
		}
	}
	return all, true
}

// mostCompared is with how many names a wrong one is compared: a request that is refused must not be dear.
const mostCompared = 256

// unknown is the refusal of a tensor that is neither a field nor an input.
func (s *signature) unknown(name string) error {
	known := make([]string, 0, s.schema.Len()+len(s.feature))
	for i := range s.schema.Len() {
		known = append(known, s.schema.Field(i).Name)
	}
	known = append(known, slices.Sorted(maps.Keys(s.feature))...)
	hint := ""
	if len(known) <= mostCompared {
		if near := spell.Nearest(name, known); near != "" {
			hint = fmt.Sprintf(": did you mean %.64q?", near)
		}
	}
	return tensorError(http.StatusBadRequest, "input %.64q is neither a field of the records nor an input of the model%s", name, hint)
}

// firstFeature says by which tensor the others were taken for inputs, if it is by one of them.
func (s *signature) firstFeature(inputs []oip.Tensor) string {
	for i := range inputs {
		if s.feature[inputs[i].Name] {
			return fmt.Sprintf(", and %.64q is one", inputs[i].Name)
		}
	}
	return ""
}

// some lists the first few of names.
func some(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

// rowError says why a row has no prediction, which refuses the request.
func rowError(row int, p *record.Problem) error {
	field := ""
	if p.Field != "" {
		field = fmt.Sprintf(", field %.64q", p.Field)
	}
	return tensorError(http.StatusBadRequest, "row %d: stage %s, class %s%s: %s", row, p.Stage, p.Class, field, p.Reason)
}
