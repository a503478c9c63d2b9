package oip

import (
	"math"
	"strconv"
)

// tensors reads an array of tensors, or null.
func (d *decoder) tensors(what string) ([]Tensor, error) {
	if null, err := d.null(); null || err != nil {
		return nil, err
	}
	var all []Tensor
	err := d.elements(func() error {
		if len(all) == d.limits.Tensors {
			return d.fault("more than %d %s", d.limits.Tensors, what)
		}
		if all == nil { // a tensor takes 48 bytes and more: mostly none of these grows
			guess := min(1+(len(d.text)-d.i)/48, 64)
			all, d.sizes = make([]Tensor, 0, guess), make([]int, 0, guess)
		}
		all, d.sizes = append(all, Tensor{}), append(d.sizes, -1)
		return d.tensor(&all[len(all)-1], &d.sizes[len(d.sizes)-1])
	})
	return all, err
}

// tensor reads a tensor. The size of its binary data goes to size, which is -1 where it has none.
func (d *decoder) tensor(t *Tensor, size *int) error {
	data := -1 // where the data stands, while it was not read because the datatype or the shape comes later
	var seen member
	err := d.object(func(name string) (known member, err error) {
		switch name {
		case "name":
			known = memberName
			t.Name, err = d.str()
		case "datatype":
			known = memberDatatype
			err = d.datatype(t)
		case "shape":
			known = memberShape
			err = d.shape(t)
		case "parameters":
			known = memberParameters
			t.Parameters, err = d.parameters(extensions{size: size})
		case "data":
			var null bool
			if null, err = d.null(); null || err != nil {
				return memberData, err // some clients write null for what goes as binary data
			}
			known = memberData
			if seen&(memberDatatype|memberShape) == memberDatatype|memberShape {
				err = d.data(t)
				data = math.MaxInt
			} else {
				data = d.i
				err = d.skip(0)
			}
		}
		seen |= known
		return known, err
	})
	switch {
	case err != nil:
		return err
	case t.Name == "":
		return d.fault("a tensor without a name")
	case seen&memberDatatype == 0:
		return t.fault("it has no datatype")
	case seen&memberShape == 0:
		return t.fault("it has no shape")
	case *size >= 0 && data >= 0:
		return t.fault("it has both data and binary_data_size")
	case *size < 0 && data < 0:
		return t.fault("it has no data")
	}
	if data >= 0 && data != math.MaxInt {
		after := d.i
		d.i = data
		if err := d.data(t); err != nil {
			return err
		}
		d.i = after
	}
	return nil
}

func (d *decoder) datatype(t *Tensor) error {
	text, err := d.str()
	if err != nil {
		return err
	}
	if t.Datatype = Datatype(text); t.Datatype.kind() == noKind {
		return t.fault("the datatype %s is not supported", quoted(text))
	}
	return nil
}

func (d *decoder) shape(t *Tensor) error {
	var dims [maxRank]int64
	rank := 0
	if err := d.elements(func() error {
		d.peek()
		token, integer, err := d.number()
		if err != nil {
			return err
		}
		v, err := strconv.ParseInt(token, 10, 64)
		if err != nil || !integer || v < 0 {
			return d.fault("a dimension that is no size")
		}
		if rank == maxRank {
			return d.fault("a shape with more than %d dimensions", maxRank)
		}
		dims[rank] = v
		rank++
		return nil
	}); err != nil {
		return err
	}
	t.Shape = d.memory.ints.take(rank)
	copy(t.Shape, dims[:rank])
	return nil
}

// count returns the number of elements of a tensor, and takes them from the limit.
func (d *decoder) count(t *Tensor) (int, error) {
	n, err := Elements(t.Shape)
	if err != nil {
		return 0, t.fault("%s", err.Error())
	}
	if n > d.limits.Elements {
		return 0, t.fault("with its %d elements there are more than may be sent at a time", n)
	}
	d.limits.Elements -= n
	return n, nil
}

// binaries sets the elements of the tensors whose data follows the JSON.
func (d *decoder) binaries(all []Tensor) error {
	for i := range all {
		if d.sizes[i] < 0 {
			continue
		}
		t := &all[i]
		if d.sizes[i] > len(d.binary) {
			return t.fault("binary_data_size is %d, and %d bytes are left behind the JSON", d.sizes[i], len(d.binary))
		}
		raw := d.binary[:d.sizes[i]:d.sizes[i]]
		d.binary = d.binary[d.sizes[i]:]
		n, err := d.count(t)
		if err != nil {
			return err
		}
		if err := t.setBinary(raw, n, &d.memory); err != nil {
			return err
		}
	}
	if len(d.binary) > 0 {
		return invalid("%d bytes behind the JSON belong to no tensor", len(d.binary))
	}
	return nil
}

