package oip

import (
	"math"

	"millrace.dev/internal/oip/inference"
)

// RequestMessage returns a request as a message of gRPC, with raw contents where BinaryOutput is set, an input is
// binary, or an input has a datatype that has no other form (FP16). It keeps the elements of the tensors.
func RequestMessage(r *InferRequest) (*inference.ModelInferRequest, error) {
	m := &inference.ModelInferRequest{ModelName: r.Model, ModelVersion: r.Version, Id: r.ID, Inputs: make([]*inference.ModelInferRequest_InferInputTensor, len(r.Inputs))}
	var err error
	if m.Parameters, err = parameterMessages(r.Parameters); err != nil {
		return nil, err
	}
	raw := r.BinaryOutput || anyRaw(r.Inputs)
	for i := range r.Inputs {
		t := &r.Inputs[i]
		in := &inference.ModelInferRequest_InferInputTensor{Name: t.Name, Datatype: string(t.Datatype), Shape: t.Shape}
		if in.Parameters, err = parameterMessages(t.Parameters); err != nil {
			return nil, err
		}
		if in.Contents, m.RawInputContents, err = t.contents(raw, m.RawInputContents); err != nil {
			return nil, err
		}
		m.Inputs[i] = in
	}
	for _, o := range r.Outputs {
		out := &inference.ModelInferRequest_InferRequestedOutputTensor{Name: o.Name}
		if out.Parameters, err = parameterMessages(o.Parameters); err != nil {
			return nil, err
		}
		m.Outputs = append(m.Outputs, out)
	}
	return m, nil
}

// RequestOf returns the request that a message is, which keeps parts of the message.
func RequestOf(m *inference.ModelInferRequest, l Limits) (*InferRequest, error) {
	reader, err := newContentReader(len(m.GetInputs()), len(m.GetOutputs()), m.GetRawInputContents(), l)
	if err != nil {
		return nil, err
	}
	r := &InferRequest{
		Model: m.GetModelName(), Version: m.GetModelVersion(), ID: m.GetId(), Parameters: parametersOf(m.GetParameters()),
		Inputs: make([]Tensor, len(m.GetInputs())), BinaryOutput: reader.isRaw,
	}
	for i, in := range m.GetInputs() {
		t := &r.Inputs[i]
		*t = Tensor{Name: in.GetName(), Datatype: Datatype(in.GetDatatype()), Shape: in.GetShape(), Parameters: parametersOf(in.GetParameters())}
		if err := reader.read(t, i, in.GetContents()); err != nil {
			return nil, err
		}
	}
	for _, o := range m.GetOutputs() {
		r.Outputs = append(r.Outputs, RequestedOutput{Name: o.GetName(), Binary: reader.isRaw, Parameters: parametersOf(o.GetParameters())})
	}
	return r, nil
}

// ResponseMessage returns an answer as a message of gRPC, with raw contents where an output is binary or has a datatype
// that has no other form. It keeps the elements of the tensors.
func ResponseMessage(r *InferResponse) (*inference.ModelInferResponse, error) {
	m := &inference.ModelInferResponse{ModelName: r.Model, ModelVersion: r.Version, Id: r.ID, Outputs: make([]*inference.ModelInferResponse_InferOutputTensor, len(r.Outputs))}
	var err error
	if m.Parameters, err = parameterMessages(r.Parameters); err != nil {
		return nil, err
	}
	raw := anyRaw(r.Outputs)
	for i := range r.Outputs {
		t := &r.Outputs[i]
		out := &inference.ModelInferResponse_InferOutputTensor{Name: t.Name, Datatype: string(t.Datatype), Shape: t.Shape}
		if out.Parameters, err = parameterMessages(t.Parameters); err != nil {
			return nil, err
		}
		if out.Contents, m.RawOutputContents, err = t.contents(raw, m.RawOutputContents); err != nil {
			return nil, err
		}
		m.Outputs[i] = out
	}
	return m, nil
}

