package pipeline_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
)

func houseChecks() []pipeline.Check {
	return []pipeline.Check{
		{Name: "size", Rule: "sqft_living between 200 and 15000", Otherwise: pipeline.Reject},
		{Name: "town", Rule: "city in training"},
		{Name: "age", Rule: "age >= 0", Otherwise: pipeline.Warn},
		{Name: "rooms", Rule: "bedrooms < 50", Otherwise: pipeline.Fail},
		{Name: "lot", Rule: "sqft_lot >= sqft_living / floors or is_missing(floors)", Otherwise: pipeline.Reject},
	}
}

// checked is what has become of a record: the rules it is marked with, or stage, class and field of its problem.
func checked(w *pipeline.Worker, b *record.Batch, i int) string {
	if row, err := w.Failure(); i == row {
		return "fail " + err.Name
	}
	if p := b.Problem(i); p != nil {
		return p.Stage + "/" + p.Class + " " + p.Field
	}
	for _, m := range w.Marks() {
		if m.Row == i {
			return m.Rules
		}
	}
	return ""
}

// TestChecks holds the outcome of each rule, and of several: the gravest counts, and all are counted.
func TestChecks(t *testing.T) {
	t.Parallel()
	b, sales := train(t)
	p := newPath(t, b, pipeline.Options{Checks: houseChecks()})
	values, want := [][]byte{}, []string{}
	add := func(outcome, value string) { values, want = append(values, []byte(value)), append(want, outcome) }
	add("", string(sales[0].AppendListing(nil)))
	add("town", `{"sqft_living":2000,"city":"Atlantis"}`)
	add("town,age", `{"sqft_living":2000,"city":"Atlantis","date":"2014-05-02","yr_built":2020}`)
	add("check/size sqft_living", `{"sqft_living":20000,"city":"Kent"}`)
	add("check/size sqft_living", `{"sqft_living":20000,"city":"Atlantis"}`)
	add("check/lot ", `{"sqft_living":2000,"sqft_lot":100,"floors":1}`)
	add("check/size sqft_living", `{"sqft_living":20000,"sqft_lot":100,"floors":1}`) // the first of two
	add("decode/invalid_json ", `{"sqft_living":20000,`)
	add("", `{"sqft_living":2000,"city":null,"bedrooms":null}`) // what is missing keeps a rule
	add("fail rooms", `{"sqft_living":20000,"bedrooms":99}`)
	w := newWorker(t, p)
	for _, size := range []int{1, len(values)} {
		batch := w.NewBatch()
		for from := 0; from < len(values); from += size {
			fill(batch, values[from:from+size])
			w.Process(batch)
			for i := range size {
				if got := checked(w, batch, i); got != want[from+i] {
					t.Errorf("batches of %d: %s: %q, want %q", size, values[from+i], got, want[from+i])
				}
				if out := w.Output(i); (out != nil) != (batch.Problem(i) == nil) {
					t.Errorf("%s: output %s", values[from+i], out)
				}
				if p := batch.Problem(i); p != nil && p.Class == "size" && p.Reason != "the record breaks the rule sqft_living between 200 and 15000" {
					t.Errorf("reason %q", p.Reason)
				}
			}
		}
	}
	if diff := cmp.Diff([]uint64{8, 6, 2, 2, 4}, w.CheckCounts()); diff != "" {
		t.Errorf("counts: %s", diff)
	}
	_, err := w.Failure()
	err.Where = "housing/3/17"
	if !errors.Is(err, pipeline.ErrCheck) || err.Error() != "record housing/3/17 breaks the rule rooms (bedrooms < 50), whose outcome is to fail" {
		t.Errorf("error %v", err)
	}
}

// TestChecksInEveryBatch holds that what becomes of a record does not depend on those beside it, and that its prediction
// does not depend on checks.
func TestChecksInEveryBatch(t *testing.T) {
	t.Parallel()
	b, sales := train(t)
	values, _ := listings(t, sales)
	checks := append(houseChecks(), pipeline.Check{Name: "few", Rule: "bedrooms <= 3"}, pipeline.Check{Name: "seen", Rule: "sqft_lot in training and living_share in training"})
	checked2, plain := newWorker(t, newPath(t, b, pipeline.Options{Checks: checks})), newWorker(t, newPath(t, b, pipeline.Options{}))
	alone, without := run(checked2, values, func() int { return 1 }), run(plain, values, func() int { return 100 })
	marked := 0
	for i, v := range alone {
		if v.mark != "" {
			marked++
		}
		if v.class == "" && v.output != without[i].output {
			t.Fatalf("record %d: %s with checks, and %s without", i, v.output, without[i].output)
		}
	}
	if marked < 100 || marked > len(values)-100 {
		t.Errorf("%d of %d records break rules", marked, len(values))
	}
	const seed = 12
	rng := rand.New(rand.NewPCG(seed, 0))
	if diff := cmp.Diff(alone, run(checked2, values, func() int { return 1 + rng.IntN(300) }), cmp.AllowUnexported(fate{})); diff != "" {
		t.Errorf("seed %d: %s", seed, diff)
	}
}

// fate is what has become of a record.
type fate struct{ output, class, mark string }

// run runs values through a worker, in batches of the sizes that next gives.
func run(w *pipeline.Worker, values [][]byte, next func() int) []fate {
	var all []fate
	b := w.NewBatch()
	for len(values) > 0 {
		n := min(next(), len(values))
		fill(b, values[:n])
		w.Process(b)
		for i := range n {
			f := fate{output: string(w.Output(i))}
			if p := b.Problem(i); p != nil {
				f.class = p.Stage + "/" + p.Class
			}
			if k := slices.IndexFunc(w.Marks(), func(m pipeline.Mark) bool { return m.Row == i }); k >= 0 {
				f.mark = w.Marks()[k].Rules
			}
			all = append(all, f)
		}
		values = values[n:]
	}
	return all
}

// TestChecksOfModel holds what only a model can say of a rule.
func TestChecksOfModel(t *testing.T) {
	t.Parallel()
	b, _ := train(t)
	for rule, want := range map[string]string{
		"street in training":   "training knows no levels of street",
		"age in training":      "",
		"sqft_lot in training": "",
		"price > 0":            "it uses the label",
		"sqft_lots > 0":        `did you mean "sqft_lot"?`,
	} {
		_, err := pipeline.New(b, pipeline.Options{Checks: []pipeline.Check{{Name: "x", Rule: rule}}})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

// BenchmarkChecks is the whole path without checks and with six; the median of the batches is ns/record.
func BenchmarkChecks(b *testing.B) {
	bundle, batches := houses(b)
	checks := append(houseChecks(), pipeline.Check{Name: "lots", Rule: "sqft_lot in training"})
	for _, n := range []int{0, len(checks)} {
		b.Run(fmt.Sprintf("checks=%d", n), func(b *testing.B) {
			w := newWorker(b, newPath(b, bundle, pipeline.Options{Checks: checks[:n]}))
			batch, c := w.NewBatch(), clock{}
			for i := range b.N {
				c.begin()
				fill(batch, batches[i%benchBatches])
				w.Process(batch)
				c.end()
			}
			c.report(b, "ns/record")
		})
	}
}
