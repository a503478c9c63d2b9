package codec

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

// testSchema has a field of each type, with the variations that decoding knows.
func testSchema(tb testing.TB) *record.Schema {
	tb.Helper()
	return newSchema(
		tb,
		record.Field{Name: "n", Type: record.Numeric},
		record.Field{Name: "q", Type: record.Numeric, Quoted: true},
		record.Field{Name: "e", Type: record.Enum},
		record.Field{Name: "t", Type: record.Time},
		record.Field{Name: "u", Type: record.Time, Layouts: []string{"unix", "unix_ms"}},
		record.Field{Name: "s", Type: record.String},
		record.Field{Name: "price", Type: record.Numeric},
		record.Field{Name: "Größe", Type: record.Numeric},
	)
}

// row is what a batch holds of one row, in a form that can be compared.
func row(b *record.Batch, i int) map[string]any {
	m := map[string]any{}
	for f := range b.Schema().Len() {
		name := b.Schema().Field(f).Name
		switch b.Schema().Field(f).Type {
		case record.Numeric:
			if v := b.Numbers(f)[i]; !math.IsNaN(v) {
				m[name] = v
			}
		case record.Enum:
			if c := b.Codes(f)[i]; c != record.MissingCode {
				m[name] = b.Dict(f).Level(c)
			}
		case record.Time:
			if t := b.Times(f)[i]; t != record.MissingTime {
				m[name] = t
			}
		case record.String:
			if !b.Texts(f).Missing(i) {
				m[name] = string(b.Texts(f).At(i))
			}
		}
	}
	return m
}

