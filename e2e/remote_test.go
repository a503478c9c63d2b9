//go:build unix

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace.dev/e2e/kafkatest"
)

// remoteFaultsEnv says how often each fault is tried. Phases are then long, and nothing runs beside the test.
const remoteFaultsEnv = "MILLRACE_REMOTE_FAULTS"

const (
	remotePartitions = 4
	remoteVictim     = 0 // the partition whose calls a fault is for
	remotePerSecond  = 400
	remoteMemory     = 512 << 20 // of an instance that gets answers of a gigabyte
)

// remoteFaults are what a server can do to a call.
func remoteFaults() []string {
	return []string{"hangs", "is slow", "answers 500", "answers in another shape", "answers NaN", "answers half a body", "answers a gigabyte"}
}

// faultyServer stands before millrace serve, and does to the calls of some partitions what it is told.
type faultyServer struct {
	*httptest.Server

	messages []message
	upstream atomic.Pointer[string]
	fault    atomic.Pointer[serverFault]

	mu      sync.Mutex
	written int64 // bytes of a gigabyte, of the call that took most
}

// serverFault is what is done to the calls of a partition until it is over.
type serverFault struct {
	kind string
	over chan struct{}
}

func newFaultyServer(t *testing.T, messages []message) *faultyServer {
	t.Helper()
	s := &faultyServer{messages: messages}
	s.fault.Store(&serverFault{})
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

var seqPattern = regexp.MustCompile(`"seq": (\d+)`)

// partition returns the partition that the records of a call are of; -1 for those of no message, such as golden rows.
func (s *faultyServer) partition(body []byte) int32 {
	m := seqPattern.FindSubmatch(body)
	if m == nil {
		return -1
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil || n >= len(s.messages) {
		return -1
	}
	return s.messages[n].Partition
}

// ServeHTTP answers as the server behind it does, or worse.
func (s *faultyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f := s.fault.Load()
	kind := ""
	if s.partition(body) == remoteVictim {
		kind = f.kind
	}
	switch kind {
	case "hangs":
		select {
		case <-r.Context().Done():
		case <-f.over:
		}
		panic(http.ErrAbortHandler)
	case "is slow": // five seconds, which is more than a call may take
		late := time.NewTimer(5 * time.Second)
		defer late.Stop()
		select {
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		case <-late.C:
		}
	case "answers 500":
		w.WriteHeader(http.StatusInternalServerError)
		return
	case "answers a gigabyte":
		s.gigabyte(w)
		return
	}
	answer, status, header := s.ask(r, body)
	switch kind {
	case "answers in another shape":
		answer = []byte(`{"predictions":[{"record":[1,2,3]}]}`)
	case "answers NaN":
		answer = regexp.MustCompile(`"predicted_price":[^,}]+`).ReplaceAll(answer, []byte(`"predicted_price":NaN`))
	case "answers half a body":
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write(answer[:len(answer)/2])
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), header)
	w.Header().Del("Content-Length")
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

// ask asks the server behind. One that is not there closes the connection of who asks, too.
func (s *faultyServer) ask(r *http.Request, body []byte) ([]byte, int, http.Header) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+*s.upstream.Load()+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(req.Header, r.Header)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return answer, resp.StatusCode, resp.Header
}

// gigabyte answers what begins well and does not end for long.
func (s *faultyServer) gigabyte(w http.ResponseWriter) {
	n, err := w.Write([]byte(`{"predictions":[{"record":{"more":"`))
	chunk := bytes.Repeat([]byte("x"), 1<<16)
	sum := int64(n)
	for err == nil && sum < 1<<30 {
		n, err = w.Write(chunk)
		sum += int64(n)
	}
	s.mu.Lock()
	s.written = max(s.written, sum)
	s.mu.Unlock()
	panic(http.ErrAbortHandler)
}

// remoteStream is a stream whose model is behind millrace serve.
type remoteStream struct {
	*project

	t         *testing.T
	traffic   *traffic
	server    *faultyServer
	delivery  *delivery
	latencies *latencies
	scorer    *instance // millrace serve
	address   string    // of it
	results   map[string][]time.Duration
	recovered map[string][]time.Duration
}

// TestRemoteFaults has the model of a stream on another server, whose calls for one partition go wrong in every way, and which is killed:
// each record is predicted once, in order, with the bytes that batch makes; the other partitions go on while that one waits; memory
// stays bounded. How late predictions are, and how soon it goes on when the server does, is logged: make remote measures it.
func TestRemoteFaults(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv(remoteFaultsEnv))
	length := 8 * time.Second
	if err != nil || rounds < 1 {
		rounds, length = 1, 1500*time.Millisecond
		beside(t) // nothing is measured
	}
	seed := newSeed(t)
	ctx := deadline(t, time.Duration(rounds)*20*length+8*time.Minute)
	phases := rounds * (2*len(remoteFaults()) + 2)
	n := int((time.Duration(phases)*length + time.Duration(phases)*2*time.Second + 10*time.Second).Seconds()) * remotePerSecond
	r := newRemoteStream(ctx, t, seed, n)
	oracle, observer := r.watch(t, r.traffic)
	production := r.start(t, "production", "--create-topics", "--set", "model.serve.url="+r.server.URL, "--set", "model.serve.protocol=predict",
		"--set", "model.serve.timeout=500ms", "--set", "model.serve.batch=64")
	must(t, settled(ctx, r.admin(t), r.topics.Source, remotePartitions, 1))
	r.delivery = r.deliver(ctx, t, r.traffic, remotePerSecond)
	r.pass(ctx, 3*time.Second) // the first seconds are others'
	for range rounds {
		for _, kind := range remoteFaults() {
			r.calm(ctx, length)
			r.during(ctx, kind, length)
		}
		r.calm(ctx, length)
		r.killed(ctx, length)
	}
	must(t, r.delivery.wait(ctx))
	must(t, observer.Wait(ctx))
	must(t, oracle.Report().Err())
	if got := peak(t, production.proc.Pid()); got > remoteMemory {
		t.Errorf("the instance has used %d MiB of memory", got>>20)
	}
	r.server.Close()                           // nobody writes any more
	if got := r.server.written; got > 64<<20 { // what the kernel's buffers and a bounded answer take
		t.Errorf("%d MiB of an answer were taken", got>>20)
	}
	_, err = production.terminate(ctx)
	must(t, err)
	r.judge(ctx, t, r.traffic)
	r.report()
}

