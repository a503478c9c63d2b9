package table

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"millrace.dev/internal/cdc"
	"millrace.dev/record"
)

const million = 1_000_000

// filled returns a table with a million keys, each with some versions at 0, 1, 2 and so on, and the keys in random order.
func filled(b *testing.B, history time.Duration, versions int) (*Table, []string) {
	b.Helper()
	t := newTable(b, history)
	keys := make([]string, million)
	for i := range keys {
		keys[i] = strconv.Itoa(10_000_000 + i)
	}
	rows := make([]*record.Row, 0, million)
	for i := range million {
		rows = append(rows, rowOf(i))
	}
	for v := range versions {
		for i, key := range keys {
			t.Apply(&cdc.Change{Op: cdc.Upsert, Key: key, Row: rows[i], At: int64(v)})
		}
	}
	order := make([]string, million)
	for i, j := range rand.New(rand.NewPCG(1, 2)).Perm(million) {
		order[i] = strconv.Itoa(10_000_000 + j) // not the bytes that the table has
	}
	return t, order
}

func BenchmarkGet(b *testing.B) {
	for _, c := range []struct {
		name     string
		history  time.Duration
		versions int
		at       int64
	}{
		{"latest", 0, 1, record.MissingTime},
		{"one_version", Forever, 1, 5},
		{"newest_of_four", Forever, 4, 5},
		{"second_of_four", Forever, 4, 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			t, keys := filled(b, c.history, c.versions)
			var sum float64
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				sum += t.Get(keys[i], c.at).Numbers[0]
				if i++; i == len(keys) {
					i = 0
				}
			}
			if sum == 0 {
				b.Fatal("nothing found")
			}
		})
	}
}

// Readers on all processors, beside a writer.
func BenchmarkGetParallel(b *testing.B) {
	t, keys := filled(b, time.Hour, 1)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		row := rowOf(1)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				t.Apply(&cdc.Change{Op: cdc.Upsert, Key: keys[i%million], Row: row, At: int64(i)})
			}
		}
	}()
	b.ResetTimer() // without the filling
	b.RunParallel(func(p *testing.PB) {
		for i := rand.IntN(million); p.Next(); i++ {
			if t.Get(keys[i%million], record.MissingTime) == nil {
				b.Error("nothing found")
				return
			}
		}
	})
	close(stop)
	<-stopped
}

func BenchmarkApply(b *testing.B) {
	for name, history := range map[string]time.Duration{"latest": 0, "an_hour": time.Hour} {
		b.Run(name, func(b *testing.B) {
			t, keys := filled(b, history, 1)
			row := rowOf(1)
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				t.Apply(&cdc.Change{Op: cdc.Upsert, Key: keys[i%million], Row: row, At: int64(i) * 10_000})
				i++
			}
		})
	}
}

func TestGetDoesNotAllocate(t *testing.T) {
	table := newTable(t, Forever)
	for i := range 5 {
		table.Apply(upsert("k", i, int64(i)))
	}
	table.Apply(upsert("single", 1, 1))
	for _, key := range []string{"k", "single", "none"} {
		for _, at := range []int64{record.MissingTime, -1, 2, 99} {
			if n := testing.AllocsPerRun(100, func() { table.Get(key, at) }); n != 0 {
				t.Errorf("%s at %d: %g allocations", key, at, n)
			}
		}
	}
}
