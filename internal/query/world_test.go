package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/testenv"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// The topology of the tests: the last value of each key, also for a time, how many there were, and how many in windows of each kind.
const (
	application = "shop"
	input       = "words"
	partitions  = 4
	windowSize  = 10 * time.Second
	difference  = 5 * time.Second
	gap         = 4 * time.Second
	kept        = 4 * time.Minute
)

func topology() *stream.Topology {
	t := stream.New(application)
	words := stream.From(t, input, stream.String(), stream.Int64())
	stream.ToTable(words, "last")
	stream.ToTable(words, "fresh", stream.TTL(kept))
	byKey := stream.GroupByKey(words)
	stream.Count(byKey, "counts", stream.InMemory())
	stream.CountWindows(stream.WindowedBy(byKey, stream.Hopping(windowSize, windowSize/2)), "windows")
	stream.CountWindows(stream.WindowedBy(byKey, stream.Sliding(difference)), "sliding", stream.Retention(kept))
	stream.CountSessions(stream.WindowedBySessions(byKey, stream.Sessions(gap)), "sessions", stream.Retention(kept))
	return t
}

// world is a cluster with the topic, and instances, in a network of its own.
type world struct {
	t       *testing.T
	network wires
	cluster *kfake.Cluster
	client  *kafka.Client
	input   *kafka.Producer
	http    *http.Client
	all     []*instance
	ports   int
}

const (
	brokerPort = 9092
	broker     = "localhost:9092"
)

// inWorld runs fn in a world of its own, in fake time where it can.
func inWorld(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	testenv.InTime(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		fn(t, w)
	})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, network: wires{&kfake.VirtualNetwork{}, &sync.WaitGroup{}}}
	var err error
	w.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(brokerPort), kfake.ListenFn(w.network.VirtualNetwork.Listen), kfake.SeedTopics(partitions, input), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	w.client = w.newClient(w.network.VirtualNetwork.DialContext)
	if w.input, err = w.client.NewProducer(kafka.ProducerConfig{Topic: input}); err != nil {
		t.Fatal(err)
	}
	w.http = &http.Client{Transport: w.transport("", "", "")}
	return w
}

func (w *world) close() {
	for _, in := range w.all {
		in.stop()
	}
	w.http.CloseIdleConnections()
	w.input.Close()
	w.client.Close()
	w.cluster.Close()
	w.network.carrying.Wait()
}

func (w *world) newClient(dial kafka.Dialer) *kafka.Client {
	w.t.Helper()
	c, err := kafka.New(kafka.Config{Brokers: []string{broker}, Dial: dial})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// transport is [NewTransport] in the network.
func (w *world) transport(ca, cert, key string) *http.Transport {
	w.t.Helper()
	t, err := NewTransport(ca, cert, key)
	if err != nil {
		w.t.Fatal(err)
	}
	t.DialContext = w.network.DialContext
	return t
}

// listen listens in the network, and returns where.
func (w *world) listen() (l net.Listener, host string) {
	w.t.Helper()
	w.ports++
	host = fmt.Sprintf("localhost:%d", 8000+w.ports)
	l, err := w.network.Listen("tcp", host)
	if err != nil {
		w.t.Fatal(err)
	}
	return l, host
}

// serve serves a handler until the function that it returns is called.
func (w *world) serve(h http.Handler) (url string, stop func()) {
	w.t.Helper()
	l, host := w.listen()
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // until it is closed
	}()
	return "http://" + host, func() {
		_ = s.Close() // of which nobody asks anything
		<-done
	}
}

// instance is an instance with its handler at an address.
type instance struct {
	w         *world
	engine    *engine.Engine
	client    *kafka.Client
	api       *API
	url       string
	transport *http.Transport
	cancel    context.CancelFunc
	done      chan struct{}
	quiet     func() // ends to serve

	mu    sync.Mutex
	dead  bool // cut off from the brokers
	conns []net.Conn
	seen  []*http.Request // that the handler got
}

// dial connects to a broker, unless the instance is dead.
func (in *instance) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := in.w.network.VirtualNetwork.DialContext(ctx, network, address)
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

// setup is what a test can change of an instance.
type setup struct {
	engine.Options

	timeout   time.Duration
	transport *http.Transport
	serve     func(in *instance) (url string, stop func()) // Default: the handler, to anyone
}

// ServeHTTP answers as the instance does.
func (in *instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in.mu.Lock()
	in.seen = append(in.seen, r)
	in.mu.Unlock()
	in.api.Handler().ServeHTTP(w, r)
}

func (w *world) run(change ...func(*setup)) *instance {
	w.t.Helper()
	in := &instance{w: w, done: make(chan struct{})}
	in.client = w.newClient(in.dial)
	p, err := topology().Program()
	if err != nil {
		w.t.Fatal(err)
	}
	o := setup{
		Options: engine.Options{
			Client: in.client, Program: p, Threads: 2, SessionTimeout: time.Second, TransactionTimeout: 2 * time.Second, CommitInterval: 20 * time.Millisecond, Address: "+",
		},
		transport: w.transport("", "", ""), serve: func(in *instance) (string, func()) { return w.serve(in) },
	}
	for _, f := range change {
		f(&o)
	}
	in.transport = o.transport
	in.url, in.quiet = o.serve(in)
	if o.Address == "+" {
		o.Address = in.url
	}
	if in.engine, err = engine.New(o.Options); err != nil {
		w.t.Fatal(err)
	}
	if in.api, err = New(Options{Engine: in.engine, Program: p, Transport: o.transport, Timeout: o.timeout}); err != nil {
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

// stop ends the instance in good order. It may be called again.
func (in *instance) stop() {
	in.cancel()
	<-in.done
	in.quiet()
	in.transport.CloseIdleConnections()
}

// cut cuts it off from the brokers, for good or until dead is not set.
func (in *instance) cut(dead bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.dead = dead
	for _, c := range in.conns {
		_ = c.Close()
	}
	in.conns = nil
}

// kill ends it as SIGKILL does.
func (in *instance) kill() {
	in.cut(true)
	in.quiet()
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
	req, err := http.NewRequestWithContext(in.w.t.Context(), http.MethodGet, in.url+path, nil)
	if err != nil {
		in.w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := in.w.http.Do(req)
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
