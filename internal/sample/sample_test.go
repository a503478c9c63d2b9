package sample

import (
	"encoding/json"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/feature"
	"millrace.dev/model"
	"millrace.dev/record"
	"pgregory.net/rapid"
)

// TestNumbersComeBack holds that every float64 but NaN, which is missing, comes back bit for bit.
func TestNumbersComeBack(t *testing.T) {
	t.Parallel()
	check := func(t interface{ Fatalf(string, ...any) }, x float64) {
		text := appendNumber(nil, x)
		if !json.Valid(text) {
			t.Fatalf("%x: %s is no JSON", math.Float64bits(x), text)
		}
		got, err := Value(text, record.Numeric)
		if err != nil || got != model.NewNumber(x) {
			t.Fatalf("%x: %s gives %v, %v", math.Float64bits(x), text, got, err)
		}
	}
	for _, x := range []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64, math.SmallestNonzeroFloat64, 1e21, 0.1} {
		check(t, x)
	}
	rapid.Check(t, func(t *rapid.T) { check(t, math.Float64frombits(rapid.Uint64().Draw(t, "bits"))) })
}

// TestSamplesComeBack holds that a sample has the record, the look-ups and the inputs that were put into it.
func TestSamplesComeBack(t *testing.T) {
	t.Parallel()
	schema, err := record.NewSchema(record.Field{Name: "x", Type: record.Numeric}, record.Field{Name: "city", Type: record.Enum})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := record.NewSchema(record.Field{Name: "since", Type: record.Time}, record.Field{Name: "n", Type: record.Numeric}, record.Field{Name: "t", Type: record.String})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := feature.Compile(feature.Declaration{
		Schema: schema, Tables: []feature.Table{{Name: "cities", Schema: rows}}, Inputs: []string{"n"},
		Features: []feature.Spec{{Name: "n", Expr: "cities[city].n"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	e := NewEncoder("m@1", "sha256:00", plan)
	texts := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z"\\<é]*`))
	rapid.Check(t, func(t *rapid.T) {
		raw := &record.Raw{
			Topic: texts.Draw(t, "topic") + "t", Partition: rapid.Int32().Draw(t, "partition"), Offset: rapid.Int64().Draw(t, "offset"),
			Timestamp: rapid.Int64().Draw(t, "timestamp"), Key: rapid.SliceOf(rapid.Byte()).Draw(t, "key"), Value: rapid.SliceOf(rapid.Byte()).Draw(t, "value"),
		}
		n, level, key := rapid.Float64().Draw(t, "n"), texts.Draw(t, "level"), texts.Draw(t, "table key")
		since := rapid.Int64().Draw(t, "since")
		frame := &record.Frame{Rows: 2, Columns: []record.Column{
			{Name: "n", Type: record.Numeric, Numbers: []float64{0, n}},
			{Name: "city", Type: record.Enum, Codes: []int32{0, 1}, Levels: []string{"", level}},
			{Name: "none", Type: record.Enum, Codes: []int32{0, record.MissingCode}},
		}}
		text := e.Append(nil, &Taken{
			Record: raw, EventTime: 5000, Frame: frame, Row: 1, Prediction: n,
			Lookups: []Lookup{{Key: key, Row: &record.Row{Numbers: []float64{n}, Times: []int64{since}, Texts: []record.Text{{S: level, OK: true}}}}, {Key: "none"}},
		})
		s, err := Decode(text)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if s.Source() != (&Sample{Topic: raw.Topic, Partition: raw.Partition, Offset: raw.Offset}).Source() || string(s.Value()) != string(raw.Value) ||
			s.Timestamp != raw.Timestamp || *s.EventTime != 5 || s.Model != "m@1" || s.Digest != "sha256:00" {
			t.Fatalf("%s", text)
		}
		value := func(text json.RawMessage, typ record.Type) model.Value {
			v, err := Value(text, typ)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		row := s.Lookups[0].Row
		instant := model.Value{Kind: model.Instant, Bits: uint64(since)}
		if since == record.MissingTime {
			instant = model.Value{}
		}
		want := []model.Value{model.NewNumber(n), {Kind: model.Level, Level: level}, {}, instant, model.NewNumber(n), {Kind: model.Level, Level: level}, model.NewNumber(n)}
		got := []model.Value{
			value(s.Inputs["n"], record.Numeric), value(s.Inputs["city"], record.Enum), value(s.Inputs["none"], record.Enum),
			value(row["since"], record.Time), value(row["n"], record.Numeric), value(row["t"], record.String), value(s.Prediction, record.Numeric),
		}
		if diff := cmp.Diff(want, got); diff != "" || s.Lookups[0].Key != key || s.Lookups[1].Row != nil {
			t.Fatalf("%s: %s", diff, text)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	const good = `{"version":1,"topic":"t","digest":"d","value":"","inputs":{},"prediction":1}`
	if _, err := Decode([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{}", "[]", good + "{}", `{"version":1,"topic":"t","digest":"d","inputs":{},"prediction":1}`} {
		if _, err := Decode([]byte(text)); err == nil || errors.Is(err, ErrNewer) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := Decode([]byte(`{"version":2}`)); !errors.Is(err, ErrNewer) {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"topic":"t","digest":"d","value":"","inputs":{"x":1},"windows":{"w":{"n":null}},"lookups":[{"table":"t","key":"k","row":{"x":"y"}}],"prediction":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Decode(text)
		if err != nil {
			return
		}
		for _, v := range s.Inputs {
			for _, typ := range []record.Type{record.Numeric, record.Enum, record.Time, record.String} {
				_, _ = Value(v, typ)
			}
		}
		if s.Value() == nil {
			t.Error("a sample without a value")
		}
	})
}

// TestRate holds that about as many records are sampled as asked for, and that more of them include the fewer.
func TestRate(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for _, r := range []Rate{0, 0.01, 0.5, 1} {
		got := 0
		for i := range int64(n) {
			took := r.Takes("topic", int32(i%7), i)
			if took {
				got++
			}
			if took && r < 1 && !(r+0.3).Takes("topic", int32(i%7), i) {
				t.Fatalf("%v takes record %d, and %v does not", r, i, r+0.3)
			}
		}
		if want := float64(r) * n; math.Abs(float64(got)-want) > 5*math.Sqrt(want+1) && r > 0 && r < 1 || (r == 0 || r == 1) && got != int(want) {
			t.Errorf("%v: %d of %d", r, got, n)
		}
	}
}

// TestJournal holds that look-ups are noted once, of marked records alone.
func TestJournal(t *testing.T) {
	t.Parallel()
	var j Journal
	row := &record.Row{}
	for range 2 {
		j.Begin(finderFunc(func(key string) *record.Row {
			if key == "a" {
				return row
			}
			return nil
		}), 3)
		j.Mark(1)
		j.Mark(1)
		for i := range 3 {
			for _, key := range []string{"b", "a", "b"} {
				if got := j.Row(0, i, key, 0); (got == row) != (key == "a") {
					t.Fatal(got)
				}
			}
		}
		if diff := cmp.Diff([]Lookup{{Key: "b"}, {Key: "a", Row: row}}, j.Lookups(1)); diff != "" || j.Lookups(0) != nil || !j.Any() {
			t.Error(diff)
		}
	}
}

type finderFunc func(key string) *record.Row

func (f finderFunc) Row(_, _ int, key string, _ int64) *record.Row { return f(key) }
