package codec

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"millrace.dev/record"
)

// Span is where a value stands in the bytes of an object. The zero Span is that of a member that is not there.
type Span struct{ From, To int }

// Of returns the bytes of the value, or nil if there is none.
func (s Span) Of(object []byte) []byte {
	if s.To == 0 {
		return nil
	}
	return object[s.From:s.To]
}

// Members finds members of JSON objects without decoding them, for records that wrap a row in an object of their own.
// Objects are checked as strictly as a [JSON] decoder checks undeclared fields, at every depth. It does not allocate
// once it has seen the objects of the feed. It is for one goroutine at a time.
type Members struct {
	index map[string]int
	check JSON // for its grammar and the keys of the object alone
}

// NewMembers returns what finds the members of these names in objects of at most maxBytes bytes (0: DefaultMaxBytes).
func NewMembers(maxBytes int, names ...string) (*Members, error) {
	largest, err := checkMaxBytes(maxBytes)
	if err != nil {
		return nil, err
	}
	m := &Members{index: make(map[string]int, len(names)), check: JSON{max: largest, set: newKeySet()}}
	for i, name := range names {
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("codec: the member's name %q is not UTF-8", name)
		}
		if _, dup := m.index[name]; dup {
			return nil, errors.New("codec: a member is named twice")
		}
		m.index[name] = i
	}
	return m, nil
}

// Find sets spans, one a name in the order of [NewMembers], to the values in object, and returns how many members the
// object has, the unnamed ones too. A fault is a problem of stage decode with the class that a [JSON] decoder gives it.
func (m *Members) Find(object []byte, spans []Span) (count int, p *record.Problem) {
	clear(spans)
	return m.walk(object, spans, nil)
}

// Each calls see with the name and the place of every member of object, in its order. The name is valid until see
// returns. After a fault, which is as [Members.Find] says, some members may have been seen.
func (m *Members) Each(object []byte, see func(name []byte, at Span)) *record.Problem {
	_, p := m.walk(object, nil, see)
	return p
}

func (m *Members) walk(object []byte, spans []Span, see func([]byte, Span)) (count int, p *record.Problem) {
	d := &m.check
	d.fault, d.objects = fault{}, 0
	d.set.reset()
	i, ok := d.open(object)
	if !ok {
		return 0, m.problem()
	}
	if i = skipSpace(object, i); i < len(object) && object[i] == '}' {
		i++
	} else {
		for more := true; more; count++ {
			if i = m.member(object, i, spans, see); i < 0 {
				return 0, m.problem()
			}
			if i, more = d.next(object, i, '}'); i < 0 {
				return 0, m.problem()
			}
		}
	}
	if i = skipSpace(object, i); i < len(object) {
		d.fault.set(ClassTrailingBytes, "", i, "something follows the object")
		return 0, m.problem()
	}
	return count, nil
}

func (m *Members) problem() *record.Problem {
	p := m.check.fault.problem()
	return &p
}

// member reads one member and returns the offset after its value; -1 on a fault.
func (m *Members) member(object []byte, i int, spans []Span, see func([]byte, Span)) int {
	d, at := &m.check, i
	name, i := d.name(object, i)
	if i < 0 {
		return -1
	}
	if !d.set.add(0, name) {
		d.fault.set(ClassDuplicateKey, "", at, "the object has this key twice")
		return -1
	}
	which, wanted := m.index[string(name)]
	from := skipBlank(object, i)
	to := d.skip(object, from, 1)
	switch {
	case to < 0:
	case see != nil:
		see(name, Span{from, to})
	case wanted:
		spans[which] = Span{from, to}
	}
	return to
}

// AppendText appends what a JSON string says, whose bytes, with the quotes, are those of a span that [Members] found.
func AppendText(dst, value []byte) []byte { return unescape(dst, value[1:len(value)-1]) }

// Level returns the level of an enum that the text of a value stands for: the one spelling that all the spellings of an
// integer share. It is text, or a part of it.
func Level(text []byte) []byte { return canonicalLevel(text) }
