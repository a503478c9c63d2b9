package profile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/profile"
	"millrace.dev/record"
)

func schema(t testing.TB) *record.Schema {
	t.Helper()
	s, err := record.NewSchema(
		record.Field{Name: "date", Type: record.Time}, record.Field{Name: "price", Type: record.Numeric},
		record.Field{Name: "sqft", Type: record.Numeric}, record.Field{Name: "city", Type: record.Enum},
		record.Field{Name: "street", Type: record.String},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func inputs() []record.Column {
	return []record.Column{{Name: "sqft", Type: record.Numeric}, {Name: "age", Type: record.Numeric}, {Name: "size", Type: record.Enum, Levels: []string{"big", "small"}}}
}

// rows makes n rows: every 7th price is missing, every 11th row is rejected.
func rows(t testing.TB, rng *rand.Rand, n int) *profile.Rows {
	t.Helper()
	b := record.NewBatch(schema(t), map[string][]string{"city": {"Kent", "Seattle"}})
	f := &record.Frame{Rows: n, Columns: inputs()}
	r := &profile.Rows{Batch: b, Frame: f}
	for i := range n {
		b.Append(record.Raw{})
		b.Times(0)[i] = int64(1.4e15) + rng.Int64N(1e12)
		if i%7 != 0 {
			b.Numbers(1)[i] = math.Exp(13 + rng.NormFloat64())
		}
		b.Numbers(2)[i] = float64(rng.IntN(4)) * 500 // few differ
		if k := rng.IntN(5); k > 0 {
			b.Codes(3)[i] = b.Dict(3).Code([]byte([]string{"", "Kent", "Seattle", "Auburn", "Renton"}[k]))
		}
		b.Texts(4).Set(i, fmt.Appendf(nil, "%d Main St", rng.IntN(30)))
		f.Columns[0].Numbers = append(f.Columns[0].Numbers, b.Numbers(2)[i])
		f.Columns[1].Numbers = append(f.Columns[1].Numbers, math.Floor(100*rng.Float64()*rng.Float64()))
		f.Columns[2].Codes = append(f.Columns[2].Codes, int32(rng.IntN(3))-1)
		r.Predictions = append(r.Predictions, 1e5*rng.Float64())
		if i%11 == 0 {
			b.Reject(i, record.Problem{Stage: record.StageDecode})
		}
	}
	return r
}

func TestSurveyIsWhatThereIs(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	r := rows(t, rng, 5000)
	s := profile.NewSurvey(profile.NewLayout(schema(t), inputs(), "price"))
	s.Add(0, r)
	if !s.Exact() {
		t.Error("5,000 rows are not all held")
	}
	p := s.Profile()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	kept := 5000 - 455
	if p.Rows != uint64(kept) {
		t.Errorf("%d rows, want %d", p.Rows, kept)
	}
	var names []string
	for _, c := range p.Columns {
		names = append(names, fmt.Sprintf("%s %s %s", c.Name, c.Role, c.Kind))
	}
	want := []string{
		"date field time", "price label number", "sqft field number", "city field level", "street field text", "age feature number", "size feature level",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	price, _ := p.Column("price")
	var missing, sum, n float64
	low, high := math.Inf(1), math.Inf(-1)
	for i, x := range r.Batch.Numbers(1) {
		switch {
		case r.Batch.Problem(i) != nil:
		case x != x:
			missing++
		default:
			sum, n, low, high = sum+x, n+1, min(low, x), max(high, x)
		}
	}
	if price.Missing != uint64(missing) || price.Min != low || price.Max != high || math.Abs(price.Mean/(sum/n)-1) > 1e-12 || price.Distinct < 3800 {
		t.Errorf("price: %+v; want %v missing, %v to %v, mean %v", price, missing, low, high, sum/n)
	}
	if k := len(price.Edges); k < 100 || k > profile.Bins || price.Edges[0] != low || price.Edges[k-1] != high {
		t.Errorf("%d edges from %v to %v", k, price.Edges[0], price.Edges[k-1])
	}
	for i, c := range price.Counts[1 : len(price.Counts)-1] {
		if c < 10 || c > 60 {
			t.Errorf("bin %d of %d has %d of %v values", i+1, len(price.Counts), c, n)
		}
	}
	sqft, _ := p.Column("sqft")
	if diff := cmp.Diff([]float64{0, 500, 1000, 1500}, sqft.Edges); diff != "" {
		t.Error("where few values differ, each has a bin:", diff)
	}
	city, _ := p.Column("city")
	if diff := cmp.Diff([]string{"Auburn", "Kent", "Renton", "Seattle"}, city.Levels); diff != "" {
		t.Error(diff)
	}
	size, _ := p.Column("size")
	if size.Missing == 0 || len(size.Levels) != 2 {
		t.Errorf("size: %+v", size)
	}
}

// TestPartsMerge holds surveys and counters to give the same whatever the parts and their order.
func TestPartsMerge(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 3))
	layout := profile.NewLayout(schema(t), inputs(), "price")
	var parts []*profile.Rows
	for range 8 {
		parts = append(parts, rows(t, rng, 1+rng.IntN(6000)))
	}
	survey := func(order []int, groups int) *profile.Survey {
		first := make([]uint64, len(parts))
		for i := range parts[1:] {
			first[i+1] = first[i] + uint64(parts[i].Batch.Len())
		}
		list := make([]*profile.Survey, groups)
		for i := range list {
			list[i] = profile.NewSurvey(layout)
		}
		for _, k := range order {
			list[rng.IntN(groups)].Add(first[k], parts[k])
		}
		for len(list) > 1 {
			list[0].Merge(list[len(list)-1])
			list = list[:len(list)-1]
		}
		return list[0]
	}
	text := func(p *profile.Profile) string {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	whole := survey([]int{0, 1, 2, 3, 4, 5, 6, 7}, 1)
	p := whole.Profile()
	p.Columns = append(p.Columns, profile.Predictions(parts[0].Predictions))
	want := ""
	for range 10 {
		order := rng.Perm(len(parts))
		if got := text(survey(order, 3).Profile()); got != text(whole.Profile()) {
			t.Fatalf("seed %d: the survey depends on the order", seed)
		}
		list := make([]*profile.Counter, 3)
		for i := range list {
			c, err := profile.NewCounter(p, layout)
			if err != nil {
				t.Fatal(err)
			}
			list[i] = c
		}
		for _, k := range order {
			list[rng.IntN(3)].Add(parts[k])
		}
		for i := 1; i < 3; i++ {
			b, err := list[i].AppendBinary(nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := list[0].MergeBinary(b); err != nil {
				t.Fatal(err)
			}
		}
		b, _ := list[0].AppendBinary(nil) // it never fails
		if want == "" {
			want = string(b)
		}
		if string(b) != want {
			t.Fatalf("seed %d: the counts depend on the order", seed)
		}
		got := list[0].Profile()
		if err := got.Validate(); err != nil {
			t.Fatal(err)
		}
		for i := range got.Columns[:7] {
			if ref := &p.Columns[i]; whole.Exact() && !slices.Equal(ref.Counts, got.Columns[i].Counts) || ref.Missing != got.Columns[i].Missing {
				t.Errorf("seed %d: %s: the counter counts otherwise than the survey", seed, ref.Name)
			}
		}
	}
}

func TestUnseenGoesToTheLastBin(t *testing.T) {
	t.Parallel()
	layout := profile.NewLayout(schema(t), inputs(), "")
	p := &profile.Profile{Rows: 4, Columns: []profile.Column{
		{Name: "city", Role: profile.Field, Kind: profile.Level, Rows: 4, Levels: []string{"Kent"}, Counts: []uint64{4, 0}},
		{Name: "sqft", Role: profile.Field, Kind: profile.Number, Rows: 4, Edges: []float64{1, 500}, Counts: []uint64{2, 2, 0}},
		{Name: "street", Role: profile.Field, Kind: profile.Text, Rows: 4},
	}}
	c, err := profile.NewCounter(p, layout)
	if err != nil {
		t.Fatal(err)
	}
	r := rows(t, rand.New(rand.NewPCG(1, 1)), 1000)
	c.Add(r)
	got := c.Profile()
	kept := got.Rows
	city, _ := got.Column("city")
	if city.Counts[0]+city.Counts[1]+city.Missing != kept || city.Counts[1] < 400 || city.Counts[0] < 100 {
		t.Errorf("city: %+v", city)
	}
	sqft, _ := got.Column("sqft")
	if sqft.Counts[0]+sqft.Counts[1]+sqft.Counts[2] != kept || sqft.Counts[2] < 300 {
		t.Errorf("sqft: %+v", sqft)
	}
	if street, _ := got.Column("street"); street.Rows != kept || street.Counts != nil {
		t.Errorf("street: %+v", street)
	}
	r.Batch.Numbers(2)[1], r.Batch.Numbers(2)[2] = math.Inf(1), math.Inf(-1)
	c.Reset()
	c.Add(r)
	sqft, _ = c.Profile().Column("sqft")
	if math.IsInf(sqft.Max, 0) || sqft.Counts[0]+sqft.Counts[1]+sqft.Counts[2] != kept {
		t.Errorf("infinities: %+v", sqft)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	s := profile.NewSurvey(profile.NewLayout(schema(t), inputs(), "price"))
	s.Add(0, rows(t, rand.New(rand.NewPCG(4, 4)), 300))
	for _, p := range []*profile.Profile{s.Profile(), profile.NewSurvey(profile.NewLayout(schema(t), inputs(), "")).Profile()} {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back profile.Profile
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if err := back.Validate(); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(&back)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%v, %s\n%s", err, b, again)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	layout := profile.NewLayout(schema(t), inputs(), "")
	r := rows(t, rand.New(rand.NewPCG(4, 4)), 1024)
	s := profile.NewSurvey(layout)
	s.Add(0, r)
	p := s.Profile()
	c, err := profile.NewCounter(p, layout)
	if err != nil {
		t.Fatal(err)
	}
	c.Add(r)
	if n := testing.AllocsPerRun(20, func() { c.Add(r) }); n > 2 {
		t.Errorf("%v allocations a batch", n)
	}
}

func FuzzMergeBinary(f *testing.F) {
	layout := profile.NewLayout(schema(f), inputs(), "")
	r := rows(f, rand.New(rand.NewPCG(4, 4)), 100)
	s := profile.NewSurvey(layout)
	s.Add(0, r)
	p := s.Profile()
	c, err := profile.NewCounter(p, layout)
	if err != nil {
		f.Fatal(err)
	}
	c.Add(r)
	b, _ := c.AppendBinary(nil) // it never fails
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := profile.NewCounter(p, layout)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.MergeBinary(b); err != nil {
			if !errors.Is(err, profile.ErrCounter) {
				t.Error(err)
			}
			return
		}
		out, _ := c.AppendBinary(nil) // it never fails
		if err := c.MergeBinary(out); err != nil {
			t.Error(err)
		}
		c.Profile()
	})
}

func BenchmarkCounter(b *testing.B) {
	layout := profile.NewLayout(schema(b), inputs(), "")
	r := rows(b, rand.New(rand.NewPCG(4, 4)), 1024)
	s := profile.NewSurvey(layout)
	s.Add(0, r)
	p := s.Profile()
	p.Columns = append(p.Columns, profile.Predictions(r.Predictions))
	c, err := profile.NewCounter(p, layout)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		c.Add(r)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024/float64(len(p.Columns)), "ns/value")
}
