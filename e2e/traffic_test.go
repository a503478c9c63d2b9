//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/torture"
	"millrace.dev/internal/house"
)

// message is a record of the source topic, and what has to become of it.
type message struct {
	torture.Source

	key, value []byte
	fault      house.Fault
	prediction []byte // the value that its prediction has; nil if it is a dead letter
}

// traffic is what a test sends. One producer sends it all, so that the offsets are known beforehand.
type traffic struct {
	messages   []message
	partitions int
	keys       int // how many different ones
	nobodys    int // messages without a key
}

// How the traffic is made.
const (
	brokenShare  = 0.015
	keylessEvery = 97
)

// newTraffic makes n messages with so many keys, each with its number in the field seq, and has the binary predict
// them from a file.
func (p *project) newTraffic(t *testing.T, seed uint64, n, keys, partitions int) *traffic {
	t.Helper()
	breaker, err := house.NewBreaker(seed, brokenShare)
	must(t, err)
	tr := &traffic{messages: make([]message, n), partitions: partitions, keys: keys}
	rng, next := newRand(seed), make([]int64, partitions)
	// Keys go to the partitions that any producer would choose.
	place := kgo.StickyKeyPartitioner(nil).ForTopic(p.topics.Source)
	for i := range tr.messages {
		m := &tr.messages[i]
		s := p.generator.Sale(history + int64(i))
		listing := append(fmt.Appendf(nil, `{"seq": %d, `, i), s.AppendListing(nil)[1:]...)
		m.fault = breaker.Fault(int64(i))
		m.value = m.fault.Break(listing)
		if i%keylessEvery == 0 {
			m.Partition = rng.Int32N(int32(partitions))
			tr.nobodys++
		} else {
			m.key = fmt.Appendf(nil, "house-%04d", rng.IntN(keys))
			m.Partition = int32(place.Partition(&kgo.Record{Key: m.key}, partitions))
		}
		m.Offset = next[m.Partition]
		next[m.Partition]++
	}
	p.predict(t, tr.messages)
	for i := range tr.messages {
		m := &tr.messages[i]
		if dead := m.fault.Class() != ""; dead == (m.prediction != nil) {
			t.Fatalf("predict gives message %d, %v, a prediction: %t", i, m.fault, m.prediction != nil)
		}
	}
	return tr
}

// predict fills in what predicting a file of the messages gives. A file of lines has no null and no line breaks.
func (p *project) predict(t *testing.T, messages []message) {
	t.Helper()
	p.predictWith(t, "@champion", messages)
}

