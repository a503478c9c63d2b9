package remote

import (
	"fmt"
	"math"
	"slices"

	"millrace.dev/internal/oip"
	"millrace.dev/record"
)

// description is what a server says of itself and of a model before it is asked to predict; what it does not say is empty.
type description struct {
	server string
	binary bool // it reads binary tensors
	inputs []oip.TensorMetadata
}

// input returns what the server says of an input.
func (d *description) input(name string) (oip.TensorMetadata, bool) {
	for _, in := range d.inputs {
		if in.Name == name {
			return in, true
		}
	}
	return oip.TensorMetadata{}, false
}

const hintMatrix = "set model.serve.tensors to columns, or make numbers of the levels with a feature"

// inferRequest returns the request for rows of a frame. A missing number is NaN, a missing level an empty text.
func inferRequest(o *Options, d *description, f *record.Frame, rows []int) (*oip.InferRequest, *Error) {
	r := &oip.InferRequest{}
	var fault *Error
	if o.Tensors == Matrix {
		r.Inputs, fault = matrix(d, f, rows)
	} else {
		r.Inputs, fault = columns(d, f, rows)
		switch d.server {
		case "mlserver": // which takes the first tensor for all of them, unless it is told that they are columns
			r.Parameters = oip.Parameters{"content_type": "pd"}
		case "millrace": // which takes inputs that are fields, all of them, for those of records, and decodes and checks these
			r.Parameters = oip.Parameters{oip.ParameterInputs: true}
		}
	}
	if fault != nil {
		return nil, fault
	}
	if o.Output != "" {
		r.Outputs = []oip.RequestedOutput{{Name: o.Output, Binary: d.binary}}
	}
	r.BinaryOutput = d.binary
	for i := range r.Inputs {
		r.Inputs[i].Binary = d.binary
	}
	return r, nil
}

// columns returns a tensor for each column.
func columns(d *description, f *record.Frame, rows []int) ([]oip.Tensor, *Error) {
	tensors := make([]oip.Tensor, len(f.Columns))
	for i := range f.Columns {
		c, t := &f.Columns[i], &tensors[i]
		told, _ := d.input(c.Name)
		*t = oip.Tensor{Name: c.Name, Shape: []int64{int64(len(rows))}}
		if len(told.Shape) == 2 { // a batch, and one value
			t.Shape = append(t.Shape, 1)
		}
		if c.Type != record.Numeric {
			t.Datatype, t.Texts = oip.Bytes, texts(c, rows)
			if d.server == "mlserver" {
				t.Parameters = oip.Parameters{"content_type": "str"}
			}
			if told.Datatype != "" && told.Datatype != oip.Bytes {
				return nil, wrongDatatype(c.Name, told.Datatype)
			}
			continue
		}
		t.Floats = make([]float64, len(rows))
		for j, row := range rows {
			t.Floats[j] = c.Numbers[row]
		}
		var fault *Error
		if t.Datatype, fault = floatType(c.Name, told.Datatype); fault != nil {
			return nil, fault
		}
		narrow(t)
	}
	return tensors, nil
}

// matrix returns one tensor with all columns.
func matrix(d *description, f *record.Frame, rows []int) ([]oip.Tensor, *Error) {
	told := oip.TensorMetadata{Name: "input"} // as good as any other where the server does not say how it is called
	switch {
	case len(d.inputs) > 1:
		return nil, invalid("set model.serve.tensors to columns", "the model has %d inputs, not one matrix", len(d.inputs))
	case len(d.inputs) == 1:
		told = d.inputs[0]
	}
	t := oip.Tensor{Name: told.Name, Shape: []int64{int64(len(rows)), int64(len(f.Columns))}, Floats: make([]float64, len(rows)*len(f.Columns))}
	for j := range f.Columns {
		c := &f.Columns[j]
		if c.Type != record.Numeric {
			return nil, invalid(hintMatrix, "the input %s has levels, and a matrix has numbers alone", c.Name)
		}
		for i, row := range rows {
			t.Floats[i*len(f.Columns)+j] = c.Numbers[row]
		}
	}
	var fault *Error
	if t.Datatype, fault = floatType(told.Name, told.Datatype); fault != nil {
		return nil, fault
	}
	narrow(&t)
	return []oip.Tensor{t}, nil
}

