package gbm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"millrace.dev/record"
)

// The binary form of a forest. Numbers are little-endian, without padding.
//
//	"MRGB"  magic
//	u16     version, 1 or 2
//	u8      link: 0 identity, 1 exp; of version 2 also 2 logistic
//	u8      of version 2 only: 1 if sums are of single precision, else 0
//	f64     initial value
//	u32     number of inputs, and for each
//	          u8 type (record.Numeric or record.Enum), f64 gain, text name; an enum also u32 levels and each as text
//	u32     number of trees, and for each
//	          u32 number of nodes, and for each, in preorder
//	            leaf     u8 0, f64 value
//	            numeric  u8 1, or 3 if missing goes left, u32 input, f64 threshold; of version 2 also u8 5 or 7: zeros are missing
//	            enum     u8 1, or 3 if missing goes left, u32 input, ceil(levels/64) u64 words of levels that go left
//
// where text is a u32 length and bytes. The position of a right child follows from the preorder. A forest has
// one binary form only, and nothing may follow it: it is of version 2 only if version 1 cannot say what it is, so that
// what training makes is read by programs that know version 1 alone.
const (
	formMagic   = "MRGB"
	formVersion = 1 // of what training makes
	formForeign = 2 // of what only other systems make

	tagLeaf        = 0
	tagSplit       = 1
	tagMissingLeft = 2 // added to tagSplit
	tagZeroMissing = 4 // added to tagSplit, of version 2
)

// version returns the version of the form that the forest needs.
func (f *Forest) version() uint16 {
	if f.walksOnly() || f.link > LinkExp {
		return formForeign
	}
	return formVersion
}

// MarshalBinary returns the forest's binary form: equal forests give equal bytes. The error is always nil.
func (f *Forest) MarshalBinary() ([]byte, error) {
	le := binary.LittleEndian
	b := append([]byte(nil), formMagic...)
	version := f.version()
	b = le.AppendUint16(b, version)
	b = append(b, uint8(f.link))
	if version == formForeign {
		single := byte(0)
		if f.single {
			single = 1
		}
		b = append(b, single)
	}
	b = le.AppendUint64(b, math.Float64bits(f.initial))
	b = le.AppendUint32(b, uint32(len(f.inputs)))
	for i := range f.inputs {
		c := &f.inputs[i]
		b = append(b, uint8(c.Type))
		b = le.AppendUint64(b, math.Float64bits(f.gain[i]))
		b = appendText(b, c.Name)
		if c.Type != record.Enum {
			continue
		}
		b = le.AppendUint32(b, uint32(len(c.Levels)))
		for _, l := range c.Levels {
			b = appendText(b, l)
		}
	}
	b = le.AppendUint32(b, uint32(len(f.trees)))
	for _, tree := range f.trees {
		b = le.AppendUint32(b, uint32(len(tree)))
		for i := range tree {
			b = appendNode(b, &tree[i])
		}
	}
	return b, nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}

func appendNode(b []byte, n *node) []byte {
	le := binary.LittleEndian
	if n.input == leaf {
		return le.AppendUint64(append(b, tagLeaf), math.Float64bits(n.value))
	}
	tag := byte(tagSplit)
	if n.missingLeft {
		tag += tagMissingLeft
	}
	if n.zeroMissing {
		tag += tagZeroMissing
	}
	b = le.AppendUint32(append(b, tag), uint32(n.input))
	if n.set == nil {
		return le.AppendUint64(b, math.Float64bits(n.value))
	}
	for _, w := range n.set {
		b = le.AppendUint64(b, w)
	}
	return b
}

// ReadForest reads the binary form of a forest. data is not trusted: nothing is allocated that data is too short
// for, and a forest that comes back can be scored without harm and has data as its binary form. It keeps no
// reference to data.
func ReadForest(data []byte) (*Forest, error) {
	r := &reader{rest: data}
	f, err := r.forest()
	if err == nil && len(r.rest) > 0 {
		err = fmt.Errorf("%d bytes too many", len(r.rest))
	}
	if err == nil {
		err = f.finish()
	}
	if err == nil && f.version() != r.version {
		err = fmt.Errorf("version %d of the form, and nothing that needs it", r.version)
	}
	if err != nil {
		return nil, fmt.Errorf("gbm: read forest: %w", err)
	}
	return f, nil
}

var errShort = errors.New("the data ends too early")

// reader takes numbers off the front of rest. After a read past the end, short is set and reads return 0.
type reader struct {
	rest    []byte
	short   bool
	version uint16 // of the form
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.short, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) f64() float64 { return math.Float64frombits(r.u64()) }

