package serve

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// taken is what a batch has of a call.
type taken struct{ Call, From, To int }

// calls has requests wait for a version, in a queue without workers.
type calls struct {
	queue *queue
	all   []*call
}

func newCalls(o Options) *calls {
	o.Now = time.Now
	return &calls{queue: newQueue(&o)}
}

func (c *calls) lane(k kind) *lane { return &lane{version: &Version{stats: &stats{}}, kind: k} }

func (c *calls) add(t *testing.T, l *lane, rows int) {
	t.Helper()
	own := &call{rows: make([]Row, rows), left: rows, done: make(chan struct{})}
	if err := c.queue.add(l, own); err != nil {
		t.Fatal(err)
	}
	c.all = append(c.all, own)
}

// take returns what the next batch has.
func (c *calls) take() (*lane, []taken) {
	var b batch
	if !c.queue.take(&b) {
		return nil, nil
	}
	var list []taken
	for _, p := range b.parts {
		list = append(list, taken{slices.Index(c.all, p.call), p.from, p.to})
	}
	l := b.lane
	c.queue.finish(&b)
	return l, list
}

// TestTurns lets small requests pass large ones, and one model another.
func TestTurns(t *testing.T) {
	t.Parallel()
	c := newCalls(Options{MaxRows: 10, Queue: 1000})
	one, other := c.lane(kindRecords), c.lane(kindInputs)
	c.add(t, one, 25)
	c.add(t, one, 3)
	c.add(t, other, 12)
	c.add(t, one, 12)
	for i, want := range []struct {
		lane *lane
		part []taken
	}{
		{one, []taken{{0, 0, 10}}},
		{other, []taken{{2, 0, 10}}},
		{one, []taken{{1, 0, 3}, {3, 0, 7}}},
		{other, []taken{{2, 10, 12}}},
		{one, []taken{{0, 10, 20}}},
		{one, []taken{{3, 7, 12}, {0, 20, 25}}},
	} {
		l, got := c.take()
		if diff := cmp.Diff(want.part, got); diff != "" || l != want.lane {
			t.Errorf("batch %d (-want +got):\n%s", i, diff)
		}
	}
	if c.queue.rows != 0 || c.queue.ring.n != 0 {
		t.Errorf("%d rows wait, %d lanes can be taken from", c.queue.rows, c.queue.ring.n)
	}
	c.queue.close()
	if l, _ := c.take(); l != nil {
		t.Error("there is a batch when nothing waits")
	}
}

// TestShare splits what waits among the workers that are idle, unless that is too little.
func TestShare(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ rows, idle, want int }{
		{1, 3, 1}, {40, 3, 32}, {200, 0, 200}, {200, 1, 100}, {200, 3, 50}, {201, 3, 51}, {5000, 1, 256},
	} {
		c := newCalls(Options{MaxRows: 256, Queue: 10000})
		c.queue.idle = test.idle
		c.add(t, c.lane(kindRecords), test.rows)
		if _, got := c.take(); got[0].To != test.want {
			t.Errorf("%d rows with %d idle workers beside: a batch has %d, want %d", test.rows, test.idle, got[0].To, test.want)
		}
	}
}

// TestExplainedFew has batches of rows that are explained be small, so that others get their turn.
func TestExplainedFew(t *testing.T) {
	t.Parallel()
	c := newCalls(Options{MaxRows: 256, Queue: 10000})
	c.add(t, c.lane(kindExplained), 100)
	if _, got := c.take(); got[0].To != mostExplained {
		t.Errorf("a batch has %d rows", got[0].To)
	}
}

// TestFifo compares with a list.
func TestFifo(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	var f fifo[int]
	var want []int
	for i := range 10_000 {
		if r.IntN(2) == 0 {
			f.push(i)
			want = append(want, i)
		} else if len(want) > 0 {
			if got := f.pop(); got != want[0] {
				t.Fatalf("step %d: %d, want %d", i, got, want[0])
			}
			want = want[1:]
		}
		if f.n != len(want) {
			t.Fatalf("step %d: %d elements, want %d", i, f.n, len(want))
		}
	}
}

// TestDistribution puts values where Below says.
func TestDistribution(t *testing.T) {
	t.Parallel()
	var h histogram
	values := []uint64{0, 1, 2, 3, 4, 1000, 1023, 1024, 1 << 62}
	sum := uint64(0)
	for _, v := range values {
		h.add(v)
		sum += v
	}
	d := h.read()
	if d.Count != uint64(len(values)) || d.Sum != sum {
		t.Errorf("%d values with the sum %d", d.Count, d.Sum)
	}
	for i := range Buckets - 1 {
		want := uint64(0)
		for _, v := range values {
			if v < 1<<i {
				want++
			}
		}
		if d.Below[i] != want {
			t.Errorf("%d values are below 2^%d, want %d", d.Below[i], i, want)
		}
	}
}
