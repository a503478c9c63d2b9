//go:build unix

// Package kafkatest starts real Apache Kafka brokers for tests: one, or several with racks, in KRaft's
// combined mode (every broker is a controller too), on free ports of 127.0.0.1, with their data in the test's
// temporary folder.
//
// It needs Java 17 or newer and, the first time, Maven, which fetches the broker of pom.xml into a cache folder
// (see [LibEnv]). Without them, and with -short, a test is skipped, or fails where MILLRACE_REQUIRE names kafka.
//
// The brokers end with the test, and also when the test's process panics or is killed: see package leash.
package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"millrace.dev/e2e/leash"
)

// Limits of the waits, far above what an idle machine needs: start about 3 s, orderly stop below 1 s.
const (
	startTimeout = 2 * time.Minute
	stopTimeout  = 30 * time.Second
	startTries   = 3
)

// Options say what to start. The zero value is one broker without access control.
type Options struct {
	// Brokers is the number of brokers, 1 to 9. Their node ids are 0, 1, ... and their racks az-0, az-1, ...
	// Topics, offsets and transaction state have a replication factor of 3 and min.insync.replicas of 2, where
	// there are three brokers or more. Default: 1.
	Brokers int
	// Config sets broker properties, over those that [Start] chooses. The partition counts of the offsets and
	// the transaction topic are 4 unless set here (Kafka's default is 50, which makes every start slower).
	// What delays a failover has Kafka's default: transaction.abort.timed.out.transaction.cleanup.interval.ms
	// and broker.session.timeout.ms are the ones to set; group.initial.rebalance.delay.ms is 0.
	Config map[string]string
	// ACLs turns Kafka's StandardAuthorizer on. What no ACL names is allowed to everyone, so that a test can
	// deny a topic and leave the rest alone. Clients of [Cluster.Bootstrap] are User:ANONYMOUS. Default: off.
	ACLs bool
	// Users are names and passwords. Where there are some, each broker has a second listener that wants
	// SASL/PLAIN over plain text: [Cluster.BootstrapSASL]. Default: none.
	Users map[string]string
	// HeapMB is the limit of a broker's heap, in MiB. Default: 256.
	HeapMB int
}

// Cluster is a set of running brokers. Its methods are safe for concurrent use and may be called from any
// goroutine, those of the fault injector too.
type Cluster struct {
	opts  Options
	tools tools
	id    string
	nodes []*node
}

// node is one broker: its place on disk and on the network, and its process while that runs.
type node struct {
	index                int
	dir, config, log     string
	client, sasl, quorum *lease

	mu   sync.Mutex
	proc *leash.Process // nil while the broker is down
}

// Start starts the brokers that o asks for, waits until each one serves clients and knows all the others, and
// stops them at the end of the test. It fails the test where that does not work, and prints the end of the
// brokers' logs. It must run on the test's goroutine.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Brokers == 0 {
		o.Brokers = 1
	}
	if o.HeapMB == 0 {
		o.HeapMB = 256
	}
	if o.Brokers < 1 || o.Brokers > 9 {
		t.Fatalf("kafkatest: %d brokers: want 1 to 9", o.Brokers)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	found := findTools(ctx, t)
	var err error
	for range startTries {
		c := &Cluster{opts: o, tools: found, id: newClusterID()}
		if err = c.place(ctx, t.TempDir(), t.ArtifactDir()); err == nil {
			err = c.start(ctx)
		}
		if err == nil {
			t.Cleanup(func() { c.close(t) })
			return c
		}
		tails := c.tails()
		c.release()
		if !errors.Is(err, errPortTaken) {
			t.Fatalf("kafkatest: %v\n%s", err, tails)
		}
	}
	t.Fatalf("kafkatest: %v, %d times", err, startTries)
	return nil
}