// predictWith fills in what predicting with a model gives.
func (p *project) predictWith(t *testing.T, model string, messages []message) {
	t.Helper()
	var file bytes.Buffer
	var inFile []*message
	for i := range messages {
		if m := &messages[i]; len(m.value) > 0 && bytes.IndexByte(m.value, '\n') < 0 {
			inFile = append(inFile, m)
			file.Write(m.value)
			file.WriteByte('\n')
		}
	}
	must(t, os.WriteFile(p.path("listings.jsonl"), file.Bytes(), 0o644))
	p.ok(t, "predict", "--model", model, "--data", "listings.jsonl", "--out", "predicted.jsonl", "--rejects", "rejected.jsonl")
	rejected := map[int64]bool{}
	for line := range bytes.Lines(readFile(t, p.path("rejected.jsonl"))) {
		var r struct {
			Record int64 `json:"record"`
		}
		must(t, json.Unmarshal(line, &r))
		rejected[r.Record] = true
	}
	predicted := bytes.SplitAfter(readFile(t, p.path("predicted.jsonl")), []byte{'\n'})
	for i, m := range inFile {
		if rejected[int64(i)] {
			continue
		}
		m.prediction = bytes.TrimSuffix(predicted[0], []byte{'\n'})
		predicted = predicted[1:]
	}
	if len(predicted) != 1 || len(predicted[0]) > 0 { // what follows the last line break
		t.Fatalf("predict gives %d lines too many", len(predicted)-1)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	return b
}

// inputs returns the messages for an oracle.
func (tr *traffic) inputs() []torture.Input {
	list := make([]torture.Input, len(tr.messages))
	for i := range tr.messages {
		m := &tr.messages[i]
		list[i] = torture.Input{Source: m.Source, Key: m.key, Kind: torture.DeadLetter}
		if m.prediction != nil {
			list[i].Kind, list[i].Value = torture.Prediction, m.prediction
		}
	}
	return list
}

// watch returns an oracle for the messages, and an observer that tells it from now on what can be read.
func (p *project) watch(t *testing.T, tr *traffic) (*torture.Oracle, *torture.Observer) {
	t.Helper()
	oracle, err := torture.NewOracle(tr.inputs())
	must(t, err)
	observer, err := torture.Observe(p.cluster.Bootstrap(), p.topics, oracle)
	must(t, err)
	t.Cleanup(observer.Close)
	return oracle, observer
}

// delivery is a stream of messages under way.
type delivery struct {
	client *kgo.Client
	done   chan struct{}
	mu     sync.Mutex
	err    error
	began  time.Time
}

// deliver sends the messages at a rate, whatever becomes of them: the timestamp of each is the time at which it was
// due. It returns at once.
func (p *project) deliver(ctx context.Context, t *testing.T, tr *traffic, perSecond int) *delivery {
	t.Helper()
	d := &delivery{
		client: p.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(1<<30), kgo.ProducerLinger(0), kgo.MetadataMinAge(250*time.Millisecond)),
		done:   make(chan struct{}), began: time.Now(),
	}
	go func() {
		defer close(d.done)
		d.send(ctx, p.topics.Source, tr.messages, perSecond)
		if err := d.client.Flush(ctx); err != nil {
			d.fail(err)
		}
	}()
	return d
}

func (d *delivery) send(ctx context.Context, topic string, messages []message, perSecond int) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i := 0; i < len(messages); {
		for due := int(time.Since(d.began).Seconds() * float64(perSecond)); i < min(due, len(messages)); i++ {
			m := &messages[i]
			r := &kgo.Record{
				Topic: topic, Partition: m.Partition, Key: m.key, Value: m.value,
				Timestamp: d.began.Add(time.Duration(i) * time.Second / time.Duration(perSecond)),
			}
			d.client.Produce(ctx, r, func(r *kgo.Record, err error) {
				if err != nil {
					d.fail(err)
				} else if r.Offset != m.Offset {
					d.fail(fmt.Errorf("a message meant for %s of the source topic is at %d", m.Source, r.Offset))
				}
			})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (d *delivery) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = err
	}
}

