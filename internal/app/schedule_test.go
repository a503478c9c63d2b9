//go:build synctests

package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/record"
)

const scheduledFile = `
version: 1
name: x
schema: {numeric: [y, a]}
source: {topic: t}
train: {data: "topic://t?from=${DATA_INTERVAL_START}&to=${DATA_INTERVAL_END}", label: y}
sink: {topic: p}
dead_letter: {topic: q}
schedule: {cron: "*/10 * * * *", retrain_after: 1h}
checks: {window: {every: 1h, on_fail: retrain}}
`

// plant is a cluster with runners of a schedule, in fake time, which begins at midnight of 1 January 2000.
type plant struct {
	t       *testing.T
	network *kfake.VirtualNetwork
	cluster *kfake.Cluster

	mu   sync.Mutex
	runs []string // runner, run and outcome, in their order
}

func inPlant(t *testing.T, fn func(t *testing.T, p *plant)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &plant{t: t, network: &kfake.VirtualNetwork{}}
		var err error
		p.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(p.network.Listen), kfake.GroupMinSessionTimeout(time.Second),
			kfake.SeedTopics(1, "x-control", "x.checks"))
		if err != nil {
			t.Fatal(err)
		}
		defer p.cluster.Close()
		fn(t, p)
	})
}

func (p *plant) client(dial kafka.Dialer) *kafka.Client {
	p.t.Helper()
	c, err := kafka.New(kafka.Config{Brokers: []string{"127.0.0.1:9092"}, Dial: dial})
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// runner is a process that runs the schedule.
type runner struct {
	plant *plant
	name  string
	takes time.Duration          // a training
	ahead time.Duration          // its clock
	fails func(run string) error // what comes of one
	log   bytes.Buffer
	stop  context.CancelFunc
	done  chan error

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (r *runner) dial(ctx context.Context, network, address string) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut {
		return nil, errors.New("the wire is cut")
	}
	c, err := r.plant.network.DialContext(ctx, network, address)
	r.conns = append(r.conns, c)
	return c, err
}

// die cuts all connections for good, and does not let the process say farewell.
func (r *runner) die() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = true
	for _, c := range r.conns {
		_ = c.Close() // that is what is wanted
	}
}

func (p *plant) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs = append(p.runs, text)
}

// noted returns what the runners did, from entry n on.
func (p *plant) noted(n int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.runs[n:])
}

func (p *plant) run(name string, change ...func(*runner)) *runner {
	p.t.Helper()
	r := &runner{plant: p, name: name, takes: time.Minute, done: make(chan error, 1), fails: func(string) error { return nil }}
	for _, f := range change {
		f(r)
	}
	file, err := config.Parse("x.yaml", []byte(scheduledFile), config.Options{Env: func(string) (string, bool) { return "2000-01-01", true }})
	if err != nil {
		p.t.Fatal(err)
	}
	client := p.client(r.dial)
	s := &scheduler{app: &App{Log: slog.New(slog.NewTextHandler(&r.log, nil)), Now: func() time.Time { return time.Now().Add(r.ahead) }}, pipeline: file, client: client, train: r.train}
	ctx, cancel := context.WithCancel(p.t.Context())
	r.stop = cancel
	go func() {
		defer client.Close()
		r.done <- s.run(ctx)
	}()
	return r
}

func (r *runner) train(ctx context.Context, run ScheduledRun) (*Trained, error) {
	select {
	case <-time.After(r.takes):
	case <-ctx.Done():
		r.plant.note(r.name + " stops " + run.RunID)
		return nil, ctx.Err()
	}
	if err := r.fails(run.RunID); err != nil {
		r.plant.note(fmt.Sprintf("%s fails %s at %s", r.name, run.RunID, time.Now().UTC().Format("15:04")))
		return nil, err
	}
	r.plant.note(fmt.Sprintf("%s trains %s of %s", r.name, run.RunID, run.Interval))
	return &Trained{Model: "x@1"}, nil
}

// end stops a runner in good order.
func (r *runner) end() {
	r.plant.t.Helper()
	began := time.Now()
	r.stop()
	if err := <-r.done; err != nil {
		r.plant.t.Errorf("%s: %v\n%s", r.name, err, r.log.String())
	}
	if d := time.Since(began); d > 5*time.Second {
		r.plant.t.Errorf("%s took %s to stop", r.name, d)
	}
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
		t.Error(diff)
	}
}