func newRemoteStream(ctx context.Context, t *testing.T, seed uint64, n int) *remoteStream {
	t.Helper()
	r := &remoteStream{
		project: newProject(t, kafkatest.Start(t, kafkatest.Options{}), seed), t: t, results: map[string][]time.Duration{}, recovered: map[string][]time.Duration{},
	}
	r.traffic = r.newTraffic(t, seed, n, 200, remotePartitions)
	r.createTopics(ctx, t, remotePartitions, nil)
	r.server = newFaultyServer(t, r.traffic.messages)
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	must(t, err)
	r.address = l.Addr().String()
	must(t, l.Close())
	r.server.upstream.Store(&r.address)
	r.serve(ctx)
	r.latencies = r.measure(t)
	return r
}

// serve starts the server of the model, and returns when it is ready.
func (r *remoteStream) serve(ctx context.Context) {
	r.t.Helper()
	r.scorer = r.launch(r.t, "scorer", r.binary, "serve", "--http", r.address)
	must(r.t, poll(ctx, func() (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.address+"/v2/health/ready", http.NoBody)
		if err != nil {
			return false, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			if r.scorer.proc.Ended() {
				return false, fmt.Errorf("it has ended: %v", r.scorer.proc.State())
			}
			return false, nil // it is not there yet
		}
		return resp.StatusCode == http.StatusOK, resp.Body.Close()
	}))
}

// pass lets the stream run for a while.
func (r *remoteStream) pass(ctx context.Context, d time.Duration) (from, to time.Time) {
	r.t.Helper()
	from = time.Now()
	must(r.t, pause(ctx, d))
	return from, time.Now()
}

