package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
	"pgregory.net/rapid"
)

func TestGoldenRowsInAFile(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		row  GoldenRow
		want string
	}{
		{
			GoldenRow{
				Value:      []byte("{\"a\":\"<é>\u2028\\\"\"}\n"),
				Features:   []Value{{Kind: Number, Bits: math.Float64bits(math.Copysign(0, -1))}, {}, {Kind: Level, Level: "<a>\x7f\t"}, {Kind: Level}},
				Prediction: 0.1,
			},
			"{\"text\":\"{\\\"a\\\":\\\"<é>\u2028\\\\\\\"\\\"}\\u000a\",\"features\":[{\"bits\":\"8000000000000000\"},null," +
				"{\"level\":\"<a>\x7f\\u0009\"},{\"level\":\"\"}],\"prediction\":\"3fb999999999999a\"}",
		},
		{
			GoldenRow{Value: []byte{0xff, 0}, Rejected: &Rejection{Stage: "decode", Class: "invalid_utf8", Field: "city"}},
			`{"base64":"/wA=","rejected":{"stage":"decode","class":"invalid_utf8","field":"city"}}`,
		},
		{GoldenRow{Rejected: &Rejection{Stage: "decode", Class: "null_value"}}, `{"rejected":{"stage":"decode","class":"null_value"}}`},
		{GoldenRow{Value: []byte{}, Rejected: &Rejection{Stage: "decode", Class: "x"}}, `{"text":"","rejected":{"stage":"decode","class":"x"}}`},
	} {
		got, err := appendJSON(nil, tc.row)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
		var back GoldenRow
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.row, back); diff != "" {
			t.Error(diff)
		}
	}
}

func TestGoldenRowsComeBack(t *testing.T) {
	t.Parallel()
	value := rapid.OneOf(
		rapid.Just(Value{}),
		rapid.Map(rapid.Uint64(), func(bits uint64) Value { return Value{Kind: Number, Bits: bits} }),
		rapid.Map(rapid.String(), func(s string) Value { return Value{Kind: Level, Level: s} }),
	)
	rapid.Check(t, func(t *rapid.T) {
		row := GoldenRow{Value: rapid.SliceOf(rapid.Byte()).Draw(t, "value")}
		row.Features = rapid.SliceOfN(value, 1, 5).Draw(t, "features")
		row.Prediction = rapid.Float64().Draw(t, "prediction")
		text, err := appendJSON(nil, row)
		if err != nil {
			t.Fatal(err)
		}
		var back GoldenRow
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if math.Float64bits(back.Prediction) != math.Float64bits(row.Prediction) {
			t.Fatalf("prediction %x, want %x", back.Prediction, row.Prediction)
		}
		back.Prediction = row.Prediction
		if diff := cmp.Diff(row, back); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestJSONTextIsJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := map[string][]string{}
		for _, k := range rapid.SliceOf(rapid.String()).Draw(t, "keys") {
			in[k] = rapid.SliceOf(rapid.String()).Draw(t, "values")
		}
		text, err := appendJSON([]byte("x"), in)
		if err != nil {
			t.Fatal(err)
		}
		var out map[string][]string
		if err := json.Unmarshal(text[1:], &out); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if diff := cmp.Diff(in, out); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestNewGoldenRow(t *testing.T) {
	t.Parallel()
	frame := &record.Frame{Rows: 2, Columns: []record.Column{
		{Name: "n", Type: record.Numeric, Numbers: []float64{math.NaN(), math.Inf(1)}},
		{Name: "e", Type: record.Enum, Codes: []int32{record.MissingCode, 1}, Levels: []string{"a", "b"}},
	}}
	value := []byte("{}")
	want := GoldenRow{Value: []byte("{}"), Features: []Value{{Kind: Number, Bits: 0x7ff0000000000000}, {Kind: Level, Level: "b"}}, Prediction: 7}
	got := NewGoldenRow(value, frame, 1, 7)
	value[0] = 'x'
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Value{{}, {}}, NewGoldenRow(nil, frame, 0, 7).Features); diff != "" {
		t.Error(diff)
	}
}

func TestCheckGolden(t *testing.T) {
	t.Parallel()
	b := small(t)
	b.Golden = []GoldenRow{
		{Features: []Value{{Kind: Number, Bits: math.Float64bits(0.25)}, {Kind: Level, Level: "Kent"}}, Prediction: 0.1},
		{Rejected: &Rejection{Stage: "decode", Class: "wrong_type", Field: "sqft"}},
	}
	features := func(change func([]Value)) GoldenRow {
		g := b.Golden[0]
		g.Features = append([]Value(nil), g.Features...)
		change(g.Features)
		return g
	}
	problem := &record.Problem{Stage: "decode", Class: "wrong_type", Field: "sqft", Reason: "any words"}
	for name, tc := range map[string]struct {
		row  int
		got  GoldenRow
		want string
	}{
		"same":           {0, b.Golden[0], ""},
		"same rejection": {1, NewRejectedRow(nil, problem), ""},
		"last bit": {
			0, features(func(v []Value) { v[0].Bits++ }),
			`golden row 0: input "sqft": want 0.25 (bits 3fd0000000000000), got 0.25000000000000006 (bits 3fd0000000000001)`,
		},
		"missing":    {0, features(func(v []Value) { v[0] = Value{} }), `input "sqft": want 0.25 (bits 3fd0000000000000), got missing`},
		"level":      {0, features(func(v []Value) { v[1].Level = "kent" }), `input "city": want level "Kent", got level "kent"`},
		"prediction": {0, GoldenRow{Features: b.Golden[0].Features, Prediction: 0.2}, `row 0: the prediction: want 0.1 (bits 3fb999999999999a), got 0.2 (bits 3fc999999999999a)`},
		"rejected":   {0, NewRejectedRow(nil, problem), `the prediction: want 0.1 (bits 3fb999999999999a), got a rejection (stage decode, class wrong_type, field "sqft")`},
		"accepted":   {1, b.Golden[0], `golden row 1: the prediction: want a rejection (stage decode`},
		"other class": {
			1, NewRejectedRow(nil, &record.Problem{Stage: "decode", Class: "other"}),
			`got a rejection (stage decode, class other, field "")`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := b.CheckGolden(tc.row, tc.got)
			var g *GoldenError
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (!errors.As(err, &g) || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
	if err := b.CheckGolden(0, GoldenRow{}); err == nil || !strings.Contains(err.Error(), "0 inputs, want 2") {
		t.Errorf("no inputs: %v", err)
	}
}

func TestGoldenRowsCanBeReadInTheFile(t *testing.T) {
	t.Parallel()
	if data := encode(t, small(t)); !bytes.Contains(data, []byte(`{"text":"{\"sqft\":1036,\"city\":\"Seattle\"}"`)) {
		t.Error("a record does not stand in the file as text")
	}
}