// place finds the brokers' folders, under dir, and ports.
func (c *Cluster) place(ctx context.Context, dir, artifacts string) error {
	logs, err := os.MkdirTemp(artifacts, "kafka-")
	if err != nil {
		return err
	}
	for i := range c.opts.Brokers {
		n := &node{
			index:  i,
			dir:    filepath.Join(dir, fmt.Sprintf("broker-%d", i)),
			config: filepath.Join(dir, fmt.Sprintf("broker-%d.properties", i)),
			log:    filepath.Join(logs, fmt.Sprintf("broker-%d.log", i)),
		}
		c.nodes = append(c.nodes, n)
		for _, l := range []**lease{&n.client, &n.sasl, &n.quorum} {
			if *l, err = leasePort(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// start formats the folders, starts the brokers and waits until they serve.
func (c *Cluster) start(ctx context.Context) error {
	for _, n := range c.nodes {
		if err := os.WriteFile(n.config, c.properties(n), 0o600); err != nil {
			return err
		}
	}
	if err := c.each(func(n *node) error { return c.format(ctx, n) }); err != nil {
		return err
	}
	if err := c.each(func(n *node) error { return c.launch(n) }); err != nil {
		return err
	}
	return c.each(func(n *node) error { return c.ready(ctx, n, c.opts.Brokers) })
}

// each calls do for every node at once and joins the errors.
func (c *Cluster) each(do func(*node) error) error {
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() { errs[i] = do(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Bootstrap returns the addresses of all brokers, running or not: plain text, no authentication.
func (c *Cluster) Bootstrap() []string {
	addrs := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		addrs[i] = n.client.addr()
	}
	return addrs
}

// BootstrapSASL returns the addresses of the listeners that want SASL/PLAIN. It is nil without [Options.Users].
func (c *Cluster) BootstrapSASL() []string {
	if len(c.opts.Users) == 0 {
		return nil
	}
	addrs := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		addrs[i] = n.sasl.addr()
	}
	return addrs
}

// Stop ends broker i in order (SIGTERM) and waits until its process is gone. A broker that takes longer than
// 30 s, as one does that finds no controller to hand over to, is killed, and Stop returns an error.
func (c *Cluster) Stop(ctx context.Context, i int) error { return c.end(ctx, i, syscall.SIGTERM) }

// Kill ends broker i at once (SIGKILL) and waits until its process is gone.
func (c *Cluster) Kill(ctx context.Context, i int) error { return c.end(ctx, i, syscall.SIGKILL) }

func (c *Cluster) end(ctx context.Context, i int, sig syscall.Signal) error {
	n := c.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return fmt.Errorf("kafkatest: broker %d is not running", i)
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	err := n.proc.End(ctx, sig)
	n.proc = nil
	if err != nil {
		return fmt.Errorf("kafkatest: broker %d: %w", i, err)
	}
	return nil
}

// Restart starts broker i again, on the same ports and data, after [Cluster.Stop] or [Cluster.Kill]. It waits
// until the broker serves clients; [Cluster.WaitInSync] waits for its replicas to catch up.
func (c *Cluster) Restart(ctx context.Context, i int) error {
	n := c.nodes[i]
	n.mu.Lock()
	running := n.proc != nil
	n.mu.Unlock()
	if running {
		return fmt.Errorf("kafkatest: broker %d is running", i)
	}
	if err := c.launch(n); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return c.ready(ctx, n, 1)
}

// Log returns what broker i has logged so far, at level info. It is also in the file kafka-*/broker-<i>.log
// of the test's artifacts, which stay when `go test` gets -artifacts.
func (c *Cluster) Log(i int) (string, error) {
	b, err := os.ReadFile(c.nodes[i].log)
	return string(b), err
}

// close ends the brokers and, where the test failed, prints their last warnings.
func (c *Cluster) close(t testing.TB) {
	if t.Failed() {
		t.Log(c.tails())
	}
	c.release()
}

// release kills what runs and gives the ports back. There is no order to keep: the data goes as well.
func (c *Cluster) release() {
	for _, n := range c.nodes {
		n.mu.Lock()
		if n.proc != nil {
			_ = n.proc.End(context.Background(), syscall.SIGKILL) // the process is waited for all the same
			n.proc = nil
		}
		n.mu.Unlock()
		for _, l := range []*lease{n.client, n.sasl, n.quorum} {
			l.release()
		}
	}
}

// tails returns the last warnings and errors of every broker's log.
func (c *Cluster) tails() string {
	var b strings.Builder
	for i := range c.nodes {
		text, err := c.Log(i)
		if err != nil {
			continue // it was never started
		}
		fmt.Fprintf(&b, "--- broker %d, last warnings\n%s", i, warnings(text, 25))
	}
	return b.String()
}
