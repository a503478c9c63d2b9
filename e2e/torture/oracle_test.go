package torture

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// history is what a pipeline without a fault might have done, in the order in which a consumer has seen it.
type history struct {
	inputs  []Input
	outputs []Output
}

// draw makes a history: records of several keys, and of none, in several partitions, worked off by partition in
// order but interleaved at will.
func draw(t *rapid.T) history {
	var h history
	partitions := rapid.IntRange(1, 4).Draw(t, "partitions")
	queues := make([][]int, partitions)
	for p := range partitions {
		offset := int64(rapid.IntRange(0, 5).Draw(t, "first offset"))
		for range rapid.IntRange(3, 30).Draw(t, "records") {
			in := Input{Source: Source{int32(p), offset}, Value: fmt.Appendf(nil, "value of %d/%d", p, offset), Kind: Prediction}
			if k := rapid.IntRange(-1, 3).Draw(t, "key"); k >= 0 {
				in.Key = fmt.Appendf(nil, "key %d", k)
			}
			if rapid.IntRange(0, 9).Draw(t, "bad") == 0 {
				in.Kind = DeadLetter
			}
			queues[p] = append(queues[p], len(h.inputs))
			h.inputs = append(h.inputs, in)
			offset += int64(rapid.IntRange(1, 3).Draw(t, "step"))
		}
	}
	next, now := map[place]int64{}, time.Unix(1000, 0)
	for len(queues) > 0 {
		q := rapid.IntRange(0, len(queues)-1).Draw(t, "queue")
		in := h.inputs[queues[q][0]]
		at := place{in.Kind, in.Partition}
		now = now.Add(time.Millisecond)
		h.outputs = append(h.outputs, Output{
			Kind: in.Kind, Source: in.Source, Partition: in.Partition, Offset: next[at], Key: in.Key, Value: in.Value, Seen: now,
		})
		next[at] += int64(rapid.IntRange(1, 2).Draw(t, "marker"))
		if queues[q] = queues[q][1:]; len(queues[q]) == 0 {
			queues = slices.Delete(queues, q, q+1)
		}
	}
	return h
}

// renumber gives the outputs of each partition rising offsets in the order in which they stand.
func (h *history) renumber() {
	next := map[place]int64{}
	for i := range h.outputs {
		at := place{h.outputs[i].Kind, h.outputs[i].Partition}
		h.outputs[i].Offset = next[at]
		next[at]++
	}
}

func (h *history) judge(t *rapid.T) *Report {
	o, err := NewOracle(h.inputs)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range h.outputs {
		o.Observe(out)
	}
	r := o.Report()
	if r.Lost != o.Missing() {
		t.Errorf("lost %d, missing %d", r.Lost, o.Missing())
	}
	return r
}

// violations compares all counts of violations.
func violations(t *rapid.T, got *Report, want Report) {
	t.Helper()
	ignore := cmpopts.IgnoreFields(Report{}, "Inputs", "Predictions", "DeadLetters", "Examples", "Gap", "GapAt", "PartitionGap", "GapPartition")
	if diff := cmp.Diff(want, *got, ignore); diff != "" {
		t.Errorf("violations (-want +got):\n%s\n%v", diff, got.Err())
	}
	if bad := !cmp.Equal(want, Report{}) && want.Redelivered == 0; bad != (got.Err() != nil) || bad && len(got.Examples) == 0 {
		t.Errorf("error: %v, examples: %q", got.Err(), got.Examples)
	}
}

func TestFaultless(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := draw(t)
		r := h.judge(t)
		violations(t, r, Report{})
		if r.Inputs != len(h.inputs) || r.Predictions+r.DeadLetters != len(h.inputs) {
			t.Errorf("counts: %s", r)
		}
	})
}

// TestMutants breaks a faultless history in one way each, and wants to see just that.
func TestMutants(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]struct {
		mutate func(t *rapid.T, h *history, i int) // i is any output
		want   Report
	}{
		"lost": {func(_ *rapid.T, h *history, i int) { h.outputs = slices.Delete(h.outputs, i, i+1) }, Report{Lost: 1}},
		"duplicated": {func(t *rapid.T, h *history, i int) {
			at := rapid.IntRange(i+1, len(h.outputs)).Draw(t, "at")
			h.outputs = slices.Insert(h.outputs, at, h.outputs[i])
		}, Report{Duplicated: 1}},
		"prediction and dead letter": {func(t *rapid.T, h *history, i int) {
			h.inputs[slices.IndexFunc(h.inputs, func(in Input) bool { return in.Source == h.outputs[i].Source })].Kind = Either
			twin := h.outputs[i]
			twin.Kind = Prediction + DeadLetter - twin.Kind
			twin.Value = []byte("value of " + twin.Source.String())
			at := i + rapid.IntRange(0, 1).Draw(t, "after") // further off it would be out of order as well
			h.outputs = slices.Insert(h.outputs, at, twin)
		}, Report{Both: 1}},
		"of no input": {func(_ *rapid.T, h *history, i int) {
			stranger := h.outputs[i]
			stranger.Source.Offset = 1e6
			h.outputs = slices.Insert(h.outputs, i, stranger)
		}, Report{Unknown: 1}},
		"of no partition": {func(_ *rapid.T, h *history, i int) {
			stranger := h.outputs[i]
			stranger.Source.Partition = 99
			h.outputs = slices.Insert(h.outputs, i, stranger)
		}, Report{Unknown: 1}},
		"wrong key":  {func(_ *rapid.T, h *history, i int) { h.outputs[i].Key = []byte("another") }, Report{WrongKey: 1}},
		"empty key":  {func(t *rapid.T, h *history, _ int) { i := keyless(t, h); h.outputs[i].Key = []byte{} }, Report{WrongKey: 1}},
		"wrong kind": {func(t *rapid.T, h *history, _ int) { flipKind(t, h) }, Report{WrongKind: 1}},
		"wrong value": {func(t *rapid.T, h *history, _ int) {
			i := pick(t, h, func(o *Output) bool { return o.Kind == Prediction })
			h.outputs[i].Value = append(slices.Clone(h.outputs[i].Value), ' ')
		}, Report{WrongValue: 1}},
		"reordered": {func(t *rapid.T, h *history, _ int) {
			i, j := pair(t, h)
			h.outputs[i], h.outputs[j] = h.outputs[j], h.outputs[i]
		}, Report{Reordered: 1}},
		"scattered": {func(t *rapid.T, h *history, _ int) {
			_, j := pair(t, h)
			last := j
			for k := j; k < len(h.outputs); k++ { // the key goes on in the other partition
				if sameLine(&h.outputs[j], &h.outputs[k]) {
					last = k
				}
			}
			for k := j; k <= last; k++ {
				if k != j && sameLine(&h.outputs[j], &h.outputs[k]) {
					h.outputs[k].Partition = 77
				}
			}
			h.outputs[j].Partition = 77
		}, Report{Scattered: 1}},
		"redelivered": {func(_ *rapid.T, h *history, i int) {
			h.renumber()
			h.outputs = append(h.outputs, h.outputs[i])
		}, Report{Redelivered: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				h := draw(t)
				m.mutate(t, &h, rapid.IntRange(0, len(h.outputs)-1).Draw(t, "output"))
				if m.want.Redelivered == 0 {
					h.renumber()
				}
				violations(t, h.judge(t), m.want)
			})
		})
	}
}

