package batch

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
)

// TestProfileOfManyRows holds the counts of a profile to those of the data where its bins come from a sample.
func TestProfileOfManyRows(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	text.WriteString("size,city,rent\n")
	sizes := make([]float64, 20_000)
	for i := range sizes {
		sizes[i] = float64(int(rng.ExpFloat64()*1e6)) / 1e4
		fmt.Fprintf(&text, "%v,%s,%d\n", sizes[i], []string{"Kent", "Seattle"}[i%2], 500+rng.IntN(1000))
	}
	o := flats(t, text.String())
	o.Params.NTrees, o.Where = 1, ""
	b, err := TrainModel(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	size, ok := b.Profile.Column("size")
	if k := len(size.Edges); !ok || size.Rows != 20_000 || k < 100 || size.Edges[0] != size.Min || size.Edges[k-1] != size.Max {
		t.Fatalf("%+v", size)
	}
	want := make([]uint64, len(size.Counts))
	for _, x := range sizes {
		want[sort.SearchFloat64s(size.Edges, x)]++
	}
	for i, n := range size.Counts {
		if n != want[i] {
			t.Errorf("bin %d has %d values, want %d", i, n, want[i])
		}
	}
	prediction, ok := b.Profile.Column("prediction")
	if !ok || prediction.Rows != uint64(b.Metrics.Validation.Rows+b.Metrics.Test.Rows) {
		t.Errorf("predictions: %+v", prediction)
	}
}
