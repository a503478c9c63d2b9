//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/torture"
	"millrace.dev/internal/house"
)

// poison is a kind of record that may stop a pipeline.
type poison struct {
	name         string
	spoil        func(listing []byte) []byte // nil leaves the record as it is
	change       func(*sent)                 // what is not in the value
	stage, class string                      // of the dead letter; "" is a prediction
}

// sent is a record that the test sends.
type sent struct {
	message

	poison    *poison
	intact    []byte // the value before it was spoilt
	timestamp int64  // milliseconds; 0 is when it is due
	bomb      bool
}

// bombPartition has the bombs, which another producer sends: so the offsets of all others are known beforehand.
const bombPartition = 3

// poisons are the classes of bad input, each as it comes.
func poisons() []poison {
	field := func(name, text string) func([]byte) []byte {
		re := regexp.MustCompile(`"` + name + `": ("[^"]*"|[0-9.]+)`)
		return func(l []byte) []byte { return re.ReplaceAllLiteral(l, []byte(`"`+name+`": `+text)) }
	}
	add := func(text string) func([]byte) []byte {
		return func(l []byte) []byte { return append(bytes.Clone(l[:len(l)-1]), text+"}"...) }
	}
	is := func(text string) func([]byte) []byte { return func([]byte) []byte { return []byte(text) } }
	fault := func(f house.Fault) func([]byte) []byte { return f.Break }
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	return []poison{
		{name: "bad JSON", spoil: fault(house.InvalidJSON), stage: "decode", class: "invalid_json"},
		{name: "blank line", spoil: is(" \n"), stage: "decode", class: "invalid_json"},
		{name: "NaN", spoil: field("sqft_lot", "NaN"), stage: "decode", class: "invalid_json"},
		{name: "Infinity", spoil: field("sqft_lot", "-Infinity"), stage: "decode", class: "invalid_json"},
		{name: "1e400", spoil: field("sqft_lot", "1e400"), stage: "decode", class: "out_of_range"},
		{name: "byte order mark", spoil: func(l []byte) []byte { return append([]byte("\xef\xbb\xbf"), l...) }, stage: "decode", class: "invalid_json"},
		{name: "trailing bytes", spoil: func(l []byte) []byte { return append(bytes.Clone(l), "\x00"...) }, stage: "decode", class: "trailing_bytes"},
		{name: "duplicate key", spoil: fault(house.DuplicateKey), stage: "decode", class: "duplicate_key"},
		{name: "wrong case", spoil: fault(house.WrongCaseKey), stage: "decode", class: "wrong_case"},
		{name: "invalid UTF-8", spoil: fault(house.InvalidUTF8), stage: "decode", class: "invalid_utf8"},
		{name: "lone surrogate", spoil: field("street", `"\ud800"`), stage: "decode", class: "invalid_utf8"},
		{name: "null at the top", spoil: is("null"), stage: "decode", class: "not_object"},
		{name: "2^53+1", spoil: field("sqft_lot", "9007199254740993"), stage: "decode", class: "out_of_range"},
		{name: "depth", spoil: add(`, "deep": ` + deep), stage: "decode", class: "too_deep"},
		{name: "wrong type", spoil: fault(house.WrongType), stage: "decode", class: "wrong_type"},
		{name: "quoted number", spoil: field("sqft_lot", `"4321"`), stage: "decode", class: "wrong_type"},
		{name: "integer overflow", spoil: field("sqft_lot", "9223372036854775809"), stage: "decode", class: "out_of_range"},
		{name: "unknown level", spoil: field("city", `"Atlantis"`)},
		{name: "timestamp -1", change: func(s *sent) { s.timestamp = -1 }},
		{name: "far future", change: func(s *sent) { s.timestamp = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() }},
		{name: "bomb", change: func(s *sent) { s.bomb = true }, stage: "decode", class: "batch_too_large"},
		{name: "oversized output", spoil: func(l []byte) []byte { return pad(l, mebibyte) }, stage: "produce", class: "too_large"},
		{name: "tombstone", spoil: func([]byte) []byte { return nil }, stage: "decode", class: "null_value"},
		{name: "null key", change: func(s *sent) { s.key = nil }},
		{name: "duplicate record"},
	}
}

