package cdc

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"millrace.dev/codec"
)

// placeholders tells the values that stand for one that the database did not log. A connector writes the text of its
// setting in the form that the column's type has: as text, as bytes in one of three encodings, as arrays of texts, of bytes
// and of the numbers of its bytes, as a map, and as the identifier that a hash of it gives. A nil *placeholders knows none.
type placeholders struct {
	texts  map[string]bool // what a string says
	values map[string]bool // arrays and objects, without blanks
	least  int             // bytes in the shortest of all
	most   int             // bytes in the longest of all
	text   []byte
	value  bytes.Buffer
}

// newPlaceholders returns the forms of a text; "" stands for DefaultUnavailable.
func newPlaceholders(text string) (*placeholders, error) {
	if text == "" {
		text = DefaultUnavailable
	}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("placeholder %q for unavailable values: want UTF-8", text)
	}
	raw := []byte(text)
	base := base64.StdEncoding.EncodeToString(raw)
	id := md5.Sum(raw)
	id[6], id[8] = id[6]&0x0F|0x30, id[8]&0x3F|0x80 // version 3 of RFC 9562
	uuid := fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	numbers := make([]int, len(raw))
	for i, b := range raw {
		numbers[i] = int(int8(b)) // a byte of Java has a sign
	}
	p := &placeholders{texts: map[string]bool{}, values: map[string]bool{}, least: len(raw)}
	object := compact(map[string]string{text: text})
	for _, t := range []string{text, base, base64.URLEncoding.EncodeToString(raw), hex.EncodeToString(raw), object} {
		p.texts[t] = true
		p.most = max(p.most, len(t))
	}
	for _, v := range []any{[]string{text}, []string{base}, []string{hex.EncodeToString(raw)}, []string{uuid}, numbers} {
		p.values[compact(v)] = true
		p.most = max(p.most, len(compact(v)))
	}
	p.values[object] = true
	return p, nil
}

// compact returns the shortest JSON of a value.
func compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("cdc: " + err.Error()) // texts and integers can be written
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// is tells whether a member is such a value.
func (p *placeholders) is(value []byte) bool {
	// Each byte may be escaped, by six, and there may be blanks.
	if p == nil || len(value) < p.least || len(value) > 6*p.most+2 {
		return false
	}
	switch value[0] {
	case '"':
		p.text = codec.AppendText(p.text[:0], value)
		return p.texts[string(p.text)]
	case '[', '{':
		p.value.Reset()
		return json.Compact(&p.value, value) == nil && p.values[p.value.String()]
	default:
		return false
	}
}
