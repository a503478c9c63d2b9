package pipeline_test

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/feature"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
)

// TestWindowTotals counts what several windows of one plan see, each in a goroutine, while somebody reads.
func TestWindowTotals(t *testing.T) {
	t.Parallel()
	schema, err := record.NewSchema(record.Field{Name: "x", Type: record.Numeric}, record.Field{Name: "city", Type: record.Enum})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := feature.Compile(feature.Declaration{
		Schema: schema, Inputs: []string{"n"}, Features: []feature.Spec{{Name: "n", Expr: "recent.n"}},
		Windows: []feature.Window{{
			Name: "recent", Key: "city", Where: "x > 0", Size: 1_000_000_000, GraceSet: true,
			Aggregates: []feature.Spec{{Name: "n", Expr: "count()"}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	totals := pipeline.NewWindowTotals(plan)
	const goroutines, rounds = 4, 50
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			w, err := pipeline.NewWindows(plan)
			if err != nil {
				t.Error(err)
				return
			}
			w.CountInto(totals)
			b := record.NewBatch(schema, nil)
			var times []int64
			for _, r := range []struct {
				at   int64
				x    float64
				city string
			}{{5_000_000, 1, "a"}, {5_000_000, 0, "a"}, {5_000_000, 1, ""}, {record.MissingTime, 1, "a"}, {1, 1, "a"}} {
				i := b.Append(record.Raw{})
				b.Numbers(0)[i] = r.x
				if r.city != "" {
					b.Codes(1)[i] = b.Dict(1).Code([]byte(r.city))
				}
				times = append(times, r.at)
			}
			for range rounds {
				if _, err := w.Observe(b, times, pipeline.NewMemoryStates(w)); err != nil {
					t.Error(err)
				}
				totals.Counts()
			}
		})
	}
	wg.Wait()
	const n = goroutines * rounds
	want := []pipeline.WindowCounts{{Added: n, TooLate: n, Untimed: n, Keyless: n, Filtered: n}}
	if diff := cmp.Diff(want, totals.Counts()); diff != "" {
		t.Error(diff)
	}
}