// caughtUp waits until what was due by a time is predicted, of some partitions.
func (r *remoteStream) caughtUp(ctx context.Context, by time.Time, of func(int32) bool) {
	r.t.Helper()
	due := int(by.Sub(r.delivery.began).Seconds() * remotePerSecond)
	want := 0
	for i := range r.traffic.messages[:min(due, len(r.traffic.messages))] {
		if m := &r.traffic.messages[i]; m.prediction != nil && of(m.Partition) {
			want++
		}
	}
	must(r.t, poll(ctx, func() (bool, error) {
		r.latencies.mu.Lock()
		defer r.latencies.mu.Unlock()
		n := 0
		for _, l := range r.latencies.list {
			if of(l.partition) {
				n++
			}
		}
		return n >= want, nil
	}))
}

func others(partition int32) bool { return partition != remoteVictim }

func all(int32) bool { return true }

// note keeps how late the other partitions' predictions of some time were.
func (r *remoteStream) note(name string, from, to time.Time) {
	r.latencies.mu.Lock()
	defer r.latencies.mu.Unlock()
	var took []time.Duration
	for _, l := range r.latencies.list {
		if others(l.partition) && !l.of.Before(from) && l.of.Before(to) {
			took = append(took, l.took)
		}
	}
	slices.Sort(took)
	r.results[name] = append(r.results[name], quantile(took, 0.99))
}

// calm lets the stream run without a fault.
func (r *remoteStream) calm(ctx context.Context, length time.Duration) {
	r.t.Helper()
	from, to := r.pass(ctx, length)
	r.caughtUp(ctx, to, all)
	r.note("no fault", from, to)
}

// during has the calls of one partition go wrong for a while. The others have to go on meanwhile, that one afterwards.
func (r *remoteStream) during(ctx context.Context, kind string, length time.Duration) {
	r.t.Helper()
	f := &serverFault{kind, make(chan struct{})}
	r.server.fault.Store(f)
	from, to := r.pass(ctx, length)
	r.caughtUp(ctx, to, others)
	before := r.predicted(remoteVictim)
	r.server.fault.Store(&serverFault{})
	close(f.over)
	healed := time.Now()
	r.goesOn(ctx, kind, healed, before)
	r.caughtUp(ctx, time.Now(), all)
	r.note(kind, from, to)
}

// predicted returns how many records of a partition are predicted.
func (r *remoteStream) predicted(partition int32) int {
	r.latencies.mu.Lock()
	defer r.latencies.mu.Unlock()
	n := 0
	for _, l := range r.latencies.list {
		if l.partition == partition {
			n++
		}
	}
	return n
}

// goesOn waits until a partition has more predictions than before, and notes how long that took.
func (r *remoteStream) goesOn(ctx context.Context, kind string, since time.Time, before int) {
	r.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.predicted(remoteVictim) <= before {
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("the server %s: the partition does not go on when that is over", kind)
		}
	}
	r.recovered[kind] = append(r.recovered[kind], time.Since(since))
}

// killed kills the server and starts it again.
func (r *remoteStream) killed(ctx context.Context, length time.Duration) {
	r.t.Helper()
	must(r.t, r.scorer.kill(ctx))
	r.pass(ctx, length)
	before := r.predicted(remoteVictim)
	r.serve(ctx)
	r.goesOn(ctx, "is killed", time.Now(), before)
	r.caughtUp(ctx, time.Now(), all)
}

// peak returns the most memory that a process has had, in bytes; 0 where the system does not say.
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if os.IsNotExist(err) {
		return 0
	}
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kb), "kB")), 10, 64)
			must(t, err)
			return n << 10
		}
	}
	return 0
}

// report says how late the other partitions were, and how soon the one at fault went on.
func (r *remoteStream) report() {
	calm := quantile(slices.Sorted(slices.Values(r.results["no fault"])), 0.5)
	for _, name := range append([]string{"no fault"}, remoteFaults()...) {
		p99 := quantile(slices.Sorted(slices.Values(r.results[name])), 0.5)
		line := fmt.Sprintf("%-26s other partitions: p99 %v (%+.0f %%)", name, p99.Round(100*time.Microsecond), 100*(float64(p99)/float64(calm)-1))
		if list := r.recovered[name]; len(list) > 0 {
			line += fmt.Sprintf("; goes on after %v at most", slices.Max(list).Round(time.Millisecond))
		}
		r.t.Log(line)
	}
	r.t.Logf("%-26s goes on %v after the server, at most", "is killed", slices.Max(r.recovered["is killed"]).Round(time.Millisecond))
}