// data reads the elements of a tensor from JSON: one array with all of them, or arrays in arrays, as the shape says.
func (d *decoder) data(t *Tensor) error {
	n, err := d.count(t)
	if err != nil {
		return err
	}
	if d.peek() != '[' {
		return d.unexpected("an array")
	}
	if least := (len(d.text) - d.i) / 2; n > least { // an element takes at least a digit and a comma
		return t.fault("the shape has %d elements, and the data fewer", n)
	}
	switch t.Datatype.kind() {
	case bools:
		t.Bools = d.memory.bools.take(n)
	case uints:
		t.Uints = d.memory.uints.take(n)
	case ints:
		t.Ints = d.memory.ints.take(n)
	case floats:
		t.Floats = d.memory.floats.take(n)
	default:
		t.Texts = d.memory.texts.take(n)
	}
	at := 0
	if len(t.Shape) > 1 && d.nested() {
		err = d.nest(t, t.Shape, &at)
	} else {
		err = d.run(t, n, &at)
	}
	if err == nil && at != n {
		err = t.fault("the shape has %d elements, and the data %d", n, at)
	}
	return err
}

// nested tells whether the array that follows begins with an array.
func (d *decoder) nested() bool {
	at := d.i
	d.i++
	is := d.peek() == '['
	d.i = at
	return is
}

// nest reads an array of the shape, whose elements go to those of t from at on.
func (d *decoder) nest(t *Tensor, shape []int64, at *int) error {
	if len(shape) == 1 {
		end := *at + int(shape[0])
		if err := d.run(t, end, at); err != nil {
			return err
		}
		if *at != end {
			return t.fault("a row of the data is shorter than the shape says")
		}
		return nil
	}
	count := int64(0)
	if err := d.elements(func() error {
		if count++; count > shape[0] {
			return t.fault("the data has more rows than the shape says")
		}
		return d.nest(t, shape[1:], at)
	}); err != nil {
		return err
	}
	if count != shape[0] {
		return t.fault("the data has fewer rows than the shape says")
	}
	return nil
}

// run reads an array of elements, which go to those of t from at on, and not to end or beyond.
func (d *decoder) run(t *Tensor, end int, at *int) error {
	if !d.take('[') {
		return d.unexpected("an array")
	}
	if d.take(']') {
		return nil
	}
	kind, i := t.Datatype.kind(), *at
	for {
		if i == end {
			return t.fault("the data has more elements than the shape says")
		}
		var err error
		switch kind {
		case floats:
			err = d.float(t, i)
		case texts:
			err = d.element(t, i)
		case ints:
			err = d.integer(t, i)
		case uints:
			err = d.unsigned(t, i)
		default:
			t.Bools[i], err = d.boolean()
		}
		if err != nil {
			return err
		}
		i++
		if i < end && d.i < len(d.text) && d.text[d.i] == ',' { // the common case of more
			d.i++
			continue
		}
		more, err := d.more()
		if err != nil {
			return err
		}
		if !more {
			*at = i
			return nil
		}
	}
}

func (d *decoder) float(t *Tensor, i int) error {
	if null, err := d.null(); null || err != nil {
		t.Floats[i] = math.NaN()
		return err
	}
	token, _, err := d.number()
	if err != nil {
		return err
	}
	bits := 64
	if t.Datatype == FP32 {
		bits = 32
	}
	v, err := strconv.ParseFloat(token, bits)
	if t.Datatype == FP16 {
		v = fromHalf(toHalf(v))
	}
	if err != nil || math.IsInf(v, 0) {
		return t.elementFault(i, "is too large for "+string(t.Datatype))
	}
	t.Floats[i] = v
	return nil
}

func (d *decoder) integer(t *Tensor, i int) error {
	d.peek()
	token, integer, err := d.number()
	if err != nil {
		return err
	}
	v, err := strconv.ParseInt(token, 10, 64)
	if err != nil || !integer || !fitsInt(v, t.Datatype.Size()) {
		return t.elementFault(i, "is no "+string(t.Datatype))
	}
	t.Ints[i] = v
	return nil
}

func (d *decoder) unsigned(t *Tensor, i int) error {
	d.peek()
	token, integer, err := d.number()
	if err != nil {
		return err
	}
	v, err := strconv.ParseUint(token, 10, 64)
	if err != nil || !integer || !fitsUint(v, t.Datatype.Size()) {
		return t.elementFault(i, "is no "+string(t.Datatype))
	}
	t.Uints[i] = v
	return nil
}

// element reads an element of BYTES: a string, or null. What has no escapes is a part of the body.
func (d *decoder) element(t *Tensor, i int) error {
	if null, err := d.null(); null || err != nil {
		return err
	}
	from, escaped, err := d.skipString()
	if err != nil {
		return err
	}
	to := d.i - 1
	if t.Texts[i] = d.body[from:to:to]; escaped {
		t.Texts[i] = unescape(d.text[from:to])
	}
	return nil
}
