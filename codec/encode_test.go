package codec

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"millrace.dev/record"
	"pgregory.net/rapid"
)

func TestJSONEncoder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ field, in, want string }{
		{"p", `{}`, `{"p":1.5}`},
		{"p", `{ }`, `{ "p":1.5}`},
		{"p", "{\n\t}\n", "{\n\t\"p\":1.5}\n"},
		{"p", `{"a":1}`, `{"a":1,"p":1.5}`},
		{"p", "  {\"a\":1\n}\r\n ", "  {\"a\":1\n,\"p\":1.5}\r\n "},
		{"p", `{"a":{}}`, `{"a":{},"p":1.5}`},
		{"p", `{"a":{ } }`, `{"a":{ } ,"p":1.5}`},
		{"p", `{"a":"}"}`, `{"a":"}","p":1.5}`},
		{"p", `{"a":"{"}`, `{"a":"{","p":1.5}`},
		{"p", `{"a":1.0,"b":1e2,"c":"\u00e9"}`, `{"a":1.0,"b":1e2,"c":"\u00e9","p":1.5}`},
		{`a"b\c`, `{}`, `{"a\"b\\c":1.5}`},
		{"a\nb\x1f", `{}`, `{"a\u000ab\u001f":1.5}`},
		{"größe", `{}`, `{"größe":1.5}`},
		{"</script>", `{}`, `{"</script>":1.5}`},
	} {
		e, err := NewJSONEncoder(c.field)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(e.Encode([]byte("x"), []byte(c.in), 1.5)); got != "x"+c.want {
			t.Errorf("%s in %s: %s", c.field, c.in, got)
		}
	}
	for _, field := range []string{"", "\xff"} {
		if _, err := NewJSONEncoder(field); err == nil {
			t.Errorf("%q: no error", field)
		}
	}
}

func TestCSVEncoder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		comma    byte
		in, want string
	}{
		{0, "a,b", "a,b,-0.25"}, {0, "a,b\n", "a,b,-0.25\n"}, {0, "a,\r\n", "a,,-0.25\r\n"}, {0, "a,\"b\n\"", "a,\"b\n\",-0.25"}, {0, "", ",-0.25"}, {';', "a;b", "a;b;-0.25"},
	} {
		e, err := NewCSVEncoder(c.comma)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(e.Encode([]byte("x"), []byte(c.in), -0.25)); got != "x"+c.want {
			t.Errorf("%q: %q", c.in, got)
		}
	}
	if _, err := NewCSVEncoder('"'); err == nil {
		t.Error("a quote as separator: no error")
	}
}

// Any object that the decoder accepts is, after encoding, the same object and the prediction, in the same
// bytes.
func TestJSONEncodeRoundTrip(t *testing.T) {
	t.Parallel()
	space := rapid.StringMatching(`[ \t\r\n]{0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.MapOfN(rapid.String().Filter(func(s string) bool { return s != "price" && !strings.EqualFold(s, "a") }), jsonValue(3), 0, 5).Draw(t, "members")
		field := rapid.StringMatching(`[a-zä"\\\n]{1,4}`).Filter(func(s string) bool { _, taken := members[s]; return !taken && s != "a" }).Draw(t, "field")
		parts := []string{space.Draw(t, "before"), `{`, space.Draw(t, "open"), `"a":1`}
		for _, name := range slices.Sorted(maps.Keys(members)) {
			for _, part := range []string{`,`, string(appendQuoted(nil, name)), `:`, members[name]} {
				parts = append(parts, space.Draw(t, "space"), part)
			}
		}
		in := strings.Join(append(parts, space.Draw(t, "end"), `}`, space.Draw(t, "after")), "")
		s, err := record.NewSchema(record.Field{Name: "a", Type: record.Numeric})
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewJSON(s, JSONOptions{Reserved: field})
		if err != nil {
			t.Fatal(err)
		}
		e, err := NewJSONEncoder(field)
		if err != nil {
			t.Fatal(err)
		}
		b := decode(d, s, []byte(in))
		if p := b.Problem(0); p != nil {
			t.Fatalf("%s: %+v", in, *p)
		}
		v := rapid.Float64Range(-1e300, 1e300).Draw(t, "prediction")
		out := e.Encode(nil, []byte(in), v)
		var was, is map[string]any
		if err := json.Unmarshal([]byte(in), &was); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &is); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if is[field] != v || len(is) != len(was)+1 {
			t.Fatalf("%s: %v", out, is[field])
		}
		added := len(out) - len(in)
		at := strings.LastIndexByte(in, '}')
		if string(out[:at]) != in[:at] || string(out[at+added:]) != in[at:] {
			t.Fatalf("other bytes have changed: %s", out)
		}
		if p := decode(d, s, out).Problem(0); p == nil || p.Class != ClassFieldExists {
			t.Fatalf("%s: %+v", out, p)
		}
	})
}

// jsonValue generates JSON texts.
func jsonValue(depth int) *rapid.Generator[string] {
	leaf := rapid.OneOf(
		rapid.SampledFrom([]string{"null", "true", "false", "{}", "[]", `""`, "0", "-0.5e+10"}),
		rapid.Map(rapid.String(), func(s string) string { return string(appendQuoted(nil, s)) }),
		rapid.StringMatching(`-?(0|[1-9][0-9]{0,4})(\.[0-9]{1,4})?([eE][-+]?[0-9]{1,2})?`),
	)
	if depth == 0 {
		return leaf
	}
	return rapid.OneOf(leaf,
		rapid.Map(rapid.SliceOfN(jsonValue(depth-1), 0, 3), func(v []string) string { return "[" + strings.Join(v, ",") + "]" }),
		rapid.Map(rapid.MapOfN(rapid.String(), jsonValue(depth-1), 0, 3), func(m map[string]string) string {
			var members []string
			for _, k := range slices.Sorted(maps.Keys(m)) {
				members = append(members, string(appendQuoted(nil, k))+":"+m[k])
			}
			return "{" + strings.Join(members, ",") + "}"
		}),
	)
}
