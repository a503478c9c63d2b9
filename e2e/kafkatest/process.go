//go:build unix

package kafkatest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"millrace.dev/e2e/leash"
)

// run starts a command on a leash, its output appended to the file called log.
func run(dir, log string, args ...string) (*leash.Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the child has its own
	return leash.Start(leash.Command{Args: args, Dir: dir, Stdout: out, Stderr: out})
}

// java returns the command line that runs a main class of the broker's jars. The first compiler alone and the
// serial collector halve the start of a process that lives for seconds.
func (c *Cluster) java(heapMB int, class string, args ...string) []string {
	return append([]string{
		c.tools.java, fmt.Sprintf("-Xmx%dm", heapMB), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto",
		"-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true",
		"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn", // no dumps of all settings
		"-cp", filepath.Join(c.tools.lib, "*"), class,
	}, args...)
}

// format prepares the broker's folder.
func (c *Cluster) format(ctx context.Context, n *node) error {
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return err
	}
	args := c.java(128, "kafka.tools.StorageTool", "format", "-t", c.id, "-c", n.config)
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("format broker %d: %w: %s", n.index, err, tail(string(out), 5))
	}
	return nil
}

// launch starts the broker's process.
func (c *Cluster) launch(n *node) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, err := run(filepath.Dir(n.dir), n.log, c.java(c.opts.HeapMB, "kafka.Kafka", n.config)...)
	if err != nil {
		return fmt.Errorf("start broker %d: %w", n.index, err)
	}
	n.proc = p
	return nil
}

// ready waits until broker n itself tells that it and at least all-1 others are registered and serving.
func (c *Cluster) ready(ctx context.Context, n *node, all int) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.client.addr()), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer cl.Close()
	n.mu.Lock()
	proc := n.proc
	n.mu.Unlock()
	if proc == nil {
		return fmt.Errorf("broker %d was stopped", n.index)
	}
	err = poll(ctx, func() (bool, error) {
		if proc.Ended() {
			return false, c.whyEnded(n, proc)
		}
		m, err := metadata(ctx, cl)
		if err != nil {
			return false, nil //nolint:nilerr // not yet: it is asked again until ctx is done
		}
		me := slices.ContainsFunc(m.Brokers, func(b kmsg.MetadataResponseBroker) bool { return int(b.NodeID) == n.index })
		return me && len(m.Brokers) >= all, nil
	})
	if err != nil {
		return fmt.Errorf("broker %d is not ready: %w", n.index, err)
	}
	return nil
}

func (c *Cluster) whyEnded(n *node, p *leash.Process) error {
	text, err := c.Log(n.index)
	if err != nil {
		return err
	}
	if strings.Contains(text, "Address already in use") {
		return errPortTaken
	}
	return fmt.Errorf("its process ended: %v", p.State())
}

// metadata asks the first seed broker, and no other, for the brokers that it knows.
func metadata(ctx context.Context, cl *kgo.Client) (*kmsg.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none
	resp, err := cl.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return nil, err
	}
	m, ok := resp.(*kmsg.MetadataResponse)
	if !ok {
		return nil, fmt.Errorf("metadata answered with a %T", resp)
	}
	return m, nil
}

// poll calls cond 20 times a second until it is true, fails, or ctx is done.
func poll(ctx context.Context, cond func() (bool, error)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := cond(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tail returns the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n") + "\n"
}

// warnings returns the last n lines of a log that are warnings or errors or belong to a stack trace.
func warnings(log string, n int) string {
	var keep []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, " INFO ") || strings.Contains(line, " DEBUG ") {
			continue
		}
		keep = append(keep, line)
	}
	return strings.Join(keep[max(0, len(keep)-n):], "")
}
