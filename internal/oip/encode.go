package oip

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"millrace.dev/codec"
)

// EncodeRequest appends the body of a request to dst. jsonLength is the length of its JSON where tensors in binary form
// follow it, which is then to be sent as the header [HeaderLength], and else 0. It is an error if a tensor's elements do
// not fit its shape or its datatype, or have no form in JSON: an infinity, a text that is not UTF-8.
func EncodeRequest(dst []byte, r *InferRequest) (body []byte, jsonLength int, err error) {
	if r.Raw != nil {
		return nil, 0, invalid("a request without JSON has its body already")
	}
	from := len(dst)
	e := encoder{dst: dst}
	e.put('{')
	if r.ID != "" {
		e.text("id", r.ID)
	}
	if len(r.Parameters) > 0 || r.BinaryOutput {
		e.name("parameters")
		e.put('{')
		if r.BinaryOutput {
			e.name("binary_data_output")
			e.dst = append(e.dst, "true"...)
		}
		e.values(r.Parameters)
		e.put('}')
	}
	e.tensors("inputs", r.Inputs)
	if len(r.Outputs) > 0 {
		e.name("outputs")
		e.put('[')
		for _, o := range r.Outputs {
			e.comma()
			e.put('{')
			e.text("name", o.Name)
			e.name("parameters")
			e.put('{')
			e.name("binary_data")
			e.dst = strconv.AppendBool(e.dst, o.Binary)
			e.values(o.Parameters)
			e.put('}')
			e.put('}')
		}
		e.put(']')
	}
	e.put('}')
	return e.finish(from, r.Inputs)
}

// EncodeResponse appends the body of an answer to dst, as [EncodeRequest] does that of a request.
func EncodeResponse(dst []byte, r *InferResponse) (body []byte, jsonLength int, err error) {
	from := len(dst)
	e := encoder{dst: dst}
	e.put('{')
	e.text("model_name", r.Model)
	e.text("model_version", r.Version)
	if r.ID != "" {
		e.text("id", r.ID)
	}
	if len(r.Parameters) > 0 {
		e.name("parameters")
		e.put('{')
		e.values(r.Parameters)
		e.put('}')
	}
	e.tensors("outputs", r.Outputs)
	e.put('}')
	return e.finish(from, r.Outputs)
}

// encoder writes a message. The first error stays.
type encoder struct {
	dst []byte
	err error
}

// finish writes the elements of the tensors in binary form behind the JSON.
func (e *encoder) finish(from int, all []Tensor) (body []byte, jsonLength int, err error) {
	length, binary := len(e.dst)-from, false
	for i := range all {
		if t := &all[i]; t.Binary && e.err == nil {
			binary = true
			e.dst, e.err = t.appendBinary(slices.Grow(e.dst, t.binarySize()))
		}
	}
	if e.err != nil {
		return nil, 0, e.err
	}
	if !binary {
		length = 0
	}
	return e.dst, length, nil
}

// fail keeps the first error.
func (e *encoder) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// put writes a byte: a bracket or a brace.
func (e *encoder) put(c byte) { e.dst = append(e.dst, c) }

// comma writes a comma, unless an object or an array begins here.
func (e *encoder) comma() {
	if last := e.dst[len(e.dst)-1]; last != '{' && last != '[' {
		e.dst = append(e.dst, ',')
	}
}

// name writes the name of a member, which needs no escapes.
func (e *encoder) name(name string) {
	e.comma()
	e.dst = append(e.dst, '"')
	e.dst = append(e.dst, name...)
	e.dst = append(e.dst, '"', ':')
}

func (e *encoder) text(name, value string) {
	e.name(name)
	e.quote(value)
}

// quote writes a string.
func (e *encoder) quote(text string) {
	if !utf8.ValidString(text) {
		e.fail(invalid("a text is not UTF-8, and has no form in JSON"))
		return
	}
	e.dst = append(e.dst, '"')
	from := 0
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		e.dst = append(e.dst, text[from:i]...)
		e.dst = appendEscape(e.dst, c)
		from = i + 1
	}
	e.dst = append(e.dst, text[from:]...)
	e.dst = append(e.dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		const hex = "0123456789abcdef"
		return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
}

// values writes parameters, in the order of their names.
func (e *encoder) values(p Parameters) {
	if len(p) == 1 { // the common case needs no order
		for name, value := range p {
			e.value(name, value)
		}
		return
	}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		e.value(name, p[name])
	}
}

