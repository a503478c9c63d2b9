package codec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

func newCSV(tb testing.TB, s *record.Schema, header string, o CSVOptions) *CSV {
	tb.Helper()
	d, err := NewCSV(s, strings.Split(header, ","), o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func TestCSVAccepts(t *testing.T) {
	t.Parallel()
	type values = map[string]any
	for name, c := range map[string]struct {
		header, in string
		o          CSVOptions
		want       values
	}{
		"each type":           {"n,e,t,u,s", "1.5,a,2014-05-02,7,x", CSVOptions{}, values{"n": 1.5, "e": "a", "t": int64(1398988800e6), "u": int64(7e6), "s": "x"}},
		"another order":       {"s,x,n", "a,b,1", CSVOptions{}, values{"s": "a", "n": 1.0}},
		"undeclared quoted":   {"x,n", `"a,""b""` + "\n" + `",1`, CSVOptions{}, values{"n": 1.0}},
		"empty cells":         {"n,e,t,u,s,price", ",,,,,1", CSVOptions{}, values{"price": 1.0}},
		"empty quoted":        {"e,s,n", `"","",1`, CSVOptions{}, values{"n": 1.0}},
		"quoted":              {"n,e,s", `"1","a b","x,y"`, CSVOptions{}, values{"n": 1.0, "e": "a b", "s": "x,y"}},
		"doubled quotes":      {"s,e,n", `"a""b","""","1"`, CSVOptions{}, values{"s": `a"b`, "e": `"`, "n": 1.0}},
		"only quotes":         {"s,n", `"""""",1`, CSVOptions{}, values{"s": `""`, "n": 1.0}},
		"line ends in quotes": {"s,n", "\"a\r\nb\n\",1", CSVOptions{}, values{"s": "a\r\nb\n", "n": 1.0}},
		"line end after":      {"s,n", "a,1\n", CSVOptions{}, values{"s": "a", "n": 1.0}},
		"CRLF after":          {"s,n", "a,1\r\n", CSVOptions{}, values{"s": "a", "n": 1.0}},
		"semicolon":           {"s,n,e", "a,b;1;\"c;d\"", CSVOptions{Comma: ';'}, values{"s": "a,b", "n": 1.0, "e": "c;d"}},
		"tab":                 {"s,n,e", "a b,c\t1\td", CSVOptions{Comma: '\t'}, values{"s": "a b,c", "n": 1.0, "e": "d"}},
		"control characters":  {"s,n,e", "a\x01\tb,1,\x00", CSVOptions{}, values{"s": "a\x01\tb", "n": 1.0, "e": "\x00"}},
		"not ASCII":           {"s,n,e", "äöü€😀 and more,1,Zürich", CSVOptions{}, values{"s": "äöü€😀 and more", "n": 1.0, "e": "Zürich"}},
		"blanks are kept":     {"s,n,e", " a ,1, b", CSVOptions{}, values{"s": " a ", "n": 1.0, "e": " b"}},
		"missing texts":       {"n,q,t,u,price,s", "NA,NaN,null,NULL,nan,x", CSVOptions{}, values{"s": "x"}},
		"not missing":         {"e,s", "NA,null", CSVOptions{}, values{"e": "NA", "s": "null"}},
		"own missing texts":   {"n,q,e,s", "-999,?,?,-", CSVOptions{Missing: []string{"-999", "?"}, MissingLevels: []string{"?", "-"}}, values{}},
		"a number like one":   {"n,q", "-99,-9990", CSVOptions{Missing: []string{"-999"}}, values{"n": -99.0, "q": -9990.0}},
		"enum 4.0":            {"e,n", "4.0,4.0", CSVOptions{}, values{"e": "4", "n": 4.0}},
		"enum -0.00":          {"e", "-0.00", CSVOptions{}, values{"e": "0"}},
		"enum 04.0":           {"e", "04.0", CSVOptions{}, values{"e": "04.0"}},
		"enum 1.10":           {"e", "1.10", CSVOptions{}, values{"e": "1.10"}},
		"enum 1e10":           {"e", "1e10", CSVOptions{}, values{"e": "1e10"}},
		"enum true":           {"e", "true", CSVOptions{}, values{"e": "true"}},
		"exponent":            {"n", "-1.5E+3", CSVOptions{}, values{"n": -1500.0}},
		"unix_ms":             {"u", "1398988800123", CSVOptions{}, values{"u": int64(1398988800123000)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testSchema(t)
			b := decode(newCSV(t, s, c.header, c.o), s, []byte(c.in), []byte(c.in))
			for i := range b.Len() {
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

func TestCSVRejects(t *testing.T) {
	t.Parallel()
	const header = "n,e,t,u,s,x"
	for name, c := range map[string]struct{ in, class, field, at string }{
		"too few":             {"1,a,,,", ClassWrongColumns, "", ""},
		"too many":            {"1,a,,,,,", ClassWrongColumns, "", ""},
		"empty":               {"", ClassWrongColumns, "", ""},
		"all empty":           {",,,,,", ClassNoFields, "", ""},
		"all empty but other": {",,,,,x", ClassNoFields, "", ""},
		"bare quote":          {`1,a"b,,,,`, ClassInvalidCSV, "e", "byte 3: "},
		"after quote":         {`1,"a"b,,,,`, ClassInvalidCSV, "e", "byte 5: "},
		"blank after quote":   {`1,"a" ,,,,`, ClassInvalidCSV, "e", "byte 5: "},
		"unclosed":            {`1,a,,,,"x`, ClassInvalidCSV, "", "byte 7: "},
		"unclosed declared":   {`1,"a,,,,`, ClassInvalidCSV, "e", "byte 2: "},
		"quote alone":         {`1,a,,,,"`, ClassInvalidCSV, "", "byte 7: "},
		"two rows":            {"1,a,,,,\n1,a,,,,", ClassInvalidCSV, "", "byte 7: "},
		"two line ends":       {"1,a,,,,\n\n", ClassInvalidCSV, "", "byte 7: "},
		"bare CR":             {"1,a\rb,,,,", ClassInvalidCSV, "e", "byte 3: "},
		"CR at the end":       {"1,a,,,,x\r", ClassInvalidCSV, "", "byte 8: "},
		"byte order mark":     {"\ufeff1,a,,,,", ClassInvalidCSV, "", "byte 0: "},
		"invalid UTF-8":       {"1,Z\xfcrich,,,,", ClassInvalidUTF8, "", "byte 3: "},
		"invalid UTF-8 other": {"1,a,,,,\xff", ClassInvalidUTF8, "", "byte 7: "},
		"plus":                {"+1,a,,,,", ClassInvalidNumber, "n", "byte 0: "},
		"blank before":        {" 1,a,,,,", ClassInvalidNumber, "n", "byte 0: "},
		"leading zero":        {"01,a,,,,", ClassInvalidNumber, "n", "byte 0: "},
		"no digit":            {".5,a,,,,", ClassInvalidNumber, "n", "byte 0: "},
		"grouped":             {`"1,000",a,,,,`, ClassInvalidNumber, "n", "byte 0: "},
		"hexadecimal":         {"0x1,a,,,,", ClassInvalidNumber, "n", "byte 0: "},
		"Inf":                 {"Inf,a,,,,", ClassInvalidNumber, "n", "byte 0: "},
		"text":                {"abc,a,,,,", ClassInvalidNumber, "n", "byte 0: "},
		"too large":           {"1e400,a,,,,", ClassOutOfRange, "n", "byte 0: "},
		"2^53+1":              {"9007199254740993,a,,,,", ClassOutOfRange, "n", "byte 0: "},
		"no such day":         {"1,a,2014-04-31,,,", ClassInvalidTime, "t", "byte 4: "},
		"no such time":        {"1,a,2014-04-30 24:00:00,,,", ClassInvalidTime, "t", "byte 4: "},
		"far":                 {"1,a,,1e18,,", ClassInvalidTime, "u", "byte 5: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testSchema(t)
			const good = "1,a,,,x,"
			b := decode(newCSV(t, s, header, CSVOptions{}), s, []byte(good), []byte(c.in), []byte(good))
			if p := b.Problem(1); p == nil || p.Stage != record.StageDecode || p.Class != c.class || p.Field != c.field || !strings.HasPrefix(p.Reason, c.at) {
				t.Errorf("%+v", p)
			}
			if m := row(b, 1); len(m) > 0 {
				t.Errorf("values of a rejected row: %v", m)
			}
			if b.Problem(0) != nil || b.Problem(2) != nil || len(row(b, 2)) != 3 {
				t.Errorf("a good row: %+v %+v", b.Problem(0), b.Problem(2))
			}
		})
	}
}

func TestCSVNullAndSize(t *testing.T) {
	t.Parallel()
	s := testSchema(t)
	b := decode(newCSV(t, s, "n,s", CSVOptions{MaxBytes: 4}), s, nil, []byte("1,ab"), []byte("1,abc"), []byte{})
	for i, want := range []string{ClassNullValue, "", ClassTooLarge, ClassWrongColumns} {
		if got := class(b, i); got != want {
			t.Errorf("row %d: %q, want %q", i, got, want)
		}
	}
}

func TestCSVRequired(t *testing.T) {
	t.Parallel()
	s := newSchema(t, record.Field{Name: "a", Type: record.Numeric, Required: true}, record.Field{Name: "b", Type: record.String})
	b := decode(newCSV(t, s, "b,a", CSVOptions{}), s, []byte("x,1"), []byte("x,"), []byte("x,NA"), []byte(`x,""`))
	for i, want := range []string{"", ClassMissingField, ClassMissingField, ClassMissingField} {
		if got := class(b, i); got != want {
			t.Errorf("row %d: %q, want %q", i, got, want)
		}
	}
}

func TestNewCSVRefuses(t *testing.T) {
	t.Parallel()
	s := newSchema(t, record.Field{Name: "price", Type: record.Numeric}, record.Field{Name: "id", Type: record.String, Required: true})
	for name, c := range map[string]struct {
		header string
		o      CSVOptions
		want   string
	}{
		"required lacks":  {"price", CSVOptions{}, `lacks the required field "id"`},
		"other case":      {"PRICE,id", CSVOptions{}, `"PRICE" differs in case from the declared field "price"`},
		"twice":           {"id,x,x", CSVOptions{}, `"x" twice`},
		"none declared":   {"x,y", CSVOptions{}, "none of the declared fields"},
		"reserved":        {"id,price", CSVOptions{Reserved: "price"}, `already has the column "price"`},
		"separator quote": {"id", CSVOptions{Comma: '"'}, "separator"},
		"separator digit": {"id", CSVOptions{Comma: '1'}, "separator"},
		"separator byte":  {"id", CSVOptions{Comma: 0xC3}, "separator"},
		"bound":           {"id", CSVOptions{MaxBytes: -1}, "bound"},
	} {
		if _, err := NewCSV(s, strings.Split(c.header, ","), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewCSV(s, []string{"PRICE", "x", "x"}, CSVOptions{MaxBytes: -1}); err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("want five faults at once: %v", err)
	}
	// The field that the prediction goes to need not be in the input, even if it is required of training data.
	if _, err := NewCSV(s, []string{"price"}, CSVOptions{Reserved: "id"}); err != nil {
		t.Error(err)
	}
}

// A CSV file and the same rows as JSON give the same columns.
func TestCSVAndJSONAgree(t *testing.T) {
	t.Parallel()
	s := testSchema(t)
	c := newCSV(t, s, "n,e,t,u,s", CSVOptions{})
	j := newJSON(t, s, JSONOptions{})
	for _, v := range []string{"4", "4.0", "-0.0", "1e3", "0.30000000000000004", "9007199254740993", "9007199254740993.0", "1e309", "5e-324", "01"} {
		b := decode(c, s, []byte(v+",a,,,"))
		k := decode(j, s, []byte(`{"n":`+v+`,"e":"a"}`))
		if (b.Problem(0) == nil) != (k.Problem(0) == nil) || cmp.Diff(row(b, 0), row(k, 0)) != "" {
			t.Errorf("numeric %s: %v %v, %v %v", v, row(b, 0), b.Problem(0), row(k, 0), k.Problem(0))
		}
	}
	for _, v := range []string{"4", "4.0", "-0.0", "-0", "-7.000", "1.5", "1.50", "10", "100.00", "123456789012345678901234.0", "0.0", "0"} {
		b := decode(c, s, []byte(","+v+",,,"))
		k := decode(j, s, []byte(`{"e":`+v+`}`), []byte(`{"e":"`+v+`"}`))
		if diff := cmp.Diff(row(b, 0), row(k, 0)); diff != "" || len(row(b, 0)) == 0 {
			t.Errorf("enum %s as a number: %s", v, diff)
		}
		if diff := cmp.Diff(row(b, 0), row(k, 1)); diff != "" {
			t.Errorf("enum %s as text: %s", v, diff)
		}
	}
	for _, v := range []string{"1398988800", "-1.5", "1.3989888E9", "1398988800123"} {
		b := decode(c, s, []byte(",,,"+v+","))
		k := decode(j, s, []byte(`{"u":`+v+`}`), []byte(`{"u":"`+v+`"}`))
		if cmp.Diff(row(b, 0), row(k, 0)) != "" || cmp.Diff(row(b, 0), row(k, 1)) != "" || len(row(b, 0)) == 0 {
			t.Errorf("time %s: %v, %v, %v", v, row(b, 0), row(k, 0), row(k, 1))
		}
	}
}
