//go:build unix

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/s3test"
)

// TestBucketAway runs instances whose registry is in a bucket that they cannot reach while a model is promoted: they go on
// with the model that they have, and promote says who cannot load the next one, and why. When the way is open again they go
// over; and what they have loaded, they predict with, whether the bucket is there or not.
func TestBucketAway(t *testing.T) {
	server := s3test.Start(t)
	t.Setenv("AWS_ACCESS_KEY_ID", s3test.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3test.SecretKey)
	ctx := deadline(t, 4*time.Minute)
	p := newProject(t, kafkatest.Start(t, kafkatest.Options{}), newSeed(t))
	p.createTopics(ctx, t, 2, nil)
	p.ok(t, "train", "--by", "e2e", "--set", "train.gbm.ntrees=10")
	registry := server.Location("e2e")
	for _, ref := range []string{"house-prices@1", "house-prices@2"} {
		p.ok(t, "model", "export", ref, "--out", "model.tar")
		p.ok(t, "model", "import", "model.tar", "--by", "e2e", "--registry", registry)
		p.ok(t, "model", "approve", ref, "--by", "e2e", "--reason", "it is a test", "--registry", registry)
	}
	way := newWay(t, strings.TrimPrefix(server.URL(), "http://"))
	mine := strings.Replace(registry, server.URL(), "http://"+way.addr, 1)
	for i := range 2 {
		p.start(t, fmt.Sprintf("i%d", i), "--set", "model.registry="+mine)
	}
	must(t, settled(ctx, p.admin(t), p.topics.Source, 2, 2))
	cl := p.client(t, kgo.ConsumeTopics(p.topics.Predictions), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	sent := 0
	predictedBy := func(ref string) {
		t.Helper()
		for partition := range int32(2) {
			sale := p.generator.Sale(history + int64(sent))
			value := sale.AppendListing(nil)
			sent++
			must(t, cl.ProduceSync(ctx, &kgo.Record{Topic: p.topics.Source, Partition: partition, Key: []byte("k"), Value: value}).FirstErr())
		}
		for n := 0; n < 2; {
			fs := cl.PollFetches(ctx)
			must(t, fs.Err0())
			fs.EachRecord(func(r *kgo.Record) {
				if n++; headers(r)["millrace.model"] != ref {
					t.Errorf("predicted with %s, want %s", headers(r)["millrace.model"], ref)
				}
			})
		}
	}
	promote := []string{"model", "promote", "house-prices@2", "--by", "e2e", "--reason", "it is a test", "--registry", registry, "--timeout"}

	predictedBy("house-prices@1")
	way.close()
	o := p.run(ctx, t, append(promote, "8s")...)
	if o.code != 1 || !strings.Contains(o.stderr, "i0: cannot load it: ") || !strings.Contains(o.stderr, "i1: cannot load it: ") ||
		!strings.Contains(o.stderr, "no instance has gone over to it") {
		t.Errorf("exit status %d\n%s", o.code, o.stderr)
	}
	predictedBy("house-prices@1")
	way.open()
	p.ok(t, append(promote, "60s")...)
	way.close()
	predictedBy("house-prices@2")
}

// way is a way to a server that can be closed.
type way struct {
	addr, to string
	mu       sync.Mutex
	closed   bool
	conns    map[net.Conn]bool
	left     sync.WaitGroup
}

// newWay opens a way to a server, which is closed with the test.
func newWay(t *testing.T, to string) *way {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	w := &way{addr: l.Addr().String(), to: to, conns: map[net.Conn]bool{}}
	w.left.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.left.Go(func() { w.pass(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.close()
		w.left.Wait()
	})
	return w
}

// pass carries what comes on a connection to the server, and back.
func (w *way) pass(c net.Conn) {
	defer c.Close() //nolint:errcheck // nobody waits for what is in it
	var d net.Dialer
	s, err := d.DialContext(context.Background(), "tcp", w.to) // it is on this machine
	if err != nil || !w.take(c, s) {
		return
	}
	defer w.drop(c, s)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(c, s)
		_ = c.Close()
	})
	_, _ = io.Copy(s, c)
	_ = s.Close()
	back.Wait()
}

// take notes connections, unless the way is closed.
func (w *way) take(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		if w.closed {
			_ = c.Close()
			continue
		}
		w.conns[c] = true
	}
	return !w.closed
}

func (w *way) drop(conns ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		delete(w.conns, c)
	}
}

// close ends all connections, and new ones at once.
func (w *way) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for c := range w.conns {
		_ = c.Close()
	}
}

func (w *way) open() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = false
}
