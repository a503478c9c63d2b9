package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// The topology of the tests: the last value of each key, how many there were, and how many in windows.
const (
	application = "shop"
	input       = "words"
	partitions  = 4
	windowSize  = 10 * time.Second
)

func topology() *stream.Topology {
	t := stream.New(application)
	words := stream.From(t, input, stream.String(), stream.Int64())
	stream.ToTable(words, "last")
	byKey := stream.GroupByKey(words)
	stream.Count(byKey, "counts", stream.InMemory())
	stream.CountWindows(stream.WindowedBy(byKey, stream.Hopping(windowSize, windowSize/2)), "windows")
	return t
}

// world is a cluster with the topic, and instances.
type world struct {
	t       *testing.T
	cluster *kfake.Cluster
	client  *kafka.Client
	input   *kafka.Producer
	all     []*instance
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, input), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, cluster: c}
	w.client = w.newClient(nil)
	if w.input, err = w.client.NewProducer(kafka.ProducerConfig{Topic: input}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, in := range w.all {
			in.stop()
		}
		w.input.Close()
		w.client.Close()
		c.Close()
	})
	return w
}

func (w *world) newClient(dial kafka.Dialer) *kafka.Client {
	w.t.Helper()
	c, err := kafka.New(kafka.Config{Brokers: w.cluster.ListenAddrs(), Dial: dial})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// instance is an instance with its handler at an address.
type instance struct {
	w      *world
	engine *engine.Engine
	client *kafka.Client
	api    *API
	http   *httptest.Server
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
	seen  []*http.Request // that the handler got
}

// dial connects to a broker, unless the instance is dead.
func (in *instance) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
	in.mu.Lock()
	defer in.mu.Unlock()
	if err == nil && in.dead {
		_ = c.Close()
		err = errors.New("connection refused by the test")
	}
	if err == nil {
		in.conns = append(in.conns, c)
	}
	return c, err
}

func (w *world) run(change ...func(*engine.Options)) *instance {
	w.t.Helper()
	in := &instance{w: w, done: make(chan struct{})}
	in.client = w.newClient(in.dial)
	in.http = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		in.mu.Lock()
		in.seen = append(in.seen, r)
		in.mu.Unlock()
		in.api.Handler().ServeHTTP(rw, r)
	}))
	p, err := topology().Program()
	if err != nil {
		w.t.Fatal(err)
	}
	o := engine.Options{Client: in.client, Program: p, Threads: 2, SessionTimeout: time.Second, TransactionTimeout: 2 * time.Second, CommitInterval: 20 * time.Millisecond, Address: in.http.URL}
	for _, f := range change {
		f(&o)
	}
	if in.engine, err = engine.New(o); err != nil {
		w.t.Fatal(err)
	}
	if in.api, err = New(Options{Engine: in.engine, Program: p}); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	in.cancel = cancel
	go func() {
		defer close(in.done)
		if err := in.engine.Run(ctx); err != nil {
			w.t.Error(err)
		}
		in.client.Close()
	}()
	w.all = append(w.all, in)
	return in
}

// stop ends the instance in good order.
func (in *instance) stop() {
	in.cancel()
	<-in.done
	in.http.Close()
}

// kill ends it as SIGKILL does.
func (in *instance) kill() {
	in.mu.Lock()
	in.dead = true
	for _, c := range in.conns {
		_ = c.Close()
	}
	in.mu.Unlock()
	in.http.CloseClientConnections()
	in.http.Close()
	in.cancel()
}

// put writes a value of a key at a time in milliseconds.
func (w *world) put(key string, value, at int64) {
	w.t.Helper()
	b, err := stream.Int64().Append(nil, value)
	if err == nil {
		err = w.input.Send(w.t.Context(), &record.Raw{Key: []byte(key), Value: b, Timestamp: at})
	}
	if err == nil {
		err = w.input.Flush(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// get asks an instance, and returns the status and what it answers.
func (in *instance) get(path string, into any, header ...string) int {
	in.w.t.Helper()
	req, err := http.NewRequestWithContext(in.w.t.Context(), http.MethodGet, in.http.URL+path, nil)
	if err != nil {
		in.w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	b, err := io.ReadAll(resp.Body)
	if err == nil && into != nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		in.w.t.Errorf("%s: %v: %s", path, err, b)
	}
	return resp.StatusCode
}

// until waits for a condition.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			w.t.Fatal("gave up waiting: " + what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// count returns what an instance says of a key's count, and the status.
func (in *instance) count(key string) (int64, int) {
	var out RowAnswer
	status := in.get("/v1/stores/counts/row?key="+url.QueryEscape(key), &out)
	if status != http.StatusOK {
		return 0, status
	}
	n, err := strconv.ParseInt(string(out.Row.Value), 10, 64)
	if err != nil || string(out.Row.Key) != strconv.Quote(key) {
		in.w.t.Errorf("key %s: got %+v", key, out)
	}
	return n, status
}

func keyOf(i int) string { return fmt.Sprintf("key-%02d", i) }

// places returns the states of the partitions of a store, as an instance sees them.
func (in *instance) places() string {
	var p Places
	if in.get("/v1/stores/counts", &p) != http.StatusOK {
		return ""
	}
	var states []string
	for _, x := range p.Places {
		states = append(states, x.State)
	}
	return strings.Join(states, " ")
}

// split waits until two instances share the partitions.
func (w *world) split(a, b *instance) {
	w.t.Helper()
	w.until("the instances to share the partitions", func() bool {
		for _, in := range []*instance{a, b} {
			states := in.places()
			if strings.Count(states, placeRunning) != partitions/2 || strings.Count(states, placeElsewhere) != partitions/2 {
				return false
			}
		}
		return true
	})
}
