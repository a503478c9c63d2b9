package stream

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// TestLimit drives tables and windows of several tasks, with rows from 10 B to 1 MB, and looks at what they say that they take, and
// at the heap. A driver that commits where the budget asks for it keeps the limit.
func TestLimit(t *testing.T) { // not parallel: it measures the heap
	initial, add := func() string { return "" }, func(_ int64, v, _ string) string { return strings.Clone(v) }
	sizes := []int{10, 10, 10, 100, 100, 1000, 1000, 10_000, 10_000, 100_000, 1 << 20}
	windows := func(i int) []WindowOption { return [][]WindowOption{{EmitOnCommit()}, {EmitOnClose()}, nil}[i%3] }
	for _, c := range []struct {
		name    string
		keys    int64 // of each task
		sizes   []int
		declare func(g Grouped[int64, string], i int, name string)
	}{
		{"tables", 800, sizes, func(g Grouped[int64, string], i int, name string) {
			var opts []StoreOption
			if i == 0 {
				opts = append(opts, EmitOnCommit())
			}
			Aggregate(g, name, String(), initial, add, opts...)
		}},
		{"sliding", 100, sizes[:len(sizes)-1], func(g Grouped[int64, string], i int, name string) {
			AggregateWindows(WindowedBy(g, Sliding(3*time.Second)), name, String(), initial, add, windows(i)...)
		}},
		{"sessions", 100, sizes, func(g Grouped[int64, string], i int, name string) {
			w := Sessions(100 * time.Millisecond).Grace(time.Minute)
			AggregateSessions(WindowedBySessions(g, w), name, String(), initial, add, func(_ int64, _, b string) string { return b }, windows(i)...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) { testLimit(t, c.keys, c.sizes, c.declare) })
	}
}

func testLimit(t *testing.T, keys int64, sizes []int, declare func(g Grouped[int64, string], i int, name string)) {
	t.Helper()
	const (
		tasks, tables = 3, 4
		limit         = 32 << 20
		seed          = 7
		slack         = 20 << 20 // a record of 1 MB in each table: the row, the write with room to grow, and its copy
	)
	top := New("limit")
	in := From(top, "in", Int64(), String())
	for i := range tables {
		declare(GroupByKey(in), i, fmt.Sprintf("t%d", i))
	}
	p, err := top.Program()
	noError(t, err)
	var source task.Loader
	build := p.Subs[0].Build
	p.Subs[0].Build = func(ctx *task.Context) (*task.Processors, error) {
		procs, err := build(ctx)
		if err == nil {
			source = procs.Sources[0]
		}
		return procs, err
	}
	before := heap()
	db, err := store.Open(t.TempDir(), store.Options{MemoryBytes: limit})
	noError(t, err)
	var list []*driven
	for i := range int32(tasks) {
		d := &driven{tb: t}
		d.state, err = db.Task(task.ID{Partition: i}.String())
		noError(t, err)
		d.task, err = task.New(p, task.ID{Partition: i}, task.Env{
			Context: t.Context(), Output: nowhere{}, State: d.state, Now: func() time.Time { return time.UnixMilli(0) },
			Log: slog.New(slog.DiscardHandler), Wake: func() {},
		})
		noError(t, err)
		noError(t, d.task.Start())
		d.source = source
		list = append(list, d)
	}
	b, commits := db.Budget(), 0
	commit := func() {
		commits++
		for _, d := range list {
			d.commit()
		}
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	highest := int64(0)
	for i := range 1_500 {
		n := sizes[rnd.IntN(len(sizes))]
		if n == 1<<20 && rnd.IntN(4) > 0 {
			n = 10
		}
		d := list[rnd.IntN(tasks)]
		if i > 1_000 {
			d = list[0] // the others have nothing to do any more
		}
		noError(t, first[int64, string](d).send(&Record[int64, string]{Key: rnd.Int64N(keys), Value: strings.Repeat("x", n), Timestamp: int64(i)}))
		if b.CommitNow() {
			commit()
			if b.Over() {
				for _, d := range list {
					d.state.Trim()
				}
			}
		}
		if i%500 == 499 {
			highest = max(highest, heap()-before)
		}
	}
	u := b.Usage()
	t.Logf("%+v in %d commits; the heap had %d MiB", u, commits, highest>>20)
	if u.Peak > limit+slack || u.Evicted == 0 || commits == 0 {
		t.Errorf("seed %d: the peak is %d KiB of %d", seed, u.Peak>>10, limit>>10)
	}
	if highest > (limit+slack)*3/2 {
		t.Errorf("seed %d: the heap had %d MiB", seed, highest>>20)
	}
	if u.Rows < limit/16 {
		t.Errorf("seed %d: rows have %d KiB of %d: they make more room than is needed", seed, u.Rows>>10, limit>>10)
	}
	for _, d := range list {
		d.task.Close()
		noError(t, d.state.Close())
	}
	if u := b.Usage(); u.Total() != u.Disk {
		t.Errorf("at the end: %+v", u)
	}
	noError(t, db.Close())
	runtime.KeepAlive(list)
}

// nowhere is an output that keeps nothing.
type nowhere struct{}

func (nowhere) Send(*task.Message) *record.Problem { return nil }

func (nowhere) Change(string, []byte, []byte) error { return nil }

func (nowhere) Drop(*record.Raw, task.Drop) {}