// texts returns the levels of rows. A missing one is "", or where that is a level a text that is none: to millrace serve that is missing.
func texts(c *record.Column, rows []int) [][]byte {
	levels := make([][]byte, len(c.Levels))
	for i, level := range c.Levels {
		levels[i] = []byte(level)
	}
	absent := []byte{} // nil is null in JSON
	for slices.Contains(c.Levels, string(absent)) {
		absent = append(absent, 0)
	}
	out := make([][]byte, len(rows))
	for i, row := range rows {
		out[i] = absent
		if !missing(c, row) {
			out[i] = levels[c.Codes[row]]
		}
	}
	return out
}

// floatType returns the datatype of numbers for a server that wants one.
func floatType(name string, wanted oip.Datatype) (oip.Datatype, *Error) {
	switch wanted {
	case "":
		return oip.FP64, nil
	case oip.FP64, oip.FP32:
		return wanted, nil
	default:
		return "", wrongDatatype(name, wanted)
	}
}

func wrongDatatype(name string, wanted oip.Datatype) *Error {
	return invalid("export the model with inputs FP64 or FP32 for numbers and BYTES for levels",
		"the server wants the input %s as %s", words(name), words(string(wanted)))
}

// narrow rounds numbers to those of FP32, so that what is sent in JSON is what is sent in binary form.
func narrow(t *oip.Tensor) {
	if t.Datatype != oip.FP32 {
		return
	}
	for i, v := range t.Floats {
		t.Floats[i] = float64(float32(v))
	}
}

// inferAnswer returns what an answer to a request for n rows says.
func inferAnswer(o *Options, r *oip.InferResponse, n int, digest string) (*Answer, *Error) {
	if theirs, ok := r.Parameters["digest"].(string); ok && digest != "" && theirs != digest {
		return nil, answerFault(errDigest)
	}
	if asked := o.Version; asked != "" && asked != "latest" && r.Version != "" && r.Version != asked {
		return nil, invalid("see which versions the server has: model.serve.version", "the server answers with another version than the one that it was asked for")
	}
	t, fault := output(o, r.Outputs)
	if fault != nil {
		return nil, fault
	}
	if len(t.Shape) == 0 || t.Shape[0] != int64(n) || slices.ContainsFunc(t.Shape[1:], func(d int64) bool { return d != 1 }) || t.Len() != n {
		return nil, invalid("the prediction has to be one number for each row: see model.serve.output, and how the model was exported",
			"the output has the shape %d for %d rows", t.Shape[:min(len(t.Shape), 4)], n)
	}
	a := &Answer{Model: name(r.Model, r.Version)}
	if a.Scores = scores(t); a.Scores == nil {
		return nil, invalid(hintOutput, "the output has the datatype %s: want numbers", words(string(t.Datatype)))
	}
	return a, nil
}

// name returns how a server calls a model.
func name(model, version string) string {
	const most = 200
	if len(model)+len(version) > most {
		return ""
	}
	if version != "" {
		model += "@" + version
	}
	return words(model)
}

// output returns the output that is the prediction.
func output(o *Options, all []oip.Tensor) (*oip.Tensor, *Error) {
	if o.Output == "" {
		if len(all) != 1 {
			return nil, invalid(hintOutput, "the answer has %d outputs: want one", len(all))
		}
		return &all[0], nil
	}
	for i := range all {
		if all[i].Name == o.Output {
			return &all[i], nil
		}
	}
	return nil, invalid(hintOutput, "the answer has no output %s", o.Output)
}

// scores returns the numbers of a tensor, or nil where it has none.
func scores(t *oip.Tensor) []float64 {
	switch {
	case t.Floats != nil:
		return t.Floats
	case t.Ints != nil:
		return converted(t.Ints)
	case t.Uints != nil:
		return converted(t.Uints)
	case t.Bools != nil:
		out := make([]float64, len(t.Bools))
		for i, v := range t.Bools {
			if v {
				out[i] = 1
			}
		}
		return out
	default:
		return nil
	}
}

// converted returns whole numbers as floating-point ones. Those that none equals are not taken for their neighbours.
func converted[T int64 | uint64](from []T) []float64 {
	const exact = 1 << 53
	out := make([]float64, len(from))
	for i, v := range from {
		out[i] = float64(v)
		if out[i] > exact || out[i] < -exact {
			out[i] = math.NaN()
		}
	}
	return out
}

// codecFault returns the error of a message that the codec of the protocol does not take.
func codecFault(what string, err error) *Error {
	text := words(err.Error())
	if len(text) > maxWords {
		text = text[:maxWords]
	}
	return &Error{Class: Invalid, Err: fmt.Errorf("%s: %s", what, text), Hint: "see if model.serve.protocol is the one that the server speaks"}
}
