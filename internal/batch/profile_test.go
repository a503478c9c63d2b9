package batch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"

	"millrace.dev/profile"
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
	if err := b.Profile.Validate(); err != nil {
		t.Fatal(err)
	}
	sample := b.Profile.Sample
	if sample == nil || sample.Rows < 3700 || sample.Rows > profile.SampleRows {
		t.Fatalf("the sample: %+v", sample)
	}
	width, at := len(b.Profile.Columns), 0
	var missing, below int
	for row := range sample.Rows {
		if sample.Bins[row*width+at] == profile.NoBin {
			missing++
		} else if int(sample.Bins[row*width+at]) < len(size.Counts)/2 {
			below++
		}
	}
	if missing > 0 || math.Abs(float64(below)/float64(sample.Rows)-0.5) > 0.04 {
		t.Errorf("of %d sampled rows %d are missing, %d in the lower half", sample.Rows, missing, below)
	}
}
