package app

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

func typedSchema(t *testing.T) *record.Schema {
	t.Helper()
	s, err := record.NewSchema(
		record.Field{Name: "n", Type: record.Numeric}, record.Field{Name: "e", Type: record.Enum}, record.Field{Name: "s", Type: record.String},
		record.Field{Name: "t", Type: record.Time}, record.Field{Name: "u", Type: record.Time, Layouts: []string{record.LayoutUnix}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestObject holds what a cell becomes: by its look, and by the type that the schema gives its column.
func TestObject(t *testing.T) {
	t.Parallel()
	schema := typedSchema(t)
	for cell, want := range map[string]struct{ n, e, s, t, u, other string }{
		"12":       {`12`, `12`, `"12"`, `"12"`, `12`, `12`},
		"-1.50":    {`-1.50`, `-1.50`, `"-1.50"`, `"-1.50"`, `-1.50`, `-1.50`},
		"1e3":      {`1e3`, `"1e3"`, `"1e3"`, `"1e3"`, `1e3`, `1e3`},
		"007":      {`"007"`, `"007"`, `"007"`, `"007"`, `"007"`, `"007"`},
		"+1":       {`"+1"`, `"+1"`, `"+1"`, `"+1"`, `"+1"`, `"+1"`},
		"1 2":      {`"1 2"`, `"1 2"`, `"1 2"`, `"1 2"`, `"1 2"`, `"1 2"`},
		"true":     {`"true"`, `"true"`, `"true"`, `"true"`, `"true"`, `"true"`},
		"":         {},
		"NA":       {``, `"NA"`, `"NA"`, ``, ``, `"NA"`},
		"null":     {``, `"null"`, `"null"`, ``, ``, `"null"`},
		`<a&"b">`:  {`"<a&\"b\">"`, `"<a&\"b\">"`, `"<a&\"b\">"`, `"<a&\"b\">"`, `"<a&\"b\">"`, `"<a&\"b\">"`},
		"é\tx":     {`"é\tx"`, `"é\tx"`, `"é\tx"`, `"é\tx"`, `"é\tx"`, `"é\tx"`},
		"-":        {`"-"`, `"-"`, `"-"`, `"-"`, `"-"`, `"-"`},
		"1,000.50": {`"1,000.50"`, `"1,000.50"`, `"1,000.50"`, `"1,000.50"`, `"1,000.50"`, `"1,000.50"`},
	} {
		for column, value := range map[string]string{"n": want.n, "e": want.e, "s": want.s, "t": want.t, "u": want.u, "other": want.other} {
			text := column + "\n\"" + strings.ReplaceAll(cell, `"`, `""`) + "\"\n"
			table, err := newTable(strings.NewReader(text), ProduceOptions{}, schema)
			if err != nil {
				t.Fatal(err)
			}
			_, got, err := table.next()
			object := "{}"
			if value != "" {
				object = `{"` + column + `":` + value + `}`
			}
			if err != nil || string(got) != object {
				t.Errorf("%q in column %s: got %s, %v, want %s", cell, column, got, err, object)
			}
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	const text = "\ufeffid,\"a \"\"b\"\"\",label\nx,\"line\nbreak\",1\n,2,3\n"
	table, err := newTable(strings.NewReader(text), ProduceOptions{Key: "id", Drop: []string{"label", "id"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	type row struct{ Key, Value string }
	var got []row
	for {
		key, value, err := table.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if (key == nil) != (len(key) == 0) {
			t.Errorf("a key that is empty and not null")
		}
		got = append(got, row{string(key), string(value)})
	}
	want := []row{{"x", `{"a \"b\"":"line\nbreak"}`}, {"", `{"a \"b\"":2}`}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestTableErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		o    ProduceOptions
		want string
	}{
		"empty":     {"", ProduceOptions{}, "it is empty: it needs a header"},
		"header":    {"a\"b\n", ProduceOptions{}, `line 1, column 2: bare " in non-quoted-field`},
		"encoding":  {"a\xff\n", ProduceOptions{}, "its header is not UTF-8"},
		"twice":     {"a,b,a\n", ProduceOptions{}, `it has the column "a" twice`},
		"drop":      {"a,b\n", ProduceOptions{Drop: []string{"c"}}, `it has no column "c": its columns are a, b`},
		"key":       {"a,b\n", ProduceOptions{Key: "c"}, `it has no column "c": its columns are a, b`},
		"ragged":    {"a,b\n\n1\n", ProduceOptions{}, "line 3: it has not as many cells as the header"},
		"quote":     {"a,b\n1,\"2\n", ProduceOptions{}, "line 2, column 6: extraneous or missing \" in quoted-field"},
		"bad bytes": {"a,b\n1,\xff\n", ProduceOptions{}, "line 2: the bytes are not UTF-8"},
	} {
		table, err := newTable(strings.NewReader(tc.text), tc.o, nil)
		if err == nil {
			_, _, err = table.next()
		}
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

func TestKeyOf(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`{"id":"a b"}`: "a b", `{"id":12}`: "12", `{"id":1.50}`: "1.50", `{"id":true}`: "true", `{"id":{"a":1}}`: `{"a":1}`, `{"id":""}`: "",
	} {
		if got := keyOf([]byte(value), "id"); got == nil || string(got) != want {
			t.Errorf("%s: got %q, want %q", value, got, want)
		}
	}
	for _, value := range []string{`{"id":null}`, `{"ID":1}`, `{}`, `[]`, `17`, ``, `{"id":1`} {
		if got := keyOf([]byte(value), "id"); got != nil {
			t.Errorf("%s: got %q, want no key", value, got)
		}
	}
	if keyOf([]byte(`{"":1}`), "") != nil {
		t.Error("a key without a field")
	}
}
