package oip

import (
	"strconv"
	"unicode/utf8"
)

// DecodeRequest reads the body of a request for predictions, which is not compressed. headerLength is the header
// [HeaderLength] of it, "" where there is none. The request keeps body, and parts of it.
func DecodeRequest(body []byte, headerLength string, l Limits) (*InferRequest, error) {
	r := &InferRequest{}
	d, err := newDecoder(body, headerLength, l)
	if err != nil {
		return nil, err
	}
	if d == nil {
		r.Raw, r.BinaryOutput = body, true
		return r, nil
	}
	var forms []form
	err = d.message("a request", func(name string) (known member, err error) {
		switch name {
		case "id":
			known, err = memberID, d.optional(&r.ID)
		case "parameters":
			known = memberParameters
			r.Parameters, err = d.parameters(extensions{outputs: &r.BinaryOutput})
		case "inputs":
			known = memberInputs
			r.Inputs, err = d.tensors("inputs")
		case "outputs":
			known = memberOutputs
			r.Outputs, forms, err = d.requested()
		}
		return known, err
	})
	if err != nil {
		return nil, err
	}
	for i := range r.Outputs {
		r.Outputs[i].Binary = forms[i].or(r.BinaryOutput)
	}
	if err := d.binaries(r.Inputs); err != nil {
		return nil, err
	}
	return r, nil
}

// DecodeResponse reads the body of an answer to a request for predictions, which is not compressed. headerLength is as
// of [DecodeRequest]. The answer keeps body, and parts of it.
func DecodeResponse(body []byte, headerLength string, l Limits) (*InferResponse, error) {
	r := &InferResponse{}
	d, err := newDecoder(body, headerLength, l)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, invalid("an answer without JSON")
	}
	err = d.message("an answer", func(name string) (known member, err error) {
		switch name {
		case "model_name":
			known, err = memberModel, d.optional(&r.Model)
		case "model_version":
			known, err = memberVersion, d.optional(&r.Version)
		case "id":
			known, err = memberID, d.optional(&r.ID)
		case "parameters":
			known = memberParameters
			r.Parameters, err = d.parameters(extensions{})
		case "outputs":
			known = memberOutputs
			r.Outputs, err = d.tensors("outputs")
		}
		return known, err
	})
	if err != nil {
		return nil, err
	}
	if err := d.binaries(r.Outputs); err != nil {
		return nil, err
	}
	return r, nil
}

// DecodeError returns the message of a body {"error": message}, its first 1,000 bytes, and "" where body is none.
func DecodeError(body []byte) string {
	if !utf8.Valid(body) {
		return ""
	}
	d := &decoder{scanner: scanner{text: string(body)}}
	message := ""
	err := d.message("an error", func(name string) (member, error) {
		if name != "error" {
			return unknownMember, nil
		}
		return memberError, d.optional(&message)
	})
	if err != nil {
		return ""
	}
	const most = 1000
	if len(message) > most {
		message = message[:most]
		for !utf8.ValidString(message) {
			message = message[:len(message)-1]
		}
	}
	return message
}

// member is a member of an object that has a meaning here, as a bit.
type member uint16

const (
	unknownMember member = 0
	memberID      member = 1 << iota
	memberModel
	memberVersion
	memberParameters
	memberInputs
	memberOutputs
	memberName
	memberDatatype
	memberShape
	memberData
	memberError
)

// form is what a request says of the form of one output.
type form struct{ said, binary bool }

func (f form) or(byDefault bool) bool {
	if f.said {
		return f.binary
	}
	return byDefault
}

// extensions are where the values of parameters go that have a meaning here; nil is where they have none.
type extensions struct {
	size    *int  // binary_data_size
	form    *form // binary_data
	outputs *bool // binary_data_output
}

// decoder reads a message.
type decoder struct {
	scanner
	body   []byte // what text is of
	binary []byte // what follows the JSON, and was not taken yet
	sizes  []int  // of the tensors that were read: the size of their binary data, or -1
	limits Limits // what is left of them
	memory slabs
}

