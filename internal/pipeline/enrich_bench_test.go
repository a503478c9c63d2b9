package pipeline_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"millrace.dev/feature"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/table"
	"millrace.dev/record"
)

// payments returns the schema of payments and batches of them, a minute apart for each of some cards.
func payments(b *testing.B, cards int) (*record.Schema, []*record.Batch) {
	b.Helper()
	s, err := record.NewSchema(
		record.Field{Name: "card", Type: record.String}, record.Field{Name: "amount", Type: record.Numeric}, record.Field{Name: "date", Type: record.Time},
	)
	if err != nil {
		b.Fatal(err)
	}
	card, amount, date := index(s, "card"), index(s, "amount"), index(s, "date")
	r := rand.New(rand.NewPCG(1, 2))
	var batches []*record.Batch
	for k := range 64 {
		batch := record.NewBatch(s, nil)
		for i := range pipeline.BatchRows {
			batch.Append(record.Raw{Offset: int64(k*pipeline.BatchRows + i)})
			batch.Texts(card).Set(i, fmt.Appendf(nil, "card-%07d", r.IntN(cards)))
			batch.Numbers(amount)[i] = float64(r.IntN(10_000)) / 100
			batch.Times(date)[i] = int64(k*pipeline.BatchRows+i) * time.Minute.Microseconds() / int64(cards)
		}
		batches = append(batches, batch)
	}
	return s, batches
}

func index(s *record.Schema, name string) int {
	i, _ := s.Index(name)
	return i
}

// BenchmarkWindows aggregates payments of 1,000 cards over an hour, in states that are in memory. One operation is a batch;
// ns/record is the median of the batches, with the expressions of the window.
func BenchmarkWindows(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, batches := payments(b, 1000)
	p, err := feature.Compile(feature.Declaration{
		Schema: s, Inputs: []string{"n", "mean", "largest", "before"},
		Windows: []feature.Window{{
			Name: "w", Key: "card", Size: time.Hour,
			Aggregates: []feature.Spec{{Name: "n", Expr: "count()"}, {Name: "mean", Expr: "mean(amount)"}, {Name: "largest", Expr: "max(amount)"}, {Name: "before", Expr: "last(amount)"}},
		}},
		Features: []feature.Spec{{Name: "n", Expr: "w.n"}, {Name: "mean", Expr: "amount / w.mean"}, {Name: "largest", Expr: "w.largest"}, {Name: "before", Expr: "amount - w.before"}},
	})
	if err != nil {
		b.Fatal(err)
	}
	w, err := pipeline.NewWindows(p)
	if err != nil {
		b.Fatal(err)
	}
	states, date, times := pipeline.NewMemoryStates(w), index(s, "date"), []int64(nil)
	lap := batches[1].Times(date)[0] - batches[0].Times(date)[0]
	observe := func(i int) {
		batch := batches[i%len(batches)]
		times = times[:0]
		for k := range batch.Len() { // time goes on
			times = append(times, batch.Times(date)[k]+int64(i/len(batches)*len(batches))*lap)
		}
		if _, err := w.Observe(batch, times, states); err != nil {
			b.Fatal(err)
		}
	}
	const warm = 256
	for i := range warm {
		observe(i)
	}
	c := clock{took: make([]time.Duration, 0, max(b.N, 1))}
	var a allocations
	a.begin()
	b.ResetTimer()
	for i := range b.N {
		c.begin()
		observe(warm + i)
		c.end()
	}
	b.StopTimer()
	a.report(b)
	c.report(b, "ns/record")
}

// tableRows looks rows up in tables in memory.
type tableRows []*table.Table

func (r tableRows) Row(t, _ int, key string, at int64) *record.Row { return r[t].Get(key, at) }

// BenchmarkLookups evaluates three columns of rows of a table of a million. One operation is a batch; ns/record is the
// median. Warm, 1,000 keys come again and again; cold, all do.
func BenchmarkLookups(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const size = 1_000_000
	of, err := record.NewSchema(record.Field{Name: "card", Type: record.String}, record.Field{Name: "limit", Type: record.Numeric}, record.Field{Name: "country", Type: record.Enum})
	if err != nil {
		b.Fatal(err)
	}
	t, err := table.New(table.Options{Schema: of})
	if err != nil {
		b.Fatal(err)
	}
	rows := record.NewBatch(of, nil)
	for i := range size {
		k := rows.Len()
		rows.Append(record.Raw{})
		rows.Texts(index(of, "card")).Set(k, fmt.Appendf(nil, "card-%07d", i))
		rows.Numbers(index(of, "limit"))[k] = float64(i)
		rows.Codes(index(of, "country"))[k] = rows.Dict(index(of, "country")).Code(fmt.Appendf(nil, "country %d", i%200))
		if rows.Len() == pipeline.BatchRows || i == size-1 {
			if _, err := t.AddBatch(rows, index(of, "card"), -1); err != nil {
				b.Fatal(err)
			}
			rows.Reset()
		}
	}
	for name, cards := range map[string]int{"warm": 1000, "cold": size} {
		b.Run(name, func(b *testing.B) {
			s, batches := payments(b, cards)
			p, err := feature.Compile(feature.Declaration{
				Schema: s, Inputs: []string{"limit", "share", "country"}, Tables: []feature.Table{{Name: "cards", Schema: of}},
				Features: []feature.Spec{{Name: "limit", Expr: "cards[card].limit"}, {Name: "share", Expr: "amount / cards[card].limit"}, {Name: "country", Expr: "cards[card].country"}},
			})
			if err != nil {
				b.Fatal(err)
			}
			e, finder, times := p.NewEvaluator(), pipeline.NewFinder(p, nil), make([]int64, pipeline.BatchRows)
			lookup := pipeline.Lookup(tableRows{t})
			for _, batch := range batches {
				e.Eval(batch, feature.Enrichment{Rows: finder.Bind(batch, times, lookup)})
			}
			c := clock{took: make([]time.Duration, 0, max(b.N, 1))}
			var a allocations
			a.begin()
			b.ResetTimer()
			for i := range b.N {
				c.begin()
				batch := batches[i%len(batches)]
				e.Eval(batch, feature.Enrichment{Rows: finder.Bind(batch, times, lookup)})
				c.end()
			}
			b.StopTimer()
			a.report(b)
			c.report(b, "ns/record")
			if n := finder.Counts()[0]; n.Found == 0 || n.NoRow != 0 {
				b.Fatalf("%+v", n)
			}
		})
	}
}