// dose makes n records of which a share is poison, each kind in turn, but no more than a few bombs. They know what has to
// become of them.
func (p *project) dose(t *testing.T, seed uint64, n int, share float64, bombs int) []sent {
	t.Helper()
	kinds := poisons()
	rng, place := newRand(seed), kgo.StickyKeyPartitioner(nil).ForTopic(p.topics.Source)
	list := make([]sent, n)
	turn := rng.IntN(len(kinds))
	for i := range list {
		s := &list[i]
		sale := p.generator.Sale(history + int64(i))
		s.intact = append(fmt.Appendf(nil, `{"seq": %d, `, i), sale.AppendListing(nil)[1:]...)
		s.value, s.key = s.intact, fmt.Appendf(nil, "house-%04d", rng.IntN(500))
		if rng.Float64() < share {
			turn++
			s.poison = &kinds[turn%len(kinds)]
			if s.poison.name == "bomb" {
				if bombs--; bombs < 0 {
					s.poison = nil
				}
			}
		}
		if k := s.poison; k != nil {
			if k.spoil != nil {
				s.value = k.spoil(s.intact)
			}
			if k.change != nil {
				k.change(s)
			}
			if k.name == "duplicate record" && i > 0 && !list[i-1].bomb {
				s.message, s.intact, s.timestamp = list[i-1].message, list[i-1].intact, list[i-1].timestamp
				s.poison = list[i-1].poison
			}
		}
		switch {
		case s.bomb:
			s.Partition, s.key, s.value = bombPartition, nil, nil
		case s.key == nil:
			s.Partition = rng.Int32N(bombPartition)
		default:
			s.Partition = int32(place.Partition(&kgo.Record{Key: s.key}, bombPartition))
		}
	}
	return list
}

// traffic returns the records as messages from the given offsets on, which it moves, with what predicting a file of them
// gives.
func (p *project) traffic(t *testing.T, list []sent, next []int64) *traffic {
	t.Helper()
	number(list, next)
	tr := &traffic{partitions: bombPartition + 1}
	for i := range list {
		tr.messages = append(tr.messages, list[i].message)
	}
	p.predict(t, tr.messages)
	for i := range list {
		m, k := &tr.messages[i], list[i].poison
		if k != nil && k.stage == "produce" {
			m.prediction = nil // a limit of the stream, which is none of a file
		}
		if dead := k != nil && k.class != ""; dead == (m.prediction != nil) {
			t.Fatalf("predict gives record %d, %s, a prediction: %t", i, k.name, m.prediction != nil)
		}
		list[i].message = *m
	}
	return tr
}

// number gives records the offsets that they will have, from those of next on, which it moves.
func number(list []sent, next []int64) {
	for i := range list {
		s := &list[i]
		s.Offset = next[s.Partition]
		next[s.Partition]++
	}
}

