package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/internal/devbroker"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/rollout"
	"millrace.dev/record"
)

const fleetFile = `
version: 1
name: flats
kafka: {brokers: %q}
schema: {numeric: [rent, size]}
source: {topic: flats}
train: {data: flats.csv, label: rent, gbm: {min_rows: 2}}
sink: {topic: out}
dead_letter: {topic: dlq}
`

// fleet is a pipeline with three models, of which the first is the champion and the others are approved, and instances of it.
type fleet struct {
	app    *App
	file   string
	broker *devbroker.Broker
	client *kafka.Client
	admin  *kadm.Client
	logs   *syncBuffer
}

// syncBuffer is what instances log.
type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.String(), text)
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	dir := t.TempDir()
	f := &fleet{file: filepath.Join(dir, "pipeline.yaml"), logs: &syncBuffer{}}
	f.startBroker(t, "127.0.0.1:0")
	broker := f.broker
	t.Cleanup(func() { _ = f.broker.Close() }) // the test is over
	var err error
	for _, name := range []string{"flats", "out", "dlq"} {
		if err := broker.CreateTopic(name, 3, nil); err != nil {
			t.Fatal(err)
		}
	}
	training, r := []byte("rent,size\n"), rand.New(rand.NewPCG(3, 3))
	for range 200 {
		size := 20 + r.IntN(100)
		training = fmt.Appendf(training, "%d,%d\n", 100+8*size+r.IntN(50), size)
	}
	for name, text := range map[string]string{f.file: fmt.Sprintf(fleetFile, broker.Addr()), filepath.Join(dir, "flats.csv"): string(training)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.app = &App{Log: slog.New(slog.NewTextHandler(f.logs, nil)), Now: time.Now, Version: "test", Env: func(string) (string, bool) { return "", false }}
	for _, trees := range []string{"3", "5", "8"} {
		if _, err := f.app.Train(t.Context(), TrainOptions{File: f.file, By: "ada", Threads: 1, Set: []string{"train.gbm.ntrees=" + trees}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, ref := range []string{"flats@1", "flats@2", "flats@3"} {
		if _, err := f.registry(t).Approve(t.Context(), ref, "flats", registry.Decision{By: "eve", Reason: "fine"}); err != nil {
			t.Fatal(err)
		}
	}
	if f.client, err = kafka.New(kafka.Config{Brokers: []string{broker.Addr()}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.client.Close)
	k, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	f.admin = kadm.NewClient(k)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(f.logs.String())
		}
	})
	return f
}

func (f *fleet) startBroker(t *testing.T, addr string) {
	t.Helper()
	var err error
	o := devbroker.Options{Dir: filepath.Join(filepath.Dir(f.file), "broker"), Addr: addr, Partitions: 3}
	if f.broker, err = devbroker.Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) registry(t *testing.T) *registry.Registry {
	t.Helper()
	m, err := f.app.Models(ModelsOptions{File: f.file})
	if err != nil {
		t.Fatal(err)
	}
	return m.Registry
}

// worker is an instance.
type worker struct {
	mu    sync.Mutex
	last  *Running
	leave bool // for good, when it has its turn in a rolling update
	end   context.CancelFunc
	done  chan error
}

func (w *worker) running() *Running {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// start starts an instance, and stops it at the end of the test.
func (f *fleet) start(t *testing.T, id string, set ...string) *worker {
	t.Helper()
	w := &worker{done: make(chan error, 1)}
	var ctx context.Context
	ctx, w.end = context.WithCancel(context.WithoutCancel(t.Context()))
	go func() {
		_, err := f.app.Run(ctx, RunOptions{File: f.file, Set: set, InstanceID: id, Threads: 1, Started: func(r *Running) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.last = r
		}, Turned: func(*Ran) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.leave {
				w.end()
			}
		}})
		w.done <- err
		close(w.done)
	}()
	t.Cleanup(func() {
		w.end()
		if err := <-w.done; err != nil && !errors.Is(err, context.Canceled) && !fenced(err) {
			t.Errorf("instance %s: %v", id, err)
		}
	})
	return w
}

// until waits until what is true.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !is() {
		select {
		case <-look.C:
		case <-t.Context().Done():
			t.Fatal("never: " + what)
		}
	}
}

// settled waits until so many instances run, and have all partitions between them.
func (f *fleet) settled(t *testing.T, workers ...*worker) {
	t.Helper()
	until(t, "all partitions are read", func() bool {
		n := 0
		for _, w := range workers {
			if r := w.running(); r != nil {
				n += len(r.engine.Stats().Epochs)
			}
		}
		members, stable, err := f.client.Members(t.Context(), "flats")
		return err == nil && stable && len(members) == len(workers) && n == 3
	})
}