func (e *encoder) value(name string, value any) {
	e.comma()
	e.quote(name)
	e.dst = append(e.dst, ':')
	switch v := value.(type) {
	case bool:
		e.dst = strconv.AppendBool(e.dst, v)
	case int64:
		e.dst = strconv.AppendInt(e.dst, v, 10)
	case uint64:
		e.dst = strconv.AppendUint(e.dst, v, 10)
	case string:
		e.quote(v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			e.fail(invalid("the parameter %s is no finite number", quoted(name)))
		}
		e.dst = codec.AppendFloat(e.dst, v)
	default:
		e.fail(invalid("the parameter %s is of no type that the protocol has", quoted(name)))
	}
}

// tensors writes the member of an object that has tensors.
func (e *encoder) tensors(name string, all []Tensor) {
	e.name(name)
	e.put('[')
	for i := range all {
		e.comma()
		e.tensor(&all[i])
	}
	e.put(']')
}

func (e *encoder) tensor(t *Tensor) {
	if err := t.check(); err != nil {
		e.fail(err)
		return
	}
	e.put('{')
	e.text("name", t.Name)
	e.text("datatype", string(t.Datatype))
	e.name("shape")
	e.put('[')
	for _, d := range t.Shape {
		e.comma()
		e.dst = strconv.AppendInt(e.dst, d, 10)
	}
	e.put(']')
	if len(t.Parameters) > 0 || t.Binary {
		e.name("parameters")
		e.put('{')
		if t.Binary {
			e.name("binary_data_size")
			e.dst = strconv.AppendInt(e.dst, int64(t.binarySize()), 10)
		}
		e.values(t.Parameters)
		e.put('}')
	}
	if !t.Binary {
		e.name("data")
		e.put('[')
		e.data(t)
		e.put(']')
	}
	e.put('}')
}

// check compares the elements with the shape.
func (t *Tensor) check() error {
	if t.Datatype.kind() == noKind {
		return t.fault("the datatype %s is not supported", quoted(string(t.Datatype)))
	}
	n, err := Elements(t.Shape)
	if err != nil {
		return t.fault("%s", err.Error())
	}
	if n != t.Len() {
		return t.fault("the shape has %d elements, and the data %d", n, t.Len())
	}
	return nil
}

// data writes the elements of a tensor, with commas between.
func (e *encoder) data(t *Tensor) {
	size := t.Datatype.Size()
	switch t.Datatype.kind() {
	case bools:
		for _, v := range t.Bools {
			e.comma()
			e.dst = strconv.AppendBool(e.dst, v)
		}
	case uints:
		for i, v := range t.Uints {
			if !fitsUint(v, size) {
				e.fail(t.elementFault(i, "does not fit in "+string(t.Datatype)))
			}
			e.comma()
			e.dst = strconv.AppendUint(e.dst, v, 10)
		}
	case ints:
		for i, v := range t.Ints {
			if !fitsInt(v, size) {
				e.fail(t.elementFault(i, "does not fit in "+string(t.Datatype)))
			}
			e.comma()
			e.dst = strconv.AppendInt(e.dst, v, 10)
		}
	case floats:
		e.floats(t)
	default:
		e.texts(t)
	}
}

func (e *encoder) floats(t *Tensor) {
	for i, v := range t.Floats {
		e.comma()
		if t.Datatype != FP64 && !math.IsNaN(v) {
			v = narrow(v, t.Datatype)
		}
		switch {
		case math.IsInf(v, 0):
			e.fail(t.elementFault(i, "is infinite, which has no form in JSON"))
		case t.Datatype == FP64 || math.IsNaN(v): // NaN becomes null
			e.dst = codec.AppendFloat(e.dst, v)
		default:
			e.dst = appendNarrow(e.dst, v)
		}
	}
}

// narrow returns the number of the datatype that is nearest to v.
func narrow(v float64, d Datatype) float64 {
	if d == FP32 {
		return float64(float32(v))
	}
	return fromHalf(toHalf(v))
}

// appendNarrow writes a number of 32 bits or less, as shortly as it reads back to.
func appendNarrow(dst []byte, v float64) []byte {
	format := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1<<24) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, v, format, -1, 32)
}

func (e *encoder) texts(t *Tensor) {
	for i, text := range t.Texts {
		e.comma()
		switch {
		case text == nil:
			e.dst = append(e.dst, "null"...)
		case !utf8.Valid(text):
			e.fail(t.elementFault(i, "is not UTF-8, and has no form in JSON: send the tensor in binary form"))
		default:
			e.quote(string(text))
		}
	}
}