// drip sends the records at a rate, each with the timestamp at which it was due unless it has one of its own.
func (p *project) drip(ctx context.Context, t *testing.T, list []sent, perSecond int) {
	t.Helper()
	plain := p.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(1<<30), kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(4*mebibyte), kgo.ProducerBatchCompression(kgo.NoCompression()))
	bombs := p.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(96*mebibyte), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	zeros := make([]byte, 64*mebibyte+1)
	failed := make(chan error, 1)
	began := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i := 0; i < len(list); {
		for due := int(time.Since(began).Seconds() * float64(perSecond)); i < min(due, len(list)); i++ {
			s := &list[i]
			r := &kgo.Record{
				Topic: p.topics.Source, Partition: s.Partition, Key: s.key, Value: s.value,
				Timestamp: began.Add(time.Duration(i) * time.Second / time.Duration(perSecond)),
			}
			if s.timestamp != 0 {
				r.Timestamp = time.UnixMilli(s.timestamp)
			}
			client := plain
			if s.bomb {
				client, r.Value = bombs, zeros
			}
			client.Produce(ctx, r, func(r *kgo.Record, err error) {
				if err == nil && r.Offset != s.Offset {
					err = fmt.Errorf("a record meant for %s is at %d", s.Source, r.Offset)
				}
				if err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
	must(t, plain.Flush(ctx))
	must(t, bombs.Flush(ctx))
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
}

// poisonTopics creates the topics, where the source takes what is large and from the future.
func (p *project) poisonTopics(ctx context.Context, t *testing.T) {
	t.Helper()
	p.createTopics(ctx, t, bombPartition+1, map[string]string{
		"max.message.bytes": strconv.Itoa(4 * mebibyte), "message.timestamp.after.max.ms": strconv.FormatInt(1<<63-1, 10),
	})
}

// TestPoison sends every kind of bad input, as one record in a hundred of 2,000 a second. Nothing stops, nothing is lost, no
// partition is paused. Then the causes are mended, and the dead letters replayed: each gets its prediction, exactly once.
func TestPoison(t *testing.T) {
	seed := newSeed(t)
	ctx := deadline(t, 6*time.Minute)
	cluster := kafkatest.Start(t, kafkatest.Options{})
	p := newProject(t, cluster, seed)
	p.poisonTopics(ctx, t)
	list := p.dose(t, seed, 8000, 0.01, 2)
	tr := p.traffic(t, list, make([]int64, bombPartition+1))
	oracle, observer := p.watch(t, tr)
	i := p.start(t, "instance-0")
	p.drip(ctx, t, list, 2000)
	if err := observer.Wait(ctx); err != nil {
		t.Error(err)
	}
	p.breakerStayedClosed(ctx, t, i)
	_, err := i.terminate(ctx)
	must(t, err)
	must(t, observer.Drain(ctx))
	if err := oracle.Report().Err(); err != nil {
		t.Error(err)
	}
	dead := p.checkPoison(ctx, t, list)
	t.Logf("%d dead letters of %d records", len(dead), len(list))
	p.listed(t, dead)
	p.mendSchema(ctx, t, dead)
	p.mendRest(ctx, t, dead)
}

// breakerStayedClosed looks whether the instance has paused a partition, or anything was undone.
func (p *project) breakerStayedClosed(ctx context.Context, t *testing.T, i *instance) {
	t.Helper()
	code, body, err := i.get(ctx, "/metrics")
	must(t, err)
	if code != 200 || !strings.Contains(body, "\nmillrace_breaker_opened_total 0\n") || strings.Contains(body, "\nmillrace_breaker_open{") {
		t.Errorf("a partition was paused: %s", body)
	}
	if n := i.count("msg=running "); n != 1 {
		t.Errorf("the instance has begun %d times", n)
	}
}

// checkPoison holds the dead letters against the poison, and returns the poison of each by the place of its record.
func (p *project) checkPoison(ctx context.Context, t *testing.T, list []sent) map[torture.Source]*sent {
	t.Helper()
	letters, err := torture.Committed(ctx, p.cluster.Bootstrap(), p.topics.DeadLetters)
	must(t, err)
	dead, seen := map[torture.Source]*sent{}, map[string]bool{}
	for i := range list {
		if s := &list[i]; s.poison != nil {
			if seen[s.poison.name] = true; s.poison.class != "" {
				dead[s.Source] = s
			}
		}
	}
	for _, r := range letters {
		h := headers(r)
		at, err := letterSource(h, p.topics.Source)
		s := dead[at]
		if err != nil || s == nil || h["millrace.dlq.stage"] != s.poison.stage || h["millrace.dlq.class"] != s.poison.class {
			t.Errorf("dead letter of %s, %v: %v, %v", at, s, h, err)
		}
	}
	if len(letters) != len(dead) {
		t.Errorf("%d dead letters of %d", len(letters), len(dead))
	}
	for _, k := range poisons() {
		if !seen[k.name] && k.name != "duplicate record" {
			t.Errorf("no record was of the kind %q", k.name)
		}
	}
	return dead
}

// listed compares what dlq list counts.
func (p *project) listed(t *testing.T, dead map[torture.Source]*sent) {
	t.Helper()
	want, got := map[string]int{}, map[string]int{}
	for _, s := range dead {
		want[s.poison.stage+"/"+s.poison.class]++
	}
	o := p.run(deadline(t, time.Minute), t, "dlq", "list", "--json")
	var list struct {
		Letters int `json:"letters"`
		Kinds   []struct {
			Stage   string `json:"stage"`
			Class   string `json:"class"`
			Letters int    `json:"letters"`
		} `json:"kinds"`
	}
	must(t, json.Unmarshal([]byte(o.stdout), &list))
	for _, k := range list.Kinds {
		got[k.Stage+"/"+k.Class] += k.Letters
	}
	if o.code != 0 || !maps.Equal(got, want) || list.Letters != len(dead) {
		t.Errorf("exit status %d, %d letters, %v: want %v", o.code, list.Letters, got, want)
	}
}

// replayedPredictions returns the predictions of replayed records by where their first record stood; it waits for n.
func (p *project) replayedPredictions(ctx context.Context, t *testing.T, n int) map[string][]*kgo.Record {
	t.Helper()
	var by map[string][]*kgo.Record
	must(t, poll(ctx, func() (bool, error) {
		all, err := torture.Committed(ctx, p.cluster.Bootstrap(), p.topics.Predictions)
		by = map[string][]*kgo.Record{}
		for _, r := range all {
			if at := headers(r)["millrace.replayed"]; at != "" {
				by[at] = append(by[at], r)
			}
		}
		return len(by) >= n, err
	}))
	return by
}

// mendSchema lets the pipeline accept numbers in quotes, with a model that was trained so, and replays what has failed for
// them.
func (p *project) mendSchema(ctx context.Context, t *testing.T, dead map[torture.Source]*sent) {
	t.Helper()
	must(t, os.WriteFile(p.path("pipeline.yaml"), []byte(strings.Replace(pipelineFile, "sqft_lot,", "{name: sqft_lot, quoted: true},", 1)), 0o644))
	p.ok(t, "train", "--json", "--by", "e2e")
	p.ok(t, "model", "approve", "@candidate", "--by", "e2e", "--reason", "it takes numbers in quotes")
	p.ok(t, "model", "promote", "house-prices@2", "--by", "e2e", "--reason", "it takes numbers in quotes")
	p.ok(t, "dlq", "replay", "--class", "wrong_type", "--field", "sqft_lot")
	want := map[string]*sent{}
	for at, s := range dead {
		if s.poison.name == "quoted number" {
			want[p.topics.Source+"/"+at.String()] = s
		}
	}
	i := p.start(t, "instance-0")
	by := p.replayedPredictions(ctx, t, len(want))
	for at, s := range want {
		rs := by[at]
		if len(rs) != 1 {
			t.Errorf("%s: %d predictions", at, len(rs))
			continue
		}
		h := headers(rs[0])
		if !bytes.HasPrefix(rs[0].Value, s.value[:len(s.value)-1]) || !bytes.Equal(rs[0].Key, s.key) || h["millrace.model"] != "house-prices@2" {
			t.Errorf("%s: headers %v, value %s", at, h, rs[0].Value)
		}
		for k := range h {
			if strings.HasPrefix(k, "millrace.dlq.") && k != "millrace.dlq.attempt" && k != "millrace.dlq.first-seen" {
				t.Errorf("%s: the prediction has the header %s", at, k)
			}
		}
	}
	_, err := i.terminate(ctx)
	must(t, err)
}

// mendRest sends the records of the other dead letters by a program that repairs them. Only a bomb cannot be read.
func (p *project) mendRest(ctx context.Context, t *testing.T, dead map[torture.Source]*sent) {
	t.Helper()
	const repair = "repair"
	must(t, p.cluster.CreateTopic(ctx, repair, 2, map[string]string{"max.message.bytes": strconv.Itoa(4 * mebibyte)}))
	bombs := 0
	for _, s := range dead {
		if s.bomb {
			bombs++
		}
	}
	o := p.run(ctx, t, "dlq", "replay", "--to", repair, "--json")
	var done struct {
		Replayed int            `json:"replayed"`
		Before   int            `json:"replayed_before"`
		Left     map[string]int `json:"left"`
	}
	must(t, json.Unmarshal([]byte(tail(o.stdout, 1)), &done))
	if o.code != 0 || done.Replayed+done.Before+bombs != len(dead) || done.Left["gone"] != bombs || len(done.Left) != 1 {
		t.Errorf("exit status %d, %+v of %d letters, %d of bombs\n%s", o.code, done, len(dead), bombs, o.stderr)
	}
	letters, err := torture.Committed(ctx, p.cluster.Bootstrap(), repair)
	must(t, err)
	cl := p.client(t)
	for _, r := range letters {
		at, ok := strings.CutPrefix(headers(r)["millrace.replayed"], p.topics.Source+"/")
		s := dead[sourceAt(t, at)]
		if !ok || s == nil || !bytes.Equal(r.Value, s.value) || (r.Value == nil) != (s.value == nil) || !bytes.Equal(r.Key, s.key) {
			t.Fatalf("%s: the record to be repaired is not what was sent: %v", at, headers(r))
		}
		must(t, cl.ProduceSync(ctx, &kgo.Record{Topic: p.topics.Source, Key: r.Key, Value: s.intact, Headers: r.Headers, Timestamp: r.Timestamp}).FirstErr())
	}
	i := p.start(t, "instance-0")
	by := p.replayedPredictions(ctx, t, len(dead)-bombs)
	for at, s := range dead {
		if n := len(by[p.topics.Source+"/"+at.String()]); n != 1 && !s.bomb || n > 0 && s.bomb {
			t.Errorf("%s, %s: %d predictions", at, s.poison.name, n)
		}
	}
	_, err = i.terminate(ctx)
	must(t, err)
	if o := p.run(ctx, t, "dlq", "replay"); o.code != 99 {
		t.Errorf("exit status %d when everything is replayed\n%s", o.code, o.stderr)
	}
}

// sourceAt reads PARTITION/OFFSET.
func sourceAt(t *testing.T, at string) torture.Source {
	t.Helper()
	partition, offset, _ := strings.Cut(at, "/")
	n, err1 := strconv.Atoi(partition)
	o, err2 := strconv.ParseInt(offset, 10, 64)
	must(t, err1)
	must(t, err2)
	return torture.Source{Partition: int32(n), Offset: o}
}

// TestPoisonLatency compares how long predictions take in a clean stream and in one with poison, for as many seconds as
// MILLRACE_POISON says. It prints the figures, and finds nothing too slow: that depends on what else the machine does.
func TestPoisonLatency(t *testing.T) {
	seconds, err := strconv.Atoi(os.Getenv(poisonEnv))
	if err != nil || seconds <= 0 {
		t.Skip("make poison runs it")
	}
	const perSecond, turns = 2000, 3
	seed := newSeed(t)
	ctx := deadline(t, time.Duration(seconds)*time.Second+10*time.Minute)
	cluster := kafkatest.Start(t, kafkatest.Options{})
	p := newProject(t, cluster, seed)
	p.poisonTopics(ctx, t)
	i := p.start(t, "instance-0")
	must(t, i.says(ctx, "msg=monitoring", 1))
	seen := p.latencies(t)
	next, sent := make([]int64, bombPartition+1), 0
	kinds := []struct {
		name  string
		share float64
		bombs int
	}{{"clean", 0, 0}, {"poison", 0.01, 0}, {"poison and a bomb", 0.01, 1}}
	took := make([][]time.Duration, len(kinds))
	for turn := range len(kinds)*turns + 1 {
		kind := kinds[turn%len(kinds)]
		list := p.dose(t, seed+uint64(turn), seconds*perSecond/(len(kinds)*turns), kind.share, kind.bombs)
		number(list, next)
		p.drip(ctx, t, list, perSecond)
		sent += len(list)
		must(t, poll(ctx, func() (bool, error) {
			_, body, err := i.get(ctx, "/metrics")
			return strings.Contains(body, fmt.Sprintf("\nmillrace_records_total %d\n", sent)), err
		}))
		all := seen()
		t.Logf("%-18s  %s", kind.name, quantiles(all))
		if turn > 0 { // the first one warms up
			took[turn%len(kinds)] = append(took[turn%len(kinds)], all...)
		}
	}
	p.breakerStayedClosed(ctx, t, i)
	_, err = i.terminate(ctx)
	must(t, err)
	for i, kind := range kinds {
		t.Logf("all: %-18s  %s  p99 %+.1f %%", kind.name, quantiles(took[i]), 100*(quantile(took[i], 0.99).Seconds()/quantile(took[0], 0.99).Seconds()-1))
	}
}

// latencies reads the predictions from now on. The function that it returns gives the times from the timestamps of records
// to their predictions' being read since it was last called, without what is poison for its timestamp.
func (p *project) latencies(t *testing.T) func() []time.Duration {
	t.Helper()
	cl := p.client(t, kgo.ConsumeTopics(p.topics.Predictions), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(50*time.Millisecond))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var mu sync.Mutex
	var took []time.Duration
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			fs, now := cl.PollFetches(ctx), time.Now()
			mu.Lock()
			fs.EachRecord(func(r *kgo.Record) {
				if headers(r)["millrace.source.timestamp"] == "" {
					took = append(took, now.Sub(r.Timestamp))
				}
			})
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return func() []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		all := took
		took = nil
		return all
	}
}

func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(q*float64(len(all))))]
}

