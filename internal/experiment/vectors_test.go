package experiment

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"millrace.dev/internal/testenv"
)

// tally counts cases of the vectors.
type tally struct {
	t             *testing.T
	family        string
	passed, total int
	failed        bool // the current case
	notRun        []string
}

// run runs a case.
func (v *tally) run(f func()) {
	v.total++
	v.failed = false
	f()
	if !v.failed {
		v.passed++
	}
}

// number is one that may be "-inf" or "inf" in the vectors.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case `"inf"`:
		*n = number(math.Inf(1))
	case `"-inf"`:
		*n = number(math.Inf(-1))
	default:
		var x float64
		if err := json.Unmarshal(b, &x); err != nil {
			return err
		}
		*n = number(x)
	}
	return nil
}

// relativeTolerance is the vectors' own.
const relativeTolerance = 1e-9

// is holds a value to the one of the vectors.
func (v *tally) is(what string, got, want float64) {
	v.t.Helper()
	v.within(what, got, want, relativeTolerance*math.Abs(want))
}

// isP holds a p-value to one that the reference computed as 1 less a probability: it cannot tell values below 2^-53 apart, nor be more
// exact than that.
func (v *tally) isP(what string, got, want float64) {
	v.t.Helper()
	v.within(what, got, want, max(relativeTolerance*want, 4.5e-16))
}

func (v *tally) within(what string, got, want, tolerance float64) {
	v.t.Helper()
	if !(got == want || math.Abs(got-want) <= tolerance) {
		v.failed = true
		v.t.Errorf("%s, case %d: %s is %.17g, want %.17g", v.family, v.total, what, got, want)
	}
}

// TestABVectors holds the statistics to those of other systems. It prints how many cases pass.
func TestABVectors(t *testing.T) {
	t.Parallel()
	dir := testenv.Vectors(t)
	b, err := os.ReadFile(filepath.Join(dir, "ab.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]json.RawMessage
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	passed, total := 0, 0
	for _, f := range vectorFamilies(dir) {
		raw, ok := file[f.name]
		if !ok {
			t.Errorf("the vectors have no family %s", f.name)
			continue
		}
		delete(file, f.name)
		v := &tally{t: t, family: f.name}
		if err := f.check(v, raw); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
		t.Logf("%-32s %d/%d", f.name, v.passed, v.total)
		for _, why := range v.notRun {
			t.Logf("%-32s NOT RUN: %s", f.name, why)
		}
		passed, total = passed+v.passed, total+v.total+len(v.notRun)
	}
	delete(file, "_meta")
	for name := range file {
		t.Errorf("the family %s is not tested", name)
	}
	t.Logf("ab vectors: %d/%d", passed, total)
	if passed == 0 {
		t.Error("nothing was tested")
	}
}

type vectorFamily struct {
	name  string
	check func(v *tally, raw json.RawMessage) error
}

// cases decodes the cases of a family, and runs each.
func cases[T any](f func(v *tally, c *T)) func(v *tally, raw json.RawMessage) error {
	return func(v *tally, raw json.RawMessage) error {
		var family struct {
			Cases []T `json:"cases"`
		}
		if err := json.Unmarshal(raw, &family); err != nil {
			return err
		}
		if len(family.Cases) == 0 {
			return errors.New("no cases")
		}
		for i := range family.Cases {
			v.run(func() { f(v, &family.Cases[i]) })
		}
		return nil
	}
}

// whole takes a family as one case.
func whole[T any](f func(v *tally, c *T)) func(v *tally, raw json.RawMessage) error {
	return func(v *tally, raw json.RawMessage) error {
		var family T
		if err := json.Unmarshal(raw, &family); err != nil {
			return err
		}
		v.run(func() { f(v, &family) })
		return nil
	}
}
