//go:build unix

package torture

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/internal/devbroker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a broker with the topics of a pipeline and a producer that plays its part.
type stage struct {
	bootstrap []string
	topics    Topics
	pipeline  *kgo.Client
}

// onKafka returns a stage on a real broker.
func onKafka(ctx context.Context, t *testing.T) *stage {
	t.Helper()
	c := kafkatest.Start(t, kafkatest.Options{})
	for _, topic := range []string{"in", "out", "dlq"} {
		if err := c.CreateTopic(ctx, topic, 3, nil); err != nil {
			t.Fatal(err)
		}
	}
	return newStage(t, c.Bootstrap())
}

// onDevbroker returns a stage on the development broker.
func onDevbroker(ctx context.Context, t *testing.T) *stage {
	t.Helper()
	b, err := devbroker.Start(ctx, devbroker.Options{Dir: t.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, topic := range []string{"in", "out", "dlq"} {
		if err := b.CreateTopic(topic, 3, nil); err != nil {
			t.Fatal(err)
		}
	}
	return newStage(t, []string{b.Addr()})
}

func newStage(t *testing.T, bootstrap []string) *stage {
	t.Helper()
	return &stage{
		bootstrap: bootstrap, topics: Topics{Source: "in", Predictions: "out", DeadLetters: "dlq"},
		pipeline: client(t, kgo.SeedBrokers(bootstrap...), kgo.TransactionalID("pipeline"), kgo.RecordPartitioner(kgo.ManualPartitioner())),
	}
}

func client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// prediction returns what a pipeline makes of a record.
func prediction(in *kgo.Record) *kgo.Record {
	return &kgo.Record{Topic: "out", Partition: in.Partition, Key: in.Key, Value: append([]byte("predicted "), in.Value...), Headers: []kgo.RecordHeader{
		{Key: headerSource, Value: []byte("elsewhere/0/0")}, // of a pipeline in front of this one
		{Key: headerSource, Value: fmt.Appendf(nil, "in/%d/%d", in.Partition, in.Offset)},
	}}
}

func letter(in *kgo.Record) *kgo.Record {
	return &kgo.Record{Topic: "dlq", Partition: in.Partition, Key: in.Key, Value: in.Value, Headers: []kgo.RecordHeader{
		{Key: headerLetterTopic, Value: []byte("in")},
		{Key: headerLetterPartition, Value: fmt.Append(nil, in.Partition)},
		{Key: headerLetterOffset, Value: fmt.Append(nil, in.Offset)},
	}}
}

// write writes records in one transaction.
func (s *stage) write(ctx context.Context, t *testing.T, commit bool, rs ...*kgo.Record) {
	t.Helper()
	s.begin(ctx, t, rs...)
	if err := s.pipeline.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
		t.Fatal(err)
	}
}

func (s *stage) begin(ctx context.Context, t *testing.T, rs ...*kgo.Record) {
	t.Helper()
	if err := s.pipeline.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := s.pipeline.ProduceSync(ctx, rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// fill writes inputs, aborted ones among them, and returns them as the torture reads them.
func (s *stage) fill(ctx context.Context, t *testing.T) []*kgo.Record {
	t.Helper()
	for round := range 3 {
		var rs []*kgo.Record
		for i := range 30 {
			rs = append(rs, &kgo.Record{Topic: "in", Partition: int32(i % 3), Key: fmt.Append(nil, i%7), Value: fmt.Append(nil, round, i)})
		}
		s.write(ctx, t, round != 1, rs...)
	}
	in, err := Committed(ctx, s.bootstrap, "in")
	if err != nil || len(in) != 60 {
		t.Fatalf("%d inputs, %v", len(in), err)
	}
	return in
}

func (s *stage) observe(t *testing.T, in []*kgo.Record) (*Oracle, *Observer) {
	t.Helper()
	var inputs []Input
	for _, r := range in {
		inputs = append(inputs, Input{Source: Source{r.Partition, r.Offset}, Key: r.Key, Value: append([]byte("predicted "), r.Value...)})
	}
	o, err := NewOracle(inputs)
	if err != nil {
		t.Fatal(err)
	}
	w, err := Observe(s.bootstrap, s.topics, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return o, w
}

func TestObserver(t *testing.T) {
	t.Parallel()
	for name, on := range map[string]func(context.Context, *testing.T) *stage{"devbroker": onDevbroker, "kafka": onKafka} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := deadline(t)
			testObserver(ctx, t, on(ctx, t))
		})
	}
}

func testObserver(ctx context.Context, t *testing.T, s *stage) {
	t.Helper()
	in := s.fill(ctx, t)
	o, w := s.observe(t, in)
	if err := w.Drain(ctx); err != nil || o.Missing() != 60 {
		t.Errorf("of nothing: missing %d, %v", o.Missing(), err)
	}
	for begin := 0; begin < len(in); begin += 10 {
		for _, commit := range []bool{begin%20 == 0, true} { // every other batch is aborted once
			var out []*kgo.Record
			for i, r := range in[begin : begin+10] {
				if i == 3 {
					out = append(out, letter(r))
				} else {
					out = append(out, prediction(r))
				}
			}
			s.write(ctx, t, commit, out...)
			if commit {
				break
			}
		}
	}
	if err := w.Wait(ctx); err != nil {
		t.Error(err)
	}
	s.write(ctx, t, false, prediction(in[0])) // aborted: the last thing in its partition
	if err := w.Drain(ctx); err != nil {
		t.Error(err)
	}
	if r := o.Report(); r.Err() != nil || r.Predictions != 54 || r.DeadLetters != 6 || r.Redelivered != 0 {
		t.Errorf("%s: %v", r, r.Err())
	}

	s.begin(ctx, t, prediction(in[0])) // open: not there yet
	brief, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := w.Drain(brief); !errors.Is(err, context.DeadlineExceeded) || o.Report().Err() != nil {
		t.Errorf("an open transaction: %v, %v", err, o.Report().Err())
	}
	if err := s.pipeline.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if err := w.Drain(ctx); err != nil || o.Report().Duplicated != 1 {
		t.Errorf("a duplicate that comes last: %v, %+v", err, o.Report())
	}
}

func TestObserverStrays(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s := onDevbroker(ctx, t)
	in := s.fill(ctx, t)[:2]
	o, w := s.observe(t, in)
	strange := []*kgo.Record{prediction(in[0]), prediction(in[0]), prediction(in[0]), letter(in[0]), prediction(in[0])}
	strange[0].Headers = nil
	strange[1].Headers[1].Value = []byte("in/x/0")
	strange[2].Headers[1].Value = []byte("other/0/0")
	strange[3].Headers[2].Value = []byte("9999999999999999999")
	strange[4].Headers[1].Value = []byte("in/0/8888")
	s.write(ctx, t, true, strange...)
	if err := w.Drain(ctx); err != nil {
		t.Error(err)
	}
	r := o.Report()
	if r.Unknown != len(strange) || r.Lost != 2 || r.Err() == nil || !strings.Contains(r.Err().Error(), "topic other") {
		t.Errorf("%+v: %v", r, r.Err())
	}
	brief, cancel := context.WithCancel(ctx)
	cancel()
	if err := w.Wait(brief); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "2 inputs") {
		t.Errorf("wait: %v", err)
	}
}