// pick draws an output that has a property; a history without one is drawn anew.
func pick(t *rapid.T, h *history, is func(*Output) bool) int {
	var fit []int
	for i := range h.outputs {
		if is(&h.outputs[i]) {
			fit = append(fit, i)
		}
	}
	if fit == nil {
		t.Skip("none such")
	}
	return rapid.SampledFrom(fit).Draw(t, "pick")
}

func keyless(t *rapid.T, h *history) int {
	return pick(t, h, func(o *Output) bool { return o.Key == nil })
}

// flipKind turns an output that nothing orders into one of the other kind.
func flipKind(t *rapid.T, h *history) {
	i := keyless(t, h)
	h.outputs[i].Kind = Prediction + DeadLetter - h.outputs[i].Kind
}

func sameLine(a, b *Output) bool {
	return a.Kind == b.Kind && a.Source.Partition == b.Source.Partition && a.Key != nil && string(a.Key) == string(b.Key)
}

// pair draws two outputs of one line with none of it between them.
func pair(t *rapid.T, h *history) (i, j int) {
	follower := func(i int) int {
		return i + 1 + slices.IndexFunc(h.outputs[i+1:], func(o Output) bool { return sameLine(&h.outputs[i], &o) })
	}
	i = pick(t, h, func(o *Output) bool {
		i := slices.IndexFunc(h.outputs, func(x Output) bool { return x.Kind == o.Kind && x.Source == o.Source })
		return follower(i) > i
	})
	return i, follower(i)
}

func TestGaps(t *testing.T) {
	t.Parallel()
	var inputs []Input
	for p := range int32(2) {
		for i := range int64(4) {
			inputs = append(inputs, Input{Source: Source{p, i}})
		}
	}
	o, err := NewOracle(inputs)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Unix(500, 0)
	for _, out := range []struct {
		partition int32
		offset    int64
		second    int
	}{{0, 0, 10}, {1, 0, 11}, {0, 1, 12}, {0, 2, 17}, {1, 1, 18}, {0, 3, 19}, {1, 2, 19}, {1, 3, 19}} {
		o.Observe(Output{
			Kind: Prediction, Source: Source{out.partition, out.offset}, Partition: out.partition, Offset: out.offset,
			Seen: begin.Add(time.Duration(out.second) * time.Second),
		})
	}
	r := o.Report()
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	if r.Gap != 5*time.Second || !r.GapAt.Equal(begin.Add(12*time.Second)) || r.PartitionGap != 7*time.Second || r.GapPartition != 1 {
		t.Errorf("gaps: %+v", r)
	}
	at := func(second int) time.Time { return begin.Add(time.Duration(second) * time.Second) }
	want := []Pause{{0, at(10), at(12)}, {0, at(12), at(17)}, {1, at(11), at(18)}, {0, at(17), at(19)}, {1, at(18), at(19)}}
	if diff := cmp.Diff(want, r.Pauses); diff != "" {
		t.Error(diff)
	}
	if want := "8 inputs: 8 predictions, 0 dead letters; longest gap 5s, in one partition (1) 7s"; r.String() != want {
		t.Errorf("got  %s\nwant %s", r, want)
	}
}

func TestStray(t *testing.T) {
	t.Parallel()
	o, err := NewOracle([]Input{{}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(2 * maxExamples) {
		o.Stray(DeadLetter, 3, i, errors.New("no header"))
	}
	r := o.Report()
	if err := r.Err(); err == nil || r.Unknown != 2*maxExamples || r.Lost != 1 || len(r.Examples) != maxExamples || !strings.Contains(err.Error(), "dead letter 3/0: no header") {
		t.Errorf("%+v: %v", r, err)
	}
	if _, err := NewOracle([]Input{{}, {}}); err == nil {
		t.Error("two inputs in one place")
	}
}