// TestScheduleTrains runs half an hour, with the last time before it caught up, and goes on after an hour without a runner.
func TestScheduleTrains(t *testing.T) {
	inPlant(t, func(t *testing.T, p *plant) {
		a := p.run("a")
		time.Sleep(25 * time.Minute)
		a.end()
		same(t, p.noted(0),
			"a trains x-2000-01-01T00:00:00Z of 1999-12-31T23:50:00Z to 2000-01-01T00:00:00Z",
			"a trains x-2000-01-01T00:10:00Z of 2000-01-01T00:00:00Z to 2000-01-01T00:10:00Z",
			"a trains x-2000-01-01T00:20:00Z of 2000-01-01T00:10:00Z to 2000-01-01T00:20:00Z")
		b := p.run("b") // nothing is new
		time.Sleep(3 * time.Minute)
		b.end()
		same(t, p.noted(3))
		time.Sleep(time.Hour)
		c := p.run("c") // of six that were missed, one counts
		time.Sleep(90 * time.Second)
		c.end()
		same(t, p.noted(3), "c trains x-2000-01-01T01:20:00Z of 2000-01-01T01:10:00Z to 2000-01-01T01:20:00Z")
	})
}

// TestScheduleClocks: a clock that was ten years ahead does not end the schedule for ten years, and one that is a little ahead has nothing
// trained twice.
func TestScheduleClocks(t *testing.T) {
	inPlant(t, func(t *testing.T, p *plant) {
		for _, ahead := range []time.Duration{10 * 365 * 24 * time.Hour, 0, 12 * time.Minute, 0} {
			r := p.run("a", func(r *runner) { r.ahead = ahead })
			time.Sleep(2 * time.Minute)
			r.end()
		}
		same(t, p.noted(0),
			"a trains x-2009-12-29T00:00:00Z of 2009-12-28T23:50:00Z to 2009-12-29T00:00:00Z",
			"a trains x-2000-01-01T00:00:00Z of 1999-12-31T23:50:00Z to 2000-01-01T00:00:00Z",
			"a trains x-2000-01-01T00:10:00Z of 2000-01-01T00:00:00Z to 2000-01-01T00:10:00Z")
	})
}

// TestScheduleStops wants a training that SIGTERM ended begun again by the next runner.
func TestScheduleStops(t *testing.T) {
	inPlant(t, func(t *testing.T, p *plant) {
		a := p.run("a")
		time.Sleep(30 * time.Second)
		a.end()
		b := p.run("b")
		time.Sleep(2 * time.Minute)
		b.end()
		same(t, p.noted(0), "a stops x-2000-01-01T00:00:00Z", "b trains x-2000-01-01T00:00:00Z of 1999-12-31T23:50:00Z to 2000-01-01T00:00:00Z")
	})
}

// TestScheduleLeads has two runners, of which one trains; when it is killed in the middle of a training, the other one trains the
// same run, within a minute of the training's time.
func TestScheduleLeads(t *testing.T) {
	inPlant(t, func(t *testing.T, p *plant) {
		long := func(r *runner) { r.takes = 5 * time.Minute }
		a := p.run("a", long)
		time.Sleep(10 * time.Second)
		b := p.run("b", long)
		time.Sleep(12*time.Minute - 10*time.Second)
		same(t, p.noted(0), "a trains x-2000-01-01T00:00:00Z of 1999-12-31T23:50:00Z to 2000-01-01T00:00:00Z")
		a.die()
		time.Sleep(50 * time.Second)
		same(t, p.noted(1), "a stops x-2000-01-01T00:10:00Z") // it has seen that nobody answers
		time.Sleep(5 * time.Minute)
		same(t, p.noted(2), "b trains x-2000-01-01T00:10:00Z of 2000-01-01T00:00:00Z to 2000-01-01T00:10:00Z")
		time.Sleep(8 * time.Minute)
		same(t, p.noted(3), "b trains x-2000-01-01T00:20:00Z of 2000-01-01T00:10:00Z to 2000-01-01T00:20:00Z")
		a.stop()
		t.Log("the runner that was cut off ended with", <-a.done)
		b.end()
	})
}

// TestScheduleHandsOver stops the leader in good order: the other one goes on at once, and does nothing again.
func TestScheduleHandsOver(t *testing.T) {
	inPlant(t, func(t *testing.T, p *plant) {
		a := p.run("a")
		time.Sleep(10 * time.Second)
		b := p.run("b")
		time.Sleep(5 * time.Minute)
		a.end()
		time.Sleep(10 * time.Minute)
		b.end()
		same(t, p.noted(0),
			"a trains x-2000-01-01T00:00:00Z of 1999-12-31T23:50:00Z to 2000-01-01T00:00:00Z",
			"b trains x-2000-01-01T00:10:00Z of 2000-01-01T00:00:00Z to 2000-01-01T00:10:00Z")
	})
}