// ResponseOf returns the answer that a message is, which keeps parts of the message.
func ResponseOf(m *inference.ModelInferResponse, l Limits) (*InferResponse, error) {
	reader, err := newContentReader(len(m.GetOutputs()), 0, m.GetRawOutputContents(), l)
	if err != nil {
		return nil, err
	}
	r := &InferResponse{
		Model: m.GetModelName(), Version: m.GetModelVersion(), ID: m.GetId(), Parameters: parametersOf(m.GetParameters()),
		Outputs: make([]Tensor, len(m.GetOutputs())),
	}
	for i, out := range m.GetOutputs() {
		t := &r.Outputs[i]
		*t = Tensor{Name: out.GetName(), Datatype: Datatype(out.GetDatatype()), Shape: out.GetShape(), Parameters: parametersOf(out.GetParameters())}
		if err := reader.read(t, i, out.GetContents()); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func anyRaw(all []Tensor) bool {
	for i := range all {
		if all[i].Binary || all[i].Datatype == FP16 {
			return true
		}
	}
	return false
}

// contents returns the tensor's elements as a message, or appends them to raw.
func (t *Tensor) contents(isRaw bool, raw [][]byte) (*inference.InferTensorContents, [][]byte, error) {
	if err := t.check(); err != nil {
		return nil, nil, err
	}
	if isRaw {
		elements, err := t.appendBinary(make([]byte, 0, t.binarySize()))
		return nil, append(raw, elements), err
	}
	c := &inference.InferTensorContents{}
	size := t.Datatype.Size()
	switch t.Datatype {
	case Bool:
		c.BoolContents = t.Bools
	case Uint64:
		c.Uint64Contents = t.Uints
	case Int64:
		c.Int64Contents = t.Ints
	case FP64:
		c.Fp64Contents = t.Floats
	case Bytes:
		c.BytesContents = t.Texts
	case FP32:
		c.Fp32Contents = make([]float32, len(t.Floats))
		for i, v := range t.Floats {
			c.Fp32Contents[i] = float32(v)
		}
	case Uint8, Uint16, Uint32:
		c.UintContents = make([]uint32, len(t.Uints))
		for i, v := range t.Uints {
			if !fitsUint(v, size) {
				return nil, nil, t.elementFault(i, "does not fit in "+string(t.Datatype))
			}
			c.UintContents[i] = uint32(v)
		}
	default:
		c.IntContents = make([]int32, len(t.Ints))
		for i, v := range t.Ints {
			if !fitsInt(v, size) {
				return nil, nil, t.elementFault(i, "does not fit in "+string(t.Datatype))
			}
			c.IntContents[i] = int32(v)
		}
	}
	return c, nil, nil
}

// contentReader reads the elements of the tensors of a message.
type contentReader struct {
	isRaw  bool
	raw    [][]byte
	limits Limits // what is left of them
	memory slabs
}

func newContentReader(tensors, outputs int, raw [][]byte, l Limits) (*contentReader, error) {
	l = l.withDefaults()
	if tensors > l.Tensors || outputs > l.Tensors {
		return nil, invalid("the message has more than %d tensors", l.Tensors)
	}
	if len(raw) > 0 && len(raw) != tensors {
		return nil, invalid("the message has %d tensors, and raw contents of %d: all of them are raw, or none", tensors, len(raw))
	}
	return &contentReader{isRaw: len(raw) > 0, raw: raw, limits: l}, nil
}

// read sets the elements of tensor i of a message.
func (r *contentReader) read(t *Tensor, i int, c *inference.InferTensorContents) error {
	if t.Name == "" {
		return invalid("tensor %d has no name", i)
	}
	if t.Datatype.kind() == noKind {
		return t.fault("the datatype %s is not supported", quoted(string(t.Datatype)))
	}
	if len(t.Shape) > maxRank {
		return t.fault("a shape with more than %d dimensions", maxRank)
	}
	n, err := Elements(t.Shape)
	if err != nil {
		return t.fault("%s", err.Error())
	}
	if n > r.limits.Elements {
		return t.fault("with its %d elements there are more than may be sent at a time", n)
	}
	r.limits.Elements -= n
	if r.isRaw {
		if contentsLen(c) > 0 { // MLServer sends contents without elements beside raw ones
			return t.fault("it has both contents and raw contents")
		}
		return t.setBinary(r.raw[i], n, &r.memory)
	}
	if t.Datatype == FP16 {
		return t.fault("FP16 has no contents but raw ones")
	}
	have := t.setContents(c, n, &r.memory)
	if all := contentsLen(c); all != have {
		return t.fault("it has contents of another datatype than %s", t.Datatype)
	}
	if have != n {
		return t.fault("the shape has %d elements, and the contents %d", n, have)
	}
	return t.checkRange()
}

// setContents sets the elements from the field of the datatype, if there are n of them, and returns how many there are.
func (t *Tensor) setContents(c *inference.InferTensorContents, n int, memory *slabs) int {
	switch t.Datatype {
	case Bool:
		t.Bools = c.GetBoolContents()
		return len(t.Bools)
	case Uint64:
		t.Uints = c.GetUint64Contents()
		return len(t.Uints)
	case Int64:
		t.Ints = c.GetInt64Contents()
		return len(t.Ints)
	case FP64:
		t.Floats = c.GetFp64Contents()
		return len(t.Floats)
	case Bytes:
		t.Texts = c.GetBytesContents()
		return len(t.Texts)
	case FP32:
		return widen(&t.Floats, memory.floats.take, c.GetFp32Contents(), n)
	case Uint8, Uint16, Uint32:
		return widen(&t.Uints, memory.uints.take, c.GetUintContents(), n)
	default:
		return widen(&t.Ints, memory.ints.take, c.GetIntContents(), n)
	}
}

// widen sets elements from narrower ones, if there are n of them, and returns how many there are.
func widen[W float64 | uint64 | int64, N float32 | uint32 | int32](to *[]W, take func(int) []W, from []N, n int) int {
	if len(from) == n {
		*to = take(n)
		for i, v := range from {
			(*to)[i] = W(v)
		}
	}
	return len(from)
}

// contentsLen returns the number of elements of all fields.
func contentsLen(c *inference.InferTensorContents) int {
	return len(c.GetBoolContents()) + len(c.GetIntContents()) + len(c.GetInt64Contents()) + len(c.GetUintContents()) +
		len(c.GetUint64Contents()) + len(c.GetFp32Contents()) + len(c.GetFp64Contents()) + len(c.GetBytesContents())
}

// checkRange finds elements that the datatype has no room for.
func (t *Tensor) checkRange() error {
	size := t.Datatype.Size()
	for i, v := range t.Uints {
		if !fitsUint(v, size) {
			return t.elementFault(i, "does not fit in "+string(t.Datatype))
		}
	}
	for i, v := range t.Ints {
		if !fitsInt(v, size) {
			return t.elementFault(i, "does not fit in "+string(t.Datatype))
		}
	}
	return nil
}

func parameterMessages(p Parameters) (map[string]*inference.InferParameter, error) {
	if len(p) == 0 {
		return nil, nil
	}
	all := make(map[string]*inference.InferParameter, len(p))
	for name, value := range p {
		m := &inference.InferParameter{}
		switch v := value.(type) {
		case bool:
			m.ParameterChoice = &inference.InferParameter_BoolParam{BoolParam: v}
		case int64:
			m.ParameterChoice = &inference.InferParameter_Int64Param{Int64Param: v}
		case uint64:
			m.ParameterChoice = &inference.InferParameter_Uint64Param{Uint64Param: v}
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, invalid("the parameter %s is no finite number", quoted(name))
			}
			m.ParameterChoice = &inference.InferParameter_DoubleParam{DoubleParam: v}
		case string:
			m.ParameterChoice = &inference.InferParameter_StringParam{StringParam: v}
		default:
			return nil, invalid("the parameter %s is of no type that the protocol has", quoted(name))
		}
		all[name] = m
	}
	return all, nil
}

func parametersOf(all map[string]*inference.InferParameter) Parameters {
	if len(all) == 0 {
		return nil
	}
	p := make(Parameters, len(all))
	for name, m := range all {
		switch v := m.GetParameterChoice().(type) {
		case *inference.InferParameter_BoolParam:
			p[name] = v.BoolParam
		case *inference.InferParameter_Int64Param:
			p[name] = v.Int64Param
		case *inference.InferParameter_Uint64Param:
			p[name] = v.Uint64Param
		case *inference.InferParameter_DoubleParam:
			p[name] = v.DoubleParam
		case *inference.InferParameter_StringParam:
			p[name] = v.StringParam
		}
	}
	return p
}