func (f *fleet) options(ref string, set ...string) PromoteOptions {
	return PromoteOptions{File: f.file, Set: set, Model: ref, By: "ada", Reason: "a test", Timeout: 20 * time.Second}
}

// promote promotes a model to a number of instances.
func (f *fleet) promote(t *testing.T, ref string, n int, set ...string) *Promoted {
	t.Helper()
	p, err := f.app.Promote(t.Context(), f.options(ref, set...))
	if err != nil {
		t.Fatal(err)
	}
	if p.Model != ref || p.Instances != n || n > 0 && len(p.Partitions) != 3 {
		t.Fatalf("%+v, want %s in %d instances", p, ref, n)
	}
	return p
}

// says holds an instance to have a model.
func (w *worker) says(t *testing.T, want string) {
	t.Helper()
	if ref, _ := w.running().Present(); ref != want {
		t.Errorf("the instance runs %s, want %s", ref, want)
	}
}

// write writes a record under the key of deployments.
func (f *fleet) write(t *testing.T, value []byte) {
	t.Helper()
	p, err := f.client.NewProducer(kafka.ProducerConfig{Topic: "flats-control"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Send(t.Context(), &record.Raw{Key: []byte(rollout.Key), Value: value}); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// controls returns what the control topic has said.
func (f *fleet) controls(t *testing.T) (all []*rollout.Control) {
	t.Helper()
	err := f.client.Tap(t.Context(), kafka.TapConfig{Topic: "flats-control", From: kafka.FromStart}, func(rs []record.Raw) error {
		for _, r := range rs {
			c, err := rollout.DecodeControl(r.Value)
			if err != nil {
				return err
			}
			all = append(all, c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestControlTopicMadeAnew deletes the control topic, twice: the instance goes on with what it has, and follows the next promotion.
func TestControlTopicMadeAnew(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w := f.start(t, "one")
	f.settled(t, w)
	for i, ref := range []string{"flats@2", "flats@3"} {
		f.promote(t, ref, 1)
		if _, err := f.admin.DeleteTopics(t.Context(), "flats-control", "flats-status"); err != nil {
			t.Fatal(err)
		}
		until(t, "the topic is missed", func() bool { return f.logs.count("the control topic cannot be followed") > i })
		w.says(t, ref)
	}
	f.promote(t, "flats@1", 1)
	w.says(t, "flats@1")
}

// TestRecordsOnce holds records to be done once, though they are read again, until the topic is another one.
func TestRecordsOnce(t *testing.T) {
	t.Parallel()
	o := &obedience{next: map[int32]int64{}}
	read := func(offsets ...int64) (got []int64) {
		var rs []record.Raw
		for _, at := range offsets {
			rs = append(rs, record.Raw{Offset: at})
		}
		for _, r := range o.news(rs) {
			got = append(got, r.Offset)
		}
		return got
	}
	for _, c := range []struct{ read, want []int64 }{
		{[]int64{0, 2}, []int64{0, 2}}, {[]int64{0}, nil}, {[]int64{2, 5}, []int64{5}}, {nil, nil}, {[]int64{0, 2, 5}, nil}, {[]int64{7}, []int64{7}},
	} {
		if got := read(c.read...); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.read, got, c.want)
		}
	}
}

// TestKilledBeforeTheSwitch has the first promotion of a group die after the registry has noted it, and before an instance was told:
// one that starts then runs what the others run, and the next promotion is like any other.
func TestKilledBeforeTheSwitch(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	one := f.start(t, "one")
	f.settled(t, one)
	p, err := f.app.Load(f.file, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := f.app.LoadModel(t.Context(), p.Model, p.Name, "flats@2")
	if err != nil {
		t.Fatal(err)
	}
	c, err := (&rollout.Control{}).Prepare(rollout.Deployment{Model: m.Ref, Digest: m.Digest}, "flats@1", 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	value, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, value)
	if _, err := f.registry(t).Promote(t.Context(), "flats@2", "flats", registry.Decision{By: "ada", Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
	two := f.start(t, "two")
	f.settled(t, one, two)
	one.says(t, "flats@1")
	two.says(t, "flats@1")
	f.promote(t, "flats@2", 2)
	one.says(t, "flats@2")
	two.says(t, "flats@2")
	if n := f.logs.count("the champion of the registry is not what the group was told to run"); n != 1 {
		t.Errorf("said %d times that the registry says otherwise", n)
	}
}

// TestRolling has instances that have no names for good go over one after the other.
func TestRolling(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	var workers []*worker
	for range 3 {
		workers = append(workers, f.start(t, "", "model.update=rolling"))
	}
	f.settled(t, workers...)
	f.promote(t, "flats@2", 3, "model.update=rolling")
	f.settled(t, workers...)
	for _, w := range workers {
		w.says(t, "flats@2")
	}
	var turns []int
	for _, c := range f.controls(t) {
		turns = append(turns, len(c.Turns))
	}
	if want := []int{0, 1, 2, 3, 0}; !slices.Equal(turns, want) {
		t.Errorf("%v instances had their turn, want %v", turns, want)
	}
}

// TestRollingOtherwise has instances go over in another way than promote believes: all would leave at once.
func TestRollingOtherwise(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w := f.start(t, "one", "model.update=rolling")
	f.settled(t, w)
	_, err := f.app.Promote(t.Context(), f.options("flats@2"))
	if err == nil || !strings.Contains(err.Error(), "the instance was started with model.update: rolling, and the pipeline file here says hot_swap") {
		t.Error(err)
	}
	w.says(t, "flats@1")
	f.promote(t, "flats@2", 1, "model.update=rolling")
}

// TestRollingStops has an instance not come back: the others keep the model that they have, also when the next promotion begins.
func TestRollingStops(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	a, b := f.start(t, "a", "model.update=rolling"), f.start(t, "b", "model.update=rolling")
	f.settled(t, a, b)
	o := f.options("flats@2", "model.update=rolling")
	o.Timeout = 8 * time.Second
	a.mu.Lock()
	a.leave = true
	a.mu.Unlock()
	_, err := f.app.Promote(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "a has left the group to begin anew with it, and is not back") {
		t.Fatal(err)
	}
	b.says(t, "flats@1")
	f.settled(t, b)
	f.promote(t, "flats@3", 1, "model.update=rolling")
	f.settled(t, b)
	b.says(t, "flats@3")
}

// startWithoutRegistry starts an instance whose registry is away until back is called.
func (f *fleet) startWithoutRegistry(t *testing.T) (w *worker, back func()) {
	t.Helper()
	away := filepath.Join(t.TempDir(), "away")
	if err := os.CopyFS(away, os.DirFS(filepath.Join(filepath.Dir(f.file), "models"))); err != nil {
		t.Fatal(err)
	}
	w = f.start(t, "one", "model.registry="+away)
	f.settled(t, w)
	if err := errors.Join(os.Rename(away, away+".gone"), os.WriteFile(away, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	return w, func() {
		t.Helper()
		if err := errors.Join(os.Remove(away), os.Rename(away+".gone", away)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBrokersAway has the brokers go, and come back, while a promotion waits for an instance: both go on.
func TestBrokersAway(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w, back := f.startWithoutRegistry(t)
	done := make(chan error, 1)
	go func() {
		o := f.options("flats@2")
		o.Timeout = time.Minute
		_, err := f.app.Promote(t.Context(), o)
		done <- err
	}()
	until(t, "the promotion waits", func() bool { return f.logs.count("the next model cannot be loaded") > 0 })
	addr := f.broker.Addr()
	if err := f.broker.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the instance misses them", func() bool { return f.logs.count("kafka does not answer") > 0 })
	select {
	case err := <-done:
		t.Fatalf("the promotion has ended: %v", err)
	default:
	}
	f.startBroker(t, addr)
	back()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.says(t, "flats@2")
}

// TestSameName has a second instance take over the name of the first, whose end must not take the second one's status away.
func TestSameName(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	one := f.start(t, "one")
	f.settled(t, one)
	two := f.start(t, "one")
	if err := <-one.done; !fenced(err) {
		t.Fatalf("%v", err)
	}
	f.settled(t, two)
	f.promote(t, "flats@2", 1)
	var last record.Raw
	err := f.client.Tap(t.Context(), kafka.TapConfig{Topic: "flats-status", From: kafka.FromStart}, func(rs []record.Raw) error {
		for _, r := range rs {
			if r.Value == nil {
				t.Errorf("the status of %s was taken away at offset %d", r.Key, r.Offset)
			}
			last = r
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := rollout.DecodeStatus(last.Value); err != nil || s.Model != "flats@2" || s.Member != two.running().engine.Member() {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestGathered holds how long a promotion waits for instances that the group has lost.
func TestGathered(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(0)
	w := &promotion{controller: &controller{app: &App{Now: func() time.Time { return now }}}}
	for i, c := range []struct {
		after time.Duration
		phase Phase
		n     int
		want  bool
	}{
		{0, Preparing, 0, true}, // nobody was ever there
		{0, Preparing, 2, true},
		{0, Preparing, 3, true},
		{0, Preparing, 2, false},
		{comeBack - 1, Preparing, 2, false},
		{0, Preparing, 3, true}, // it is back
		{time.Hour, Preparing, 1, false},
		{comeBack, Preparing, 0, false},
		{time.Hour, Preparing, 0, false},
		{0, Preparing, 1, true}, // it is not back
		{0, Switching, 1, true}, // who comes later goes by what was decided
		{0, Switching, 0, false},
	} {
		now = now.Add(c.after)
		if got := w.gathered(c.phase, c.n); got != c.want {
			t.Errorf("step %d: %t, want %t", i, got, c.want)
		}
	}
}

// TestNotCompacted has topics that forget what is old: that works, and is said.
func TestNotCompacted(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for _, topic := range []string{"flats-control", "flats-status"} {
		if _, err := f.admin.CreateTopic(t.Context(), 2, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	w := f.start(t, "one")
	f.settled(t, w)
	f.promote(t, "flats@2", 1)
	w.says(t, "flats@2")
	if n := f.logs.count("the topic is not compacted"); n != 2 {
		t.Errorf("said of %d topics", n)
	}
}

// TestTwoPromotions has a second promotion begin while the first waits: the first ends at once, and says why.
func TestTwoPromotions(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w, back := f.startWithoutRegistry(t)
	first, second := make(chan error, 1), make(chan error, 1)
	promote := func(ref string, to chan error) {
		o := f.options(ref)
		o.Timeout = time.Minute
		_, err := f.app.Promote(t.Context(), o)
		to <- err
	}
	go promote("flats@2", first)
	until(t, "the first one waits", func() bool { return f.logs.count("the next model cannot be loaded") > 0 })
	go promote("flats@3", second)
	select {
	case err := <-first:
		if !errors.Is(err, errSuperseded) {
			t.Error(err)
		}
	case err := <-second:
		t.Fatalf("the second one ended: %v", err)
	}
	w.says(t, "flats@1")
	back()
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	w.says(t, "flats@3")
}

// TestRubbish has somebody write to the control topic and to the group's offsets what is no deployment, or of the far future.
func TestRubbish(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w := f.start(t, "control") // whose transactional id is flats-control
	f.settled(t, w)
	before := f.promote(t, "flats@2", 1)
	for _, value := range []string{"rubbish", `{"version":1,"current":{"epoch":9223372036854775807,"model":"flats@3","digest":"sha256:00"}}`} {
		f.write(t, []byte(value))
	}
	until(t, "the instance has seen it", func() bool { return f.logs.count("is no deployment, and changes nothing") >= 2 })
	w.says(t, "flats@2")
	f.promote(t, "flats@1", 1)
	if n := w.running().engine.Stats().Aborts; n > 0 {
		t.Errorf("the instance was thrown out of %d transactions", n)
	}

	f.write(t, []byte(`{"version":3}`))
	if _, err := f.app.Promote(t.Context(), f.options("flats@2")); !errors.Is(err, rollout.ErrNewer) {
		t.Error(err)
	}
	w.end()
	if err := <-w.done; err != nil {
		t.Fatal(err)
	}
	// The control topic is lost, and the clock goes back.
	if _, err := f.admin.DeleteTopics(t.Context(), "flats-control"); err != nil {
		t.Fatal(err)
	}
	slow := *f.app
	slow.Now = func() time.Time { return time.Now().Add(-time.Hour) }
	p, err := slow.Promote(t.Context(), f.options("flats@2"))
	if err != nil || p.Epoch <= before.Epoch {
		t.Fatalf("%+v, %v", p, err)
	}
	f.commit(t, engine.Mark{Epoch: 1<<63 - 1}.String())
	if _, err := f.app.Promote(t.Context(), f.options("flats@3")); !errors.Is(err, rollout.ErrInvalid) {
		t.Error(err)
	}
}

// commit writes metadata for a partition in the place of the group.
func (f *fleet) commit(t *testing.T, metadata string) {
	t.Helper()
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: "flats", Partition: 0, At: 0, LeaderEpoch: -1, Metadata: metadata})
	if err := f.admin.CommitAllOffsets(t.Context(), "flats", offsets); err != nil {
		t.Fatal(err)
	}
}