// wait waits until every message is acknowledged, each at its place.
func (d *delivery) wait(ctx context.Context) error {
	select {
	case <-d.done:
	case <-ctx.Done():
		return fmt.Errorf("the messages are not delivered: %w", ctx.Err())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// judge holds what the topics hold in the end against the messages: a second observer that reads all of it when
// nothing moves any more, the dead letters in full, and the numbers of the messages of each key.
func (p *project) judge(ctx context.Context, t *testing.T, tr *traffic) {
	t.Helper()
	oracle, observer := p.watch(t, tr)
	must(t, observer.Drain(ctx))
	observer.Close()
	if err := oracle.Report().Err(); err != nil {
		t.Errorf("read again in the end: %v", err)
	}
	p.checkSource(ctx, t, tr)
	p.checkLetters(ctx, t, tr)
	p.checkSequence(ctx, t)
}

// checkSource makes sure that the test itself has sent what it believes.
func (p *project) checkSource(ctx context.Context, t *testing.T, tr *traffic) {
	t.Helper()
	sent, err := torture.Committed(ctx, p.cluster.Bootstrap(), p.topics.Source)
	must(t, err)
	at := make(map[torture.Source]*message, len(tr.messages))
	for i := range tr.messages {
		at[tr.messages[i].Source] = &tr.messages[i]
	}
	for _, r := range sent {
		m := at[torture.Source{Partition: r.Partition, Offset: r.Offset}]
		if m == nil || !bytes.Equal(m.key, r.Key) || !bytes.Equal(m.value, r.Value) {
			t.Fatalf("record %d/%d of the source topic is not what was sent", r.Partition, r.Offset)
		}
	}
	if len(sent) != len(tr.messages) {
		t.Fatalf("the source topic has %d records of %d", len(sent), len(tr.messages))
	}
}

// checkLetters looks at every dead letter: the bytes of its record, why it died, and where it stood.
func (p *project) checkLetters(ctx context.Context, t *testing.T, tr *traffic) {
	t.Helper()
	letters, err := torture.Committed(ctx, p.cluster.Bootstrap(), p.topics.DeadLetters)
	must(t, err)
	at := map[torture.Source]*message{}
	for i := range tr.messages {
		at[tr.messages[i].Source] = &tr.messages[i]
	}
	bad := 0
	for _, r := range letters {
		h := headers(r)
		m, err := letterSource(h, p.topics.Source)
		switch in := at[m]; {
		case err != nil:
			t.Errorf("dead letter %d/%d: %v", r.Partition, r.Offset, err)
		case in == nil:
			t.Errorf("dead letter %d/%d is of no message", r.Partition, r.Offset)
		case h["millrace.dlq.stage"] != "decode" || h["millrace.dlq.class"] != in.fault.Class():
			t.Errorf("dead letter of %s, %v: stage %q, class %q", m, in.fault, h["millrace.dlq.stage"], h["millrace.dlq.class"])
		case !bytes.Equal(r.Value, in.value) || (r.Value == nil) != (in.value == nil) || !bytes.Equal(r.Key, in.key) || (r.Key == nil) != (in.key == nil):
			t.Errorf("dead letter of %s, %v: other bytes", m, in.fault)
		case h["millrace.dlq.reason"] == "" || h["millrace.dlq.id"] == "" || h["millrace.dlq.group"] != group || h["millrace.dlq.model"] != "house-prices@1":
			t.Errorf("dead letter of %s, %v: headers %v", m, in.fault, h)
		default:
			continue
		}
		if bad++; bad > 20 {
			t.Fatal("and more")
		}
	}
}

// headers returns the headers of a record, the last of each name.
func headers(r *kgo.Record) map[string]string {
	h := make(map[string]string, len(r.Headers))
	for _, x := range r.Headers {
		h[x.Key] = string(x.Value)
	}
	return h
}

func letterSource(h map[string]string, topic string) (torture.Source, error) {
	partition, err1 := strconv.ParseInt(h["millrace.dlq.partition"], 10, 32)
	offset, err2 := strconv.ParseInt(h["millrace.dlq.offset"], 10, 64)
	err := errors.Join(err1, err2)
	if h["millrace.dlq.topic"] != topic {
		err = errors.Join(err, fmt.Errorf("it is of topic %q", h["millrace.dlq.topic"]))
	}
	return torture.Source{Partition: int32(partition), Offset: offset}, err
}

// checkSequence reads the predictions as somebody does who knows nothing of offsets: the numbers in the records of
// each key rise.
func (p *project) checkSequence(ctx context.Context, t *testing.T) {
	t.Helper()
	predictions, err := torture.Committed(ctx, p.cluster.Bootstrap(), p.topics.Predictions)
	must(t, err)
	number := regexp.MustCompile(`^{"seq": (\d+),`)
	last := map[string]int{}
	for _, r := range predictions {
		m := number.FindSubmatch(r.Value)
		if m == nil {
			t.Fatalf("prediction %d/%d has no number", r.Partition, r.Offset)
		}
		n, err := strconv.Atoi(string(m[1]))
		must(t, err)
		if r.Key == nil {
			continue
		}
		if before, ok := last[string(r.Key)]; ok && before >= n {
			t.Fatalf("prediction %d/%d, of message %d, comes behind that of message %d, of the same key", r.Partition, r.Offset, n, before)
		}
		last[string(r.Key)] = n
	}
}