// count reads a number of things of which each takes at least size bytes.
func (r *reader) count(what string, limit, size int) (int, error) {
	n := int64(r.u32())
	switch {
	case r.short:
		return 0, errShort
	case n > int64(limit):
		return 0, fmt.Errorf("%d %s: at most %d are allowed", n, what, limit)
	case n*int64(size) > int64(len(r.rest)):
		return 0, fmt.Errorf("%d %s do not fit into the %d bytes left", n, what, len(r.rest))
	}
	return int(n), nil
}

func (r *reader) text() (string, error) {
	n, err := r.count("bytes of text", math.MaxInt32, 1)
	if err != nil {
		return "", err
	}
	return string(r.take(n)), nil
}

func (r *reader) forest() (*Forest, error) {
	if !bytes.Equal(r.take(len(formMagic)), []byte(formMagic)) {
		return nil, errors.New("it is not a forest")
	}
	if r.version = r.u16(); r.version != formVersion && r.version != formForeign {
		return nil, fmt.Errorf("version %d of the form: this program reads up to version %d", r.version, formForeign)
	}
	f := &Forest{link: Link(r.u8())}
	if f.link > LinkLogistic || f.link > LinkExp && r.version == formVersion {
		return nil, fmt.Errorf("no such link: %d", f.link)
	}
	if r.version == formForeign {
		single := r.u8()
		if single > 1 {
			return nil, fmt.Errorf("no such precision: %d", single)
		}
		f.single = single == 1
	}
	f.initial = r.f64()
	n, err := r.count("inputs", maxInputs, 1+8+4)
	if err != nil {
		return nil, err
	}
	f.inputs, f.gain = make([]record.Column, n), make([]float64, n)
	for i := range f.inputs {
		if f.inputs[i], f.gain[i], err = r.input(); err != nil {
			return nil, fmt.Errorf("input %d: %w", i, err)
		}
	}
	if n, err = r.count("trees", math.MaxInt32, 4+9); err != nil {
		return nil, err
	}
	f.trees = make([][]node, n)
	for i := range f.trees {
		if f.trees[i], err = r.tree(f.inputs); err != nil {
			return nil, fmt.Errorf("tree %d: %w", i, err)
		}
	}
	return f, nil
}

func (r *reader) input() (c record.Column, gain float64, err error) {
	c.Type, gain = record.Type(r.u8()), r.f64()
	if c.Name, err = r.text(); err != nil || c.Type != record.Enum {
		return c, gain, err
	}
	n, err := r.count("levels", maxLevels, 4)
	if err != nil {
		return c, gain, err
	}
	if n > 0 {
		c.Levels = make([]string, n)
	}
	for i := range c.Levels {
		if c.Levels[i], err = r.text(); err != nil {
			return c, gain, err
		}
	}
	return c, gain, nil
}

func (r *reader) tree(inputs []record.Column) ([]node, error) {
	n, err := r.count("nodes", math.MaxInt32, 5)
	if err != nil {
		return nil, err
	}
	tree := make([]node, n)
	for i := range tree {
		if err := r.node(&tree[i], inputs); err != nil {
			return nil, fmt.Errorf("node %d: %w", i, err)
		}
	}
	setRight(tree)
	return tree, nil
}

// setRight finds the right children of a tree in preorder: each comes where its sibling's subtree ends.
func setRight(tree []node) {
	var open []int // splits whose right child is still to come, innermost last
	for i := range tree {
		if tree[i].input != leaf {
			open = append(open, i)
		} else if k := len(open) - 1; k >= 0 {
			tree[open[k]].right = int32(i + 1)
			open = open[:k]
		}
	}
}

func (r *reader) node(n *node, inputs []record.Column) error {
	tag := r.u8()
	if tag == tagLeaf {
		n.input, n.value = leaf, r.f64()
		return r.end()
	}
	if tag&^(tagMissingLeft|tagZeroMissing) != tagSplit || tag&tagZeroMissing != 0 && r.version == formVersion {
		return fmt.Errorf("no such kind of node: %d", tag)
	}
	n.missingLeft, n.zeroMissing = tag&tagMissingLeft != 0, tag&tagZeroMissing != 0
	in := r.u32()
	if int64(in) >= int64(len(inputs)) {
		return fmt.Errorf("no such input: %d", in)
	}
	n.input = int32(in)
	if inputs[in].Type != record.Enum {
		n.value = r.f64()
		return r.end()
	}
	words := setWords(len(inputs[in].Levels))
	if words*8 > len(r.rest) {
		return errShort
	}
	n.set = make(bitSet, words)
	for i := range n.set {
		n.set[i] = r.u64()
	}
	return r.end()
}

func (r *reader) end() error {
	if r.short {
		return errShort
	}
	return nil
}
