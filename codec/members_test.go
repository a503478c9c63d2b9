package codec

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"millrace.dev/record"
)

func members(t testing.TB, names ...string) *Members {
	t.Helper()
	m, err := NewMembers(1<<16, names...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMembers(t *testing.T) {
	t.Parallel()
	m := members(t, "a", "b", "ü")
	spans := make([]Span, 3)
	for _, c := range []struct {
		object string
		count  int
		want   [3]string
	}{
		{`{}`, 0, [3]string{}},
		{` { "b" : [1, {"a":2}] , "a":null}` + "\n", 2, [3]string{"null", `[1, {"a":2}]`}},
		{`{"x":{"a":1},"\u00fc":"\"}"}`, 2, [3]string{2: `"\"}"`}},
		{`{"A":1,"a":-1.5e3}`, 2, [3]string{"-1.5e3"}},
	} {
		count, p := m.Find([]byte(c.object), spans)
		if p != nil || count != c.count {
			t.Errorf("%s: %d members, %+v", c.object, count, p)
		}
		for i, s := range spans {
			if got := string(s.Of([]byte(c.object))); got != c.want[i] {
				t.Errorf("%s: member %d is %q, want %q", c.object, i, got, c.want[i])
			}
		}
	}
	for object, class := range map[string]string{
		``: ClassInvalidJSON, `[]`: ClassNotObject, `{"a":1}x`: ClassTrailingBytes, `{"a":1,"\u0061":2}`: ClassDuplicateKey,
		`{"x":{"y":1,"y":2}}`: ClassDuplicateKey, `{"a":01}`: ClassInvalidJSON, `{"a"`: ClassInvalidJSON, `{"a":1`: ClassInvalidJSON, `{"a":1,}`: ClassInvalidJSON,
		"{\"a\":\"\xff\"}": ClassInvalidUTF8, "{\"\xff\":1}": ClassInvalidUTF8,
	} {
		if _, p := m.Find([]byte(object), spans); p == nil || p.Class != class || p.Stage != record.StageDecode {
			t.Errorf("%s: %+v, want %s", object, p, class)
		}
	}
	if _, p := m.Find(nil, spans); p == nil || p.Class != ClassNullValue {
		t.Errorf("null: %+v", p)
	}
	if _, p := m.Find(make([]byte, 1<<16+1), spans); p == nil || p.Class != ClassTooLarge {
		t.Errorf("large: %+v", p)
	}
}

func TestMembersRefused(t *testing.T) {
	t.Parallel()
	for name, names := range map[string][]string{"twice": {"a", "a"}, "not utf-8": {"\xff"}} {
		if _, err := NewMembers(0, names...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := NewMembers(-1, "a"); err == nil {
		t.Error("no error for a negative bound")
	}
}

func TestLevel(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"4": "4", "4.0": "4", "-0.0": "0", "04": "04", "1.50": "1.50", "x": "x", "": ""} {
		if got := string(Level([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// What is found is what encoding/json finds.
func FuzzMembers(f *testing.F) {
	for _, s := range jsonSeeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		object = slices.Clip(object)
		m := members(t, "n", "e", "s")
		spans := make([]Span, 3)
		count, p := m.Find(object, spans)
		if p != nil {
			return
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(object, &all); err != nil || len(all) != count {
			t.Fatalf("%d members, want %d: %v", count, len(all), err)
		}
		for i, name := range []string{"n", "e", "s"} {
			if got := string(spans[i].Of(object)); got != string(all[name]) {
				t.Errorf("%s: %q, want %q", name, got, all[name])
			}
			var text string
			if v := spans[i].Of(object); len(v) > 0 && v[0] == '"' {
				if err := json.Unmarshal(v, &text); err != nil || string(AppendText(nil, v)) != text {
					t.Errorf("%s: %q, want %q: %v", v, AppendText(nil, v), text, err)
				}
			}
		}
	})
}

func TestMembersAllocate(t *testing.T) {
	m := members(t, "after", "op")
	object := []byte(`{"before":null,"after":{"id":1,"name":"\u00fc"},"source":{"ts_ms":1},"op":"c"}`)
	spans := make([]Span, 2)
	if n := testing.AllocsPerRun(100, func() { m.Find(object, spans) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func TestMembersEach(t *testing.T) {
	t.Parallel()
	m, err := NewMembers(0)
	if err != nil {
		t.Fatal(err)
	}
	object := []byte(`{ "a" : 1, "b\u0020c":"x", "d":[1,{"e":2}] }`)
	var got []string
	if p := m.Each(object, func(name []byte, at Span) { got = append(got, string(name)+"="+string(at.Of(object))) }); p != nil {
		t.Fatal(p)
	}
	if want := `a=1 b c="x" d=[1,{"e":2}]`; strings.Join(got, " ") != want {
		t.Errorf("%s, want %s", got, want)
	}
	if p := m.Each([]byte(`{"a":1,"a":2}`), func([]byte, Span) {}); p == nil || p.Class != ClassDuplicateKey {
		t.Errorf("%+v", p)
	}
}
