package record

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSchema(t *testing.T) {
	t.Parallel()
	s, err := NewSchema(
		Field{Name: "date", Type: Time, Zone: "America/Los_Angeles"},
		Field{Name: "beds", Type: Numeric, Quoted: true, Required: true},
		Field{Name: "city", Type: Enum},
	)
	if err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back Schema
	if err := json.Unmarshal(j, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.fields, back.fields); diff != "" {
		t.Error(diff)
	}
	if i, ok := back.Index("city"); i != 2 || !ok {
		t.Errorf("Index(city) = %d, %t", i, ok)
	}
}

func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string][]Field{
		"none":      {},
		"twice":     {{Name: "a", Type: Enum}, {Name: "a", Type: Enum}},
		"no name":   {{Type: Enum}},
		"not utf-8": {{Name: "\xff", Type: Enum}},
		"no type":   {{Name: "a"}},
		"layout":    {{Name: "a", Type: Enum, Layouts: []string{"2006"}}},
		"quoted":    {{Name: "a", Type: Enum, Quoted: true}},
		"zone":      {{Name: "a", Type: Time, Zone: "Mars/Olympus"}},
		"too many":  make([]Field, MaxFields+1),
	} {
		if _, err := NewSchema(fields...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	s, err := NewSchema(Field{Name: "n", Type: Numeric}, Field{Name: "e", Type: Enum}, Field{Name: "t", Type: Time}, Field{Name: "s", Type: String})
	if err != nil {
		t.Fatal(err)
	}
	b := NewBatch(s, map[string][]string{"e": {"a", "b"}})
	for range 2 { // the second round finds nothing of the first
		for i := range 3 {
			if row := b.Append(Raw{Offset: int64(i)}); row != i {
				t.Fatalf("row %d, want %d", row, i)
			}
		}
		if !math.IsNaN(b.Numbers(0)[0]) || b.Codes(1)[0] != MissingCode || b.Times(2)[0] != MissingTime || !b.Texts(3).Missing(0) {
			t.Error("a new row has a value")
		}
		b.Numbers(0)[1] = 7
		b.Codes(1)[1] = b.Dict(1).Code([]byte("c"))
		b.Times(2)[1] = 9
		b.Texts(3).Set(2, []byte("z"))
		b.Texts(3).Set(1, []byte(""))
		if c := b.Codes(1)[1]; c != 2 || int(c) < b.Dict(1).Known() || b.Dict(1).Level(c) != "c" {
			t.Errorf("code of an unseen level: %d", c)
		}
		if b.Texts(3).Missing(1) || b.Texts(3).View(2) != "z" || b.Texts(3).At(0) != nil {
			t.Error("texts")
		}
		b.Reject(1, Problem{Stage: StageDecode, Class: "first"})
		b.Reject(1, Problem{Stage: StageScore, Class: "second"})
		if p := b.Problem(1); p == nil || p.Class != "first" || b.Rejected() != 1 || b.Problem(0) != nil {
			t.Errorf("problem: %+v", p)
		}
		b.ClearRow(1)
		if !math.IsNaN(b.Numbers(0)[1]) || b.Codes(1)[1] != MissingCode || b.Times(2)[1] != MissingTime || !b.Texts(3).Missing(1) {
			t.Error("a cleared row has a value")
		}
		b.Reset()
		if b.Len() != 0 || b.Dict(1).Len() != 2 || b.Rejected() != 0 {
			t.Error("reset left something")
		}
	}
}

func TestRow(t *testing.T) {
	t.Parallel()
	s, err := NewSchema(
		Field{Name: "e", Type: Enum}, Field{Name: "n", Type: Numeric}, Field{Name: "t", Type: Time},
		Field{Name: "s", Type: String}, Field{Name: "m", Type: Numeric},
	)
	if err != nil {
		t.Fatal(err)
	}
	b := NewBatch(s, nil)
	b.Append(Raw{})
	b.Append(Raw{})
	b.Codes(0)[1] = b.Dict(0).Code([]byte("level"))
	b.Numbers(1)[1], b.Numbers(4)[1] = 1, 2
	b.Times(2)[1] = 3
	b.Texts(3).Set(1, []byte("text"))
	missing, full := RowOf(b, 0), RowOf(b, 1)
	b.Reset()
	b.Append(Raw{})
	b.Texts(3).Set(0, []byte("over"))
	b.Dict(0).Code([]byte("other"))
	want := &Row{Numbers: []float64{1, 2}, Times: []int64{3}, Texts: []Text{{"level", true}, {"text", true}}}
	if diff := cmp.Diff(want, full); diff != "" {
		t.Error(diff)
	}
	for f, slot := range []int{0, 0, 0, 1, 1} {
		if got := s.Slot(f); got != slot {
			t.Errorf("slot of field %d: %d, want %d", f, got, slot)
		}
	}
	if !math.IsNaN(missing.Numbers[0]) || missing.Times[0] != MissingTime || missing.Texts[0].OK || missing.Texts[1].OK {
		t.Errorf("missing: %+v", missing)
	}
}