func newJSON(tb testing.TB, s *record.Schema, o JSONOptions) *JSON {
	tb.Helper()
	d, err := NewJSON(s, o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func decode(d Decoder, s *record.Schema, values ...[]byte) *record.Batch {
	b := record.NewBatch(s, nil)
	fill(b, values)
	d.Decode(b)
	return b
}

func nested(n int, open, middle, end string) string {
	return strings.Repeat(open, n) + middle + strings.Repeat(end, n)
}

func TestJSONAccepts(t *testing.T) {
	t.Parallel()
	type values = map[string]any
	for name, c := range map[string]struct {
		in   string
		want values
	}{
		"each type":             {`{"n":1.5,"q":"2","e":"a","t":"2014-05-02","u":7,"s":"x"}`, values{"n": 1.5, "q": 2.0, "e": "a", "t": int64(1398988800e6), "u": int64(7e6), "s": "x"}},
		"another order":         {`{"s":"x","e":"a","n":-1}`, values{"n": -1.0, "e": "a", "s": "x"}},
		"white space":           {" \t\r\n{ \"n\" :\t1 , \"s\"\n:\r\"x\" } \n", values{"n": 1.0, "s": "x"}},
		"null":                  {`{"n":null,"q":null,"e":null,"t":null,"u":null,"s":null}`, values{}},
		"escaped key":           {`{"\u006e":1,"pr\u0069ce":2}`, values{"n": 1.0, "price": 2.0}},
		"key not ASCII":         {`{"Größe":1}`, values{"Größe": 1.0}},
		"key not ASCII escaped": {`{"Gr\u00f6\u00dfe":1}`, values{"Größe": 1.0}},
		"escapes":               {`{"s":"\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac\uD83D\ude00"}`, values{"s": "\"\\/\b\f\n\r\tAé€😀"}},
		"text not ASCII":        {`{"s":"é€😀, and more of it","e":"Zürich"}`, values{"s": "é€😀, and more of it", "e": "Zürich"}},
		"NUL":                   {`{"s":"\u0000"}`, values{"s": "\x00"}},
		"non-characters":        {`{"s":"\uffff\ufffd` + "\ufffd" + `"}`, values{"s": "\uffff\ufffd\ufffd"}},
		"empty texts":           {`{"s":"","e":""}`, values{"s": "", "e": ""}},
		"minus zero":            {`{"n":-0,"e":-0}`, values{"n": math.Copysign(0, -1), "e": "0"}},
		"exponents":             {`{"n":1e3,"price":25E-1,"q":"1.5e+2"}`, values{"n": 1000.0, "price": 2.5, "q": 150.0}},
		"2^53":                  {`{"n":9007199254740992,"price":-9007199254740992}`, values{"n": 9007199254740992.0, "price": -9007199254740992.0}},
		"large and exact":       {`{"n":9007199254740994,"price":1180591620717411303424}`, values{"n": 9007199254740994.0, "price": 1180591620717411303424.0}},
		"large with fraction":   {`{"n":9007199254740993.0}`, values{"n": 9007199254740992.0}},
		"largest":               {`{"n":1.7976931348623157e308}`, values{"n": math.MaxFloat64}},
		"underflow":             {`{"n":1e-400}`, values{"n": 0.0}},
		"smallest":              {`{"n":5e-324}`, values{"n": math.SmallestNonzeroFloat64}},
		"enum from number":      {`{"e":4}`, values{"e": "4"}},
		"enum from 4.0":         {`{"e":4.0}`, values{"e": "4"}},
		"enum from -4.00":       {`{"e":-4.00}`, values{"e": "-4"}},
		"enum from text 4.0":    {`{"e":"4.0"}`, values{"e": "4"}},
		"enum from 1.50":        {`{"e":1.50}`, values{"e": "1.50"}},
		"enum from text 04":     {`{"e":"04"}`, values{"e": "04"}},
		"enum from large":       {`{"e":123456789012345678901234567890}`, values{"e": "123456789012345678901234567890"}},
		"enum from boolean":     {`{"e":true}`, values{"e": "true"}},
		"unix fraction":         {`{"u":1398988800.1234567}`, values{"u": int64(1398988800123456)}},
		"unix exponent":         {`{"u":1.3989888E9}`, values{"u": int64(1398988800e6)}},
		"unix_ms":               {`{"u":1398988800123}`, values{"u": int64(1398988800123000)}},
		"unix text":             {`{"u":"-1"}`, values{"u": int64(-1e6)}},
		"unix negative":         {`{"u":-0.0000001}`, values{"u": int64(-1)}},
		"RFC 3339":              {`{"t":"2014-05-02T01:02:03.5-07:00"}`, values{"t": int64(1399017723500000)}},
		"skipped values":        {`{"n":1,"x":{"a":[1,-0.5e+3,true,false,null,"\u00e9",{},[]]},"y":1e400,"z":{"a":1}}`, values{"n": 1.0}},
		"same key elsewhere":    {`{"n":1,"x":{"n":1,"x":{"n":1}},"y":[{"n":1},{"n":1}]}`, values{"n": 1.0}},
		"deepest":               {`{"n":1,"x":` + nested(MaxDepth-1, "[", "", "]") + `}`, values{"n": 1.0}},
		"another case inside":   {`{"n":1,"x":{"N":1}}`, values{"n": 1.0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testSchema(t)
			b := decode(newJSON(t, s, JSONOptions{Reserved: "out"}), s, []byte(c.in), []byte(c.in))
			for i := range b.Len() { // the second time the keys are known
				if p := b.Problem(i); p != nil {
					t.Fatalf("row %d: %+v", i, p)
				}
				if diff := cmp.Diff(c.want, row(b, i)); diff != "" {
					t.Errorf("row %d: %s", i, diff)
				}
			}
		})
	}
}

func TestJSONRejects(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, class, field string }{
		"empty":                     {"", ClassInvalidJSON, ""},
		"blank":                     {" \n", ClassInvalidJSON, ""},
		"byte order mark":           {"\xef\xbb\xbf{\"n\":1}", ClassInvalidJSON, ""},
		"UTF-16":                    {"{\x00\"\x00n\x00", ClassInvalidJSON, ""},
		"top null":                  {"null", ClassNotObject, ""},
		"top array":                 {`[{"n":1}]`, ClassNotObject, ""},
		"top string":                {`"n"`, ClassNotObject, ""},
		"top number":                {`1`, ClassNotObject, ""},
		"top nonsense":              {`n:1`, ClassInvalidJSON, ""},
		"no fields":                 {`{}`, ClassNoFields, ""},
		"only others":               {`{"x":1}`, ClassNoFields, ""},
		"trailing bytes":            {`{"n":1}x`, ClassTrailingBytes, ""},
		"two records":               {`{"n":1}{"n":1}`, ClassTrailingBytes, ""},
		"trailing NUL":              {"{\"n\":1}\x00", ClassTrailingBytes, ""},
		"cut after brace":           {`{`, ClassInvalidJSON, ""},
		"cut in key":                {`{"n`, ClassInvalidJSON, ""},
		"cut after key":             {`{"n"`, ClassInvalidJSON, ""},
		"cut after colon":           {`{"n":`, ClassInvalidJSON, "n"},
		"cut after value":           {`{"n":1`, ClassInvalidJSON, ""},
		"cut after comma":           {`{"n":1,`, ClassInvalidJSON, ""},
		"cut in string":             {`{"s":"abc`, ClassInvalidJSON, "s"},
		"cut in escape":             {`{"s":"abc\`, ClassInvalidJSON, "s"},
		"cut in \\u":                {`{"s":"\u00`, ClassInvalidJSON, "s"},
		"trailing comma":            {`{"n":1,}`, ClassInvalidJSON, ""},
		"two commas":                {`{"n":1,,"s":""}`, ClassInvalidJSON, ""},
		"no comma":                  {`{"n":1 "s":""}`, ClassInvalidJSON, ""},
		"no colon":                  {`{"n" 1}`, ClassInvalidJSON, ""},
		"key without quotes":        {`{n:1}`, ClassInvalidJSON, ""},
		"single quotes":             {`{'n':1}`, ClassInvalidJSON, ""},
		"predicted key unquoted":    {`{"n":1,other1}`, ClassInvalidJSON, ""},
		"start of a key table":      {`{start1}`, ClassInvalidJSON, ""},
		"comment":                   {`{"n":1/**/}`, ClassInvalidJSON, ""},
		"closing bracket":           {`{"n":1]`, ClassInvalidJSON, ""},
		"array trailing comma":      {`{"n":1,"x":[1,]}`, ClassInvalidJSON, ""},
		"array unclosed":            {`{"n":1,"x":[1}`, ClassInvalidJSON, ""},
		"form feed":                 {"{\"n\":1,\f\"s\":\"\"}", ClassInvalidJSON, ""},
		"no-break space":            {"{\u00a0\"n\":1}", ClassInvalidJSON, ""},
		"leading zero":              {`{"n":01}`, ClassInvalidJSON, "n"},
		"leading zeros":             {`{"n":-00}`, ClassInvalidJSON, "n"},
		"no digit after point":      {`{"n":1.}`, ClassInvalidJSON, "n"},
		"no digit before point":     {`{"n":.5}`, ClassInvalidJSON, "n"},
		"plus":                      {`{"n":+1}`, ClassInvalidJSON, "n"},
		"minus alone":               {`{"n":-}`, ClassInvalidJSON, "n"},
		"exponent alone":            {`{"n":1e}`, ClassInvalidJSON, "n"},
		"hexadecimal":               {`{"n":0x10}`, ClassInvalidJSON, ""},
		"underscore":                {`{"n":1_0}`, ClassInvalidJSON, ""},
		"NaN":                       {`{"n":NaN}`, ClassInvalidJSON, "n"},
		"nan":                       {`{"n":nan}`, ClassInvalidJSON, "n"},
		"Infinity":                  {`{"n":Infinity}`, ClassInvalidJSON, "n"},
		"-Infinity":                 {`{"n":-Infinity}`, ClassInvalidJSON, "n"},
		"True":                      {`{"e":True}`, ClassInvalidJSON, "e"},
		"nul":                       {`{"n":nul}`, ClassInvalidJSON, "n"},
		"leading zero skipped":      {`{"n":1,"x":01}`, ClassInvalidJSON, ""},
		"NaN skipped":               {`{"n":1,"x":NaN}`, ClassInvalidJSON, ""},
		"control character":         {"{\"s\":\"a\x01\"}", ClassInvalidJSON, "s"},
		"raw line end":              {"{\"s\":\"a\n\"}", ClassInvalidJSON, "s"},
		"bad escape":                {`{"s":"\x41"}`, ClassInvalidJSON, "s"},
		"bad \\u":                   {`{"s":"\u12g4"}`, ClassInvalidJSON, "s"},
		"invalid UTF-8":             {"{\"s\":\"a\xff\"}", ClassInvalidUTF8, "s"},
		"Latin-1":                   {"{\"s\":\"Z\xfcrich\"}", ClassInvalidUTF8, "s"},
		"overlong":                  {"{\"s\":\"\xc0\xaf\"}", ClassInvalidUTF8, "s"},
		"surrogate as UTF-8":        {"{\"s\":\"\xed\xa0\x80\"}", ClassInvalidUTF8, "s"},
		"rune cut by quote":         {"{\"s\":\"\xe2\x82\"}", ClassInvalidUTF8, "s"},
		"invalid UTF-8 skipped":     {"{\"n\":1,\"x\":\"\xff\"}", ClassInvalidUTF8, ""},
		"invalid UTF-8 in key":      {"{\"n\":1,\"\xff\":1}", ClassInvalidUTF8, ""},
		"high surrogate":            {`{"s":"\ud800"}`, ClassInvalidUTF8, "s"},
		"high surrogate and text":   {`{"s":"\ud800abcdef"}`, ClassInvalidUTF8, "s"},
		"two high surrogates":       {`{"s":"\ud800\ud800"}`, ClassInvalidUTF8, "s"},
		"low surrogate":             {`{"s":"\udc00"}`, ClassInvalidUTF8, "s"},
		"surrogate skipped":         {`{"n":1,"x":"\udfff"}`, ClassInvalidUTF8, ""},
		"duplicate":                 {`{"n":1,"n":1}`, ClassDuplicateKey, "n"},
		"duplicate later":           {`{"n":1,"s":"","e":"a","n":1}`, ClassDuplicateKey, "n"},
		"duplicate by escape":       {`{"n":1,"\u006e":1}`, ClassDuplicateKey, "n"},
		"duplicate null":            {`{"n":null,"n":1}`, ClassDuplicateKey, "n"},
		"duplicate undeclared":      {`{"n":1,"x":1,"x":1}`, ClassDuplicateKey, ""},
		"duplicate undeclared esc":  {`{"n":1,"x":1,"\u0078":1}`, ClassDuplicateKey, ""},
		"duplicate empty":           {`{"n":1,"":1,"":1}`, ClassDuplicateKey, ""},
		"duplicate long":            {`{"n":1,"` + strings.Repeat("x", 500) + `":1,"` + strings.Repeat("x", 500) + `":1}`, ClassDuplicateKey, ""},
		"duplicate inside":          {`{"n":1,"x":{"a":1,"b":1,"a":1}}`, ClassDuplicateKey, ""},
		"duplicate inside array":    {`{"n":1,"x":[[{"a":1,"\u0061":1}]]}`, ClassDuplicateKey, ""},
		"wrong case":                {`{"n":1,"PRICE":1}`, ClassWrongCase, "price"},
		"wrong case only":           {`{"Price":1}`, ClassWrongCase, "price"},
		"wrong case escaped":        {`{"\u0050rice":1}`, ClassWrongCase, "price"},
		"wrong case not ASCII":      {`{"GRÖßE":1}`, ClassWrongCase, "Größe"},
		"wrong case Kelvin":         {`{"ſ":1}`, ClassWrongCase, "s"}, // U+017F folds to s
		"too deep array":            {`{"n":1,"x":` + nested(MaxDepth, "[", "", "]") + `}`, ClassTooDeep, ""},
		"too deep object":           {nested(MaxDepth+1, `{"n":`, "1", "}"), ClassTooDeep, "n"},
		"too deep object skipped":   {`{"n":1,"x":` + nested(MaxDepth, `{"x":`, "1", "}") + `}`, ClassTooDeep, ""},
		"far too deep":              {nested(100_000, "[", "", ""), ClassTooDeep, ""},
		"number too large":          {`{"n":1e400}`, ClassOutOfRange, "n"},
		"number too small":          {`{"n":-1e309}`, ClassOutOfRange, "n"},
		"2^53+1":                    {`{"n":9007199254740993}`, ClassOutOfRange, "n"},
		"-(2^53+1)":                 {`{"n":-9007199254740993}`, ClassOutOfRange, "n"},
		"largest int64":             {`{"n":9223372036854775807}`, ClassOutOfRange, "n"},
		"2^70+1":                    {`{"n":1180591620717411303425}`, ClassOutOfRange, "n"},
		"quoted 2^53+1":             {`{"q":"9007199254740993"}`, ClassOutOfRange, "q"},
		"number as string":          {`{"n":"1"}`, ClassWrongType, "n"},
		"number as boolean":         {`{"n":true}`, ClassWrongType, "n"},
		"number as object":          {`{"n":{}}`, ClassWrongType, "n"},
		"number as array":           {`{"n":[1]}`, ClassWrongType, "n"},
		"quoted empty":              {`{"q":""}`, ClassInvalidNumber, "q"},
		"quoted blank":              {`{"q":" 1"}`, ClassInvalidNumber, "q"},
		"quoted 01":                 {`{"q":"01"}`, ClassInvalidNumber, "q"},
		"quoted NaN":                {`{"q":"NaN"}`, ClassInvalidNumber, "q"},
		"quoted 1e400":              {`{"q":"1e400"}`, ClassOutOfRange, "q"},
		"enum as object":            {`{"e":{"a":1}}`, ClassWrongType, "e"},
		"enum as array":             {`{"e":["a"]}`, ClassWrongType, "e"},
		"enum with exponent":        {`{"e":1e2}`, ClassWrongType, "e"},
		"enum bad number":           {`{"e":01}`, ClassInvalidJSON, "e"},
		"string as number":          {`{"s":1}`, ClassWrongType, "s"},
		"string as boolean":         {`{"s":false}`, ClassWrongType, "s"},
		"time as number":            {`{"t":1398988800}`, ClassWrongType, "t"},
		"time as boolean":           {`{"t":true}`, ClassWrongType, "t"},
		"time as object":            {`{"u":{}}`, ClassWrongType, "u"},
		"time nonsense":             {`{"t":"yesterday"}`, ClassInvalidTime, "t"},
		"time empty":                {`{"t":""}`, ClassInvalidTime, "t"},
		"no such day":               {`{"t":"2014-02-29"}`, ClassInvalidTime, "t"},
		"unix text nonsense":        {`{"u":"2014-05-02"}`, ClassInvalidTime, "u"},
		"unix far":                  {`{"u":1e15}`, ClassOutOfRange, "u"},
		"unix bad number":           {`{"u":1.}`, ClassInvalidJSON, "u"},
		"reserved":                  {`{"n":1,"out":1}`, ClassFieldExists, "out"},
		"reserved null":             {`{"out":null,"n":1}`, ClassFieldExists, "out"},
		"reserved escaped":          {`{"n":1,"\u006fut":1}`, ClassFieldExists, "out"},
		"bad value of a later name": {`{"n":1,"s":}`, ClassInvalidJSON, "s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testSchema(t)
			good := `{"n":1,"s":"","e":"a"}`
			b := decode(newJSON(t, s, JSONOptions{Reserved: "out"}), s, []byte(c.in), []byte(good), []byte(c.in), []byte(good))
			for _, i := range []int{0, 2} {
				p := b.Problem(i)
				if p == nil {
					t.Fatalf("row %d was accepted: %v", i, row(b, i))
				}
				if p.Stage != record.StageDecode || p.Class != c.class || p.Field != c.field || p.Reason == "" {
					t.Errorf("row %d: %+v", i, *p)
				}
				if m := row(b, i); len(m) > 0 {
					t.Errorf("row %d has values: %v", i, m)
				}
			}
			for _, i := range []int{1, 3} {
				if p := b.Problem(i); p != nil {
					t.Errorf("the good row %d: %+v", i, *p)
				}
			}
		})
	}
}

func TestJSONNullAndSize(t *testing.T) {
	t.Parallel()
	s := testSchema(t)
	const bound = 20
	fits := []byte(`{"n":1}             `)
	b := decode(newJSON(t, s, JSONOptions{MaxBytes: bound}), s, nil, fits, append(fits, ' '))
	if p := b.Problem(0); p == nil || p.Class != ClassNullValue {
		t.Errorf("null value: %+v", p)
	}
	if p := b.Problem(1); len(fits) != bound || p != nil {
		t.Errorf("%d bytes: %+v", len(fits), p)
	}
	if p := b.Problem(2); p == nil || p.Class != ClassTooLarge {
		t.Errorf("%d bytes: %+v", bound+1, p)
	}
}

func TestJSONRequired(t *testing.T) {
	t.Parallel()
	s := newSchema(t, record.Field{Name: "a", Type: record.Numeric, Required: true}, record.Field{Name: "b", Type: record.String, Required: true})
	d := newJSON(t, s, JSONOptions{Reserved: "b"}) // the target need not be there, although the schema has it
	b := decode(d, s, []byte(`{"a":1}`), []byte(`{"a":null}`), []byte(`{"c":1}`), []byte(`{"a":1,"b":"x"}`))
	for i, want := range []string{"", ClassMissingField, ClassNoFields, ClassFieldExists} {
		if got := class(b, i); got != want {
			t.Errorf("row %d: %q, want %q", i, got, want)
		}
	}
	b = decode(newJSON(t, s, JSONOptions{}), s, []byte(`{"a":1}`), []byte(`{"a":1,"b":""}`), []byte(`{"b":"","a":1}`))
	for i, want := range []string{ClassMissingField, "", ""} {
		if got := class(b, i); got != want {
			t.Errorf("row %d: %q, want %q", i, got, want)
		}
	}
}

func class(b *record.Batch, i int) string {
	if p := b.Problem(i); p != nil {
		return p.Class
	}
	return ""
}

func TestJSONReasonHasNoValue(t *testing.T) {
	t.Parallel()
	s := testSchema(t)
	const secret = "hunter2"
	for _, in := range []string{
		`{"n":"` + secret + `"}`, `{"` + secret + `":1,"` + secret + `":1}`, `{"t":"` + secret + `"}`, `{"q":"` + secret + `"}`,
		`{"s":"` + secret + `\x"}`, `{"n":1} ` + secret, `{"e":` + secret + `}`, `{"x":{"` + secret + `":1,"` + secret + `":1}}`,
	} {
		p := decode(newJSON(t, s, JSONOptions{}), s, []byte(in)).Problem(0)
		if p == nil || strings.Contains(fmt.Sprintf("%+v", *p), secret) || !strings.HasPrefix(p.Reason, "byte ") {
			t.Errorf("%s: %+v", in, p)
		}
	}
}

func TestJSONOffset(t *testing.T) {
	t.Parallel()
	s := testSchema(t)
	for in, want := range map[string]string{
		`{"n":1,"n":2}`:        "byte 7: ",
		`{"n": "1"}`:           "byte 6: ",
		`{"n":1} x`:            "byte 8: ",
		`{"n":01}`:             "byte 6: ",
		`{"n":1,"s":"abc\x"}`:  "byte 15: ",
		`{"n":1,"x":{"a":nil}`: "byte 16: ",
		`{"n":1`:               "byte 6: ",
	} {
		p := decode(newJSON(t, s, JSONOptions{}), s, []byte(in)).Problem(0)
		if p == nil || !strings.HasPrefix(p.Reason, want) {
			t.Errorf("%s: %+v, want %q", in, p, want)
		}
	}
}

func TestJSONSkipsRejected(t *testing.T) {
	t.Parallel()
	s := testSchema(t)
	b := record.NewBatch(s, nil)
	b.Append(record.Raw{Value: []byte(`{"n":1}`)})
	b.Reject(0, record.Problem{Stage: record.StageProduce, Class: "other"})
	newJSON(t, s, JSONOptions{}).Decode(b)
	if class(b, 0) != "other" || len(row(b, 0)) > 0 {
		t.Errorf("%+v %v", b.Problem(0), row(b, 0))
	}
}

func TestNewJSONRefuses(t *testing.T) {
	t.Parallel()
	timed := func(layouts ...string) *record.Schema {
		return newSchema(t, record.Field{Name: "t", Type: record.Time, Layouts: layouts})
	}
	for name, c := range map[string]struct {
		s *record.Schema
		o JSONOptions
	}{
		"bound below 0":        {testSchema(t), JSONOptions{MaxBytes: -1}},
		"bound too large":      {testSchema(t), JSONOptions{MaxBytes: largestMaxBytes + 1}},
		"reserved not UTF-8":   {testSchema(t), JSONOptions{Reserved: "\xff"}},
		"layout without date":  {timed("15:04:05"), JSONOptions{}},
		"layout without year":  {timed("01-02"), JSONOptions{}},
		"layout of words":      {timed("yesterday"), JSONOptions{}},
		"layout abbreviation":  {timed("2006-01-02 15:04 MST"), JSONOptions{}},
		"layout twelve hours":  {timed("2006-01-02 03:04"), JSONOptions{}},
		"one of several wrong": {timed("2006-01-02", "2006"), JSONOptions{}},
	} {
		if _, err := NewJSON(c.s, c.o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
