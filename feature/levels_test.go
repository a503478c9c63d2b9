package feature

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

// TestWithLevels gives an input other levels than the rows had, and leaves the plan that it had as it was.
func TestWithLevels(t *testing.T) {
	t.Parallel()
	p, err := fittedOn(t, []float64{1, 2, 3}, []string{"Kent", "Auburn", ""}, "city", "x + 1")
	if err != nil {
		t.Fatal(err)
	}
	q, err := p.WithLevels(map[string][]string{"f0": {"Bothell", "Kent"}})
	if err != nil {
		t.Fatal(err)
	}
	for plan, want := range map[*Plan][]string{p: {"Auburn", "Kent"}, q: {"Bothell", "Kent"}} {
		if diff := cmp.Diff(want, plan.Inputs()[0].Levels); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(want, plan.Levels()["city"]); diff != "" {
			t.Error(diff)
		}
		b := record.NewBatch(plan.Schema(), plan.Levels())
		for range want {
			b.Append(record.Raw{})
		}
		for i, l := range want {
			b.Codes(2)[i] = b.Dict(2).Code([]byte(l))
		}
		if diff := cmp.Diff([]int32{0, 1}, plan.NewEvaluator().Eval(b, Enrichment{}).Columns[0].Codes); diff != "" {
			t.Error(diff)
		}
		again, err := plan.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if read, err := ReadPlan(again); err != nil || read.Digest() != plan.Digest() {
			t.Errorf("the plan is another when it is read: %v", err)
		}
	}
	for want, levels := range map[string]map[string][]string{
		"levels of the input \"f1\", which is no enum": {"f1": {"a"}},
		"levels of an input that there is not":         {"f7": {"a"}},
		"input \"f0\": the levels are not sorted":      {"f0": {"b", "a"}},
		"input \"f0\": a level that is not UTF-8":      {"f0": {"\xff"}},
	} {
		if _, err := p.WithLevels(levels); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	unfitted, err := Compile(badDeclaration(t, "city"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unfitted.WithLevels(nil); err == nil {
		t.Error("a plan that is not fitted gets levels")
	}
}
