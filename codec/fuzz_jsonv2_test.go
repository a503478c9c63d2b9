//go:build goexperiment.jsonv2

package codec

import (
	"bytes"
	"encoding/json/jsontext"
	"errors"
	"io"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

// FuzzJSON holds the decoder against encoding/json/jsontext: what is accepted, and every value. They may
// differ only where the reference below adds a rule of ours: depth, size, exact integers, declared types,
// other case, the reserved field, no fields.
func FuzzJSON(f *testing.F) {
	for _, s := range jsonSeeds() {
		f.Add([]byte(s))
	}
	s := testSchema(f)
	r := newReference(s, "out")
	f.Fuzz(func(t *testing.T, data []byte) {
		b := decode(newJSON(t, s, JSONOptions{Reserved: "out", MaxBytes: 1 << 16}), s, data)
		want, why := r.decode(data)
		if len(data) > 1<<16 {
			why = "too large"
		}
		if p := b.Problem(0); (p == nil) != (why == "") {
			t.Fatalf("%+v, reference: %q", p, why)
		}
		if why == "" {
			if diff := cmp.Diff(want, row(b, 0)); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

// reference decodes records by other means.
type reference struct {
	schema                       *record.Schema
	reserved                     string
	iso, number, zero, fractions *regexp.Regexp
}

func newReference(s *record.Schema, reserved string) *reference {
	return &reference{
		schema: s, reserved: reserved, iso: isoForm(),
		number:    regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`),
		zero:      regexp.MustCompile(`^-?0(\.0+)?$`),
		fractions: regexp.MustCompile(`^(-?[1-9][0-9]*)\.0+$`),
	}
}

// decode returns the values of a record, or why it is to be rejected.
func (r *reference) decode(data []byte) (values map[string]any, why string) {
	if d, why := nestingOf(data); why != "" {
		return nil, why
	} else if d > MaxDepth {
		return nil, "too deep"
	}
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	if start, err := dec.ReadToken(); err != nil || start.Kind() != '{' {
		return nil, "not an object"
	}
	values = map[string]any{}
	present := 0
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return nil, err.Error()
		}
		name := token.String()
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err.Error()
		}
		i, declared := r.schema.Index(name)
		if name == r.reserved {
			return nil, "reserved"
		}
		if !declared {
			for i := range r.schema.Len() {
				if strings.EqualFold(r.schema.Field(i).Name, name) {
					return nil, "another case"
				}
			}
			continue
		}
		present++
		if value.Kind() == 'n' {
			continue
		}
		v, ok := r.value(r.schema.Field(i), value)
		if !ok {
			return nil, "value of " + name
		}
		values[name] = v
	}
	if present == 0 {
		return nil, "no fields"
	}
	return values, ""
}

// nestingOf returns how deep the values of data are nested, or why it is not one JSON value.
func nestingOf(data []byte) (deepest int, why string) {
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		_, err := dec.ReadToken()
		if err != nil {
			return 0, err.Error()
		}
		deepest = max(deepest, dec.StackDepth())
		if dec.StackDepth() == 0 {
			break
		}
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return 0, "trailing bytes"
	}
	return deepest, ""
}

func (r *reference) value(f record.Field, value jsontext.Value) (any, bool) {
	text := string(value)
	if value.Kind() == '"' {
		unquoted, err := jsontext.AppendUnquote(nil, value)
		if err != nil {
			return nil, false
		}
		text = string(unquoted)
	}
	switch kind := value.Kind(); f.Type {
	case record.Numeric:
		if kind != '0' && (kind != '"' || !f.Quoted) {
			return nil, false
		}
		return r.parse(text)
	case record.Enum:
		if kind == '{' || kind == '[' || kind == '0' && strings.ContainsAny(text, "eE") {
			return nil, false
		}
		return r.level(text), true
	case record.Time:
		if kind == '"' || kind == '0' && f.Layouts[0] == record.LayoutUnix {
			return r.time(f, text)
		}
		return nil, false
	default:
		return text, kind == '"'
	}
}

func (r *reference) parse(text string) (any, bool) {
	if !r.number.MatchString(text) {
		return nil, false
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, false
	}
	if !strings.ContainsAny(text, ".eE") {
		integer, _ := new(big.Int).SetString(text, 10)
		back, _ := new(big.Float).SetFloat64(v).Int(nil)
		return v, integer.Cmp(back) == 0
	}
	return v, true
}

func (r *reference) level(text string) string {
	if r.zero.MatchString(text) {
		return "0"
	}
	return r.fractions.ReplaceAllString(text, "$1")
}

func (r *reference) time(f record.Field, text string) (any, bool) {
	if f.Layouts[0] == record.LayoutUnix {
		for _, scale := range []int64{1_000_000, 1000} {
			if v, ok := r.count(text, scale); ok {
				return v, true
			}
		}
		return nil, false
	}
	if !r.iso.MatchString(text) {
		return nil, false
	}
	for _, layout := range f.Layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t.Truncate(time.Microsecond).UnixMicro(), true
		}
	}
	return nil, false
}

// count returns the floor of text times scale, if it is in the years 0 to 9999.
func (r *reference) count(text string, scale int64) (int64, bool) {
	if !r.number.MatchString(text) {
		return 0, false
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	m, _ := new(big.Rat).SetString(mantissa)
	e, err := strconv.Atoi("0" + strings.TrimLeft(exponent, "+-0"))
	switch {
	case m.Sign() == 0:
		e = 0
	case err != nil || e > 200_000: // more than the digits of any record can make up for
		e = 200_000
	}
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(e)), nil)
	if strings.HasPrefix(exponent, "-") {
		m.Quo(m, new(big.Rat).SetInt(power))
	} else {
		m.Mul(m, new(big.Rat).SetInt(power))
	}
	m.Mul(m, big.NewRat(scale, 1))
	floor := new(big.Int).Div(m.Num(), m.Denom()) // Euclidean, and the denominator is positive
	if !floor.IsInt64() || floor.Int64() < minMicros || floor.Int64() > maxMicros {
		return 0, false
	}
	return floor.Int64(), true
}