func quantiles(all []time.Duration) string {
	ms := func(q float64) string { return fmt.Sprintf("%.1f ms", quantile(all, q).Seconds()*1000) }
	return fmt.Sprintf("%6d predictions  p50 %s  p99 %s  p99.9 %s  max %s", len(all), ms(0.5), ms(0.99), ms(0.999), ms(1))
}

// grows waits until a transaction ends from now on that wrote to the source topic: one that is committed, or one that an earlier
// process has left open and that is aborted.
func (p *project) grows(ctx context.Context, admin *kadm.Client) error {
	before := int64(-1)
	for {
		ends, err := admin.ListCommittedOffsets(ctx, p.topics.Source)
		if err := errors.Join(err, ends.Error()); err != nil {
			return err
		}
		stable := int64(0)
		ends.Each(func(o kadm.ListedOffset) { stable += o.Offset })
		if before < 0 {
			before = stable
		}
		if stable > before {
			return nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// TestReplayKilled kills replays of thousands of dead letters, each up to 100 ms after a transaction has ended. The last one finds what is left, and in the end
// each record was replayed once.
func TestReplayKilled(t *testing.T) {
	const letters, kills = 60_000, 6
	seed := newSeed(t)
	rng := newRand(seed)
	ctx := deadline(t, 5*time.Minute)
	cluster := kafkatest.Start(t, kafkatest.Options{})
	p := newProject(t, cluster, seed)
	p.createTopics(ctx, t, 3, nil)
	cl := p.client(t, kgo.DefaultProduceTopic(p.topics.Source), kgo.MaxBufferedRecords(2*letters))
	for i := range letters {
		cl.Produce(ctx, &kgo.Record{Key: fmt.Appendf(nil, "%d", i%100), Value: fmt.Appendf(nil, "poison %d", i)}, nil)
	}
	must(t, cl.Flush(ctx))
	i := p.start(t, "instance-0", "--set", "dead_letter.breaker.enabled=false")
	must(t, i.says(ctx, "msg=monitoring", 1))
	must(t, poll(ctx, func() (bool, error) {
		_, body, err := i.get(ctx, "/metrics")
		return strings.Contains(body, fmt.Sprintf("\nmillrace_records_total %d\n", letters)), err
	}))
	_, err := i.terminate(ctx)
	must(t, err)
	admin := p.admin(t)
	for range kills {
		kctx, cancel := context.WithCancel(ctx)
		later := time.Duration(rng.IntN(100)) * time.Millisecond
		grown := make(chan error, 1)
		go func() {
			defer cancel()
			err := p.grows(kctx, admin)
			if err == nil {
				err = pause(kctx, later)
			}
			grown <- err
		}()
		p.killed(kctx, t, "dlq", "replay")
		cancel()
		if err := <-grown; err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	o := p.run(ctx, t, "dlq", "replay", "--json")
	var last struct {
		Replayed int `json:"replayed"`
		Before   int `json:"replayed_before"`
	}
	must(t, json.Unmarshal([]byte(tail(o.stdout, 1)), &last))
	t.Logf("%d kills; %d letters were replayed before the last one, %d by it", kills, last.Before, last.Replayed)
	if o.code != 0 || last.Before == 0 || last.Replayed == 0 {
		t.Errorf("exit status %d: no replay was killed in the middle\n%s", o.code, o.stderr)
	}
	all, err := torture.Committed(ctx, p.cluster.Bootstrap(), p.topics.Source)
	must(t, err)
	seen := map[string]int{}
	for _, r := range all {
		if headers(r)["millrace.replayed"] != "" {
			seen[string(r.Value)]++
		}
	}
	wrong := 0
	for i := range letters {
		if seen[fmt.Sprintf("poison %d", i)] != 1 {
			wrong++
		}
	}
	if wrong > 0 || len(seen) != letters {
		t.Errorf("%d of %d records were not replayed exactly once, %d others", wrong, letters, len(seen)-letters)
	}
}