// TestScheduleTriesAgain holds which failures are tried again, and until when.
func TestScheduleTriesAgain(t *testing.T) {
	inPlant(t, func(t *testing.T, p *plant) {
		a := p.run("a", func(r *runner) {
			left := 2
			r.fails = func(run string) error {
				switch {
				case strings.Contains(run, "T00:00"):
					if left--; left >= 0 {
						return errors.New("the broker does not answer")
					}
				case strings.Contains(run, "T00:10"):
					return &Error{Code: Refused, Err: errors.New("a gate")}
				case strings.Contains(run, "T00:20"):
					return &Error{Code: Nothing, Err: errors.New("no rows")}
				case strings.Contains(run, "T00:30"):
					return errors.New("the disk is full")
				}
				return nil
			}
		})
		time.Sleep(45 * time.Minute)
		a.end()
		got := p.noted(0)
		var kinds []string
		for _, x := range got {
			kinds = append(kinds, strings.Join(strings.Fields(x)[1:3], " "))
		}
		if n := len(kinds); n < 8 {
			t.Fatalf("%v", got)
		}
		same(t, kinds[:5], "fails x-2000-01-01T00:00:00Z", "fails x-2000-01-01T00:00:00Z", "trains x-2000-01-01T00:00:00Z", "fails x-2000-01-01T00:10:00Z", "fails x-2000-01-01T00:20:00Z")
		if last := kinds[len(kinds)-1]; last != "trains x-2000-01-01T00:40:00Z" {
			t.Errorf("the last was %s: %v", last, got)
		}
		for _, k := range kinds[5 : len(kinds)-1] {
			if k != "fails x-2000-01-01T00:30:00Z" {
				t.Errorf("%s: %v", k, got)
			}
		}
		if !strings.Contains(a.log.String(), "the training is given up: the next one is due") {
			t.Error(a.log.String())
		}
	})
}

// TestScheduleWindows sends results of window checks: each window that fails leads to one training at most, and not too often.
func TestScheduleWindows(t *testing.T) {
	inPlant(t, func(t *testing.T, p *plant) {
		client := p.client(p.network.DialContext)
		defer client.Close()
		producer, err := client.NewProducer(kafka.ProducerConfig{Topic: "x.checks"})
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		send := func(text string) {
			t.Helper()
			if err := producer.Send(t.Context(), &record.Raw{Key: []byte("x"), Value: []byte(text)}); err != nil {
				t.Fatal(err)
			}
			if err := producer.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		window := func(hour int, action string) string {
			to := time.Date(2000, 1, 1, hour, 0, 0, 0, time.UTC)
			return fmt.Sprintf(`{"pipeline":"x","result":"fail","action":%q,"from":%d,"to":%d,"judged":%d}`, action, to.Add(-time.Hour).UnixMilli(), to.UnixMilli(), to.UnixMilli())
		}
		ofWindows := func(n int) (list []string) {
			for _, x := range p.noted(0) {
				if strings.Contains(x, "window") {
					list = append(list, x)
				}
			}
			return list[min(n, len(list)):]
		}
		send(window(0, "retrain")) // before there was a runner: it begins with what comes
		a := p.run("a")
		time.Sleep(2 * time.Minute)
		same(t, ofWindows(0))
		for _, text := range []string{"no JSON", window(1, "alert"), window(1, ""), strings.Replace(window(1, "retrain"), `"x"`, `"y"`, 1), window(1, "retrain"), window(1, "retrain"), window(2, "retrain")} {
			send(text)
		}
		time.Sleep(30 * time.Second)
		a.end()
		same(t, ofWindows(0), "a stops x-window-2000-01-01T00:00:00Z-2000-01-01T01:00:00Z")
		b := p.run("b")
		time.Sleep(20 * time.Minute)
		b.end()
		same(t, ofWindows(1), "b trains x-window-2000-01-01T00:00:00Z-2000-01-01T01:00:00Z of 2000-01-01T00:50:00Z to 2000-01-01T01:00:00Z")
		if text := b.log.String(); !strings.Contains(text, "for which a model was trained") || !strings.Contains(text, "the last training for a window is too near") {
			t.Error(text)
		}
		c := p.run("c")
		time.Sleep(45 * time.Minute)
		send(window(1, "retrain")) // again, after the pause: it was done
		send(window(3, "retrain"))
		time.Sleep(5 * time.Minute)
		c.end()
		same(t, ofWindows(2), "c trains x-window-2000-01-01T02:00:00Z-2000-01-01T03:00:00Z of 2000-01-01T02:50:00Z to 2000-01-01T03:00:00Z")
	})
}