// newDecoder returns a decoder for a body, and nil for one without JSON.
func newDecoder(body []byte, headerLength string, l Limits) (*decoder, error) {
	n := len(body)
	if headerLength != "" {
		v, err := strconv.ParseUint(headerLength, 10, 63)
		if err != nil {
			return nil, invalid("the header %s is no number", HeaderLength)
		}
		if v > uint64(len(body)) {
			return nil, invalid("the header %s says %d bytes, and the body has %d", HeaderLength, v, len(body))
		}
		if v == 0 {
			return nil, nil
		}
		n = int(v)
	}
	if !utf8.Valid(body[:n]) {
		return nil, invalid("the JSON is not UTF-8")
	}
	return &decoder{scanner: scanner{text: string(body[:n])}, body: body[:n:n], binary: body[n:], limits: l.withDefaults()}, nil
}

// message reads an object that is the whole JSON. read reads the value of a member, if it knows the member, and else
// returns unknownMember without reading.
func (d *decoder) message(what string, read func(name string) (member, error)) error {
	if d.peek() != '{' {
		return d.unexpected(what)
	}
	if err := d.object(read); err != nil {
		return err
	}
	return d.end()
}

// object reads an object, as message does. A member that is known may come once.
func (d *decoder) object(read func(name string) (member, error)) error {
	seen := unknownMember
	return d.members(func(name string) error {
		known, err := read(name)
		if err != nil {
			return err
		}
		if known == unknownMember {
			return d.skip(0)
		}
		if seen&known != 0 {
			return d.fault("the member %s comes twice", quoted(name))
		}
		seen |= known
		return nil
	})
}

// optional reads a string, or null, which leaves it as it is.
func (d *decoder) optional(into *string) error {
	if null, err := d.null(); null || err != nil {
		return err
	}
	text, err := d.str()
	*into = text
	return err
}

// parameters reads parameters, or null. Those of extensions are not among the ones that it returns. Objects, arrays and null
// are no values here, and left out.
func (d *decoder) parameters(x extensions) (Parameters, error) {
	if null, err := d.null(); null || err != nil {
		return nil, err
	}
	var all Parameters
	err := d.members(func(name string) (err error) {
		switch {
		case name == "binary_data_size" && x.size != nil:
			*x.size, err = d.size()
			return err
		case name == "binary_data" && x.form != nil:
			x.form.said = true
			x.form.binary, err = d.boolean()
			return err
		case name == "binary_data_output" && x.outputs != nil:
			*x.outputs, err = d.boolean()
			return err
		}
		value, err := d.parameter()
		if err != nil || value == nil {
			return err
		}
		if all == nil {
			all = Parameters{}
		}
		all[name] = value
		return nil
	})
	return all, err
}

// size reads a number of bytes.
func (d *decoder) size() (int, error) {
	d.peek()
	token, integer, err := d.number()
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseUint(token, 10, 62)
	if err != nil || !integer {
		return 0, d.fault("a number of bytes that is none")
	}
	return int(v), nil
}

// parameter reads a parameter's value, and returns nil where it is none.
func (d *decoder) parameter() (any, error) {
	switch c := d.peek(); {
	case c == '"':
		return d.str()
	case c == 't' || c == 'f':
		return d.boolean()
	case c == '-' || c-'0' <= 9:
		token, integer, err := d.number()
		if err != nil {
			return nil, err
		}
		if integer {
			if v, err := strconv.ParseInt(token, 10, 64); err == nil {
				return v, nil
			}
			if v, err := strconv.ParseUint(token, 10, 64); err == nil {
				return v, nil
			}
		}
		v, err := strconv.ParseFloat(token, 64)
		if err != nil {
			return nil, d.fault("a number that is too large")
		}
		return v, nil
	default:
		return nil, d.skip(0)
	}
}

// requested reads the outputs that are wanted, or null.
func (d *decoder) requested() ([]RequestedOutput, []form, error) {
	if null, err := d.null(); null || err != nil {
		return nil, nil, err
	}
	var outputs []RequestedOutput
	var forms []form
	err := d.elements(func() error {
		if len(outputs) == d.limits.Tensors {
			return d.fault("more than %d outputs", d.limits.Tensors)
		}
		var o RequestedOutput
		var of form
		if err := d.object(func(name string) (known member, err error) {
			switch name {
			case "name":
				known = memberName
				o.Name, err = d.str()
			case "parameters":
				known = memberParameters
				o.Parameters, err = d.parameters(extensions{form: &of})
			}
			return known, err
		}); err != nil {
			return err
		}
		if o.Name == "" {
			return d.fault("an output without a name")
		}
		outputs, forms = append(outputs, o), append(forms, of)
		return nil
	})
	return outputs, forms, err
}
