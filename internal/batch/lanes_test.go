package batch

import (
	"testing"

	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
)

// numbers is a worker that notes by which numbers rows are fitted.
type numbers struct{ seen []int64 }

func (n *numbers) run(l *lane) {
	for i := range l.batch.Len() {
		n.seen = append(n.seen, l.batch.Raw(i).Offset)
	}
}

func (n *numbers) commit(*lane) error { return nil }

// TestNumbers holds that rows are fitted by their numbers in the data: the partitions of a topic have the same offsets, and of
// rows with one number a sample would keep any, by the order in which lanes are merged.
func TestNumbers(t *testing.T) {
	t.Parallel()
	tr := &trainer{TrainOptions: flats(t, flatRows(10))}
	if err := tr.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := tr.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	windows, err := pipeline.NewWindows(tr.plan)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tr.newLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	var work numbers
	l.first, l.work = 7, &work
	for partition := range int32(2) {
		l.batch.Append(record.Raw{Value: []byte("30,Ulm,2020-01-01,300"), Topic: "flats", Partition: partition, Offset: 5})
	}
	if err := tr.process([]*lane{l}, 1, windows, pipeline.NewMemoryStates(windows)); err != nil {
		t.Fatal(err)
	}
	if len(work.seen) != 2 || work.seen[0] != 7 || work.seen[1] != 8 {
		t.Errorf("numbers %v, want 7 and 8", work.seen)
	}
}
