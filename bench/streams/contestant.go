//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"

	"millrace.dev/bench/internal/rig"
)

// run is one measurement, as a contestant is told of it.
type run struct {
	row

	load

	broker, application, sink string
	state                     string // folder for it, empty
	marks                     string
}

// contestant is what is measured.
type contestant struct {
	name     string
	args     func(r run) []string // the command line
	env      []string
	windowed splits // its keys of windows
	samples  []sample
}

func (b *bench) contestants() []*contestant {
	all := []*contestant{{name: "Kafka Streams", args: b.peerArgs, windowed: splits{keyThenStart, keyThenEndThenStart}}}
	if b.ours != "" {
		all = append(all, &contestant{name: "millrace", args: b.oursArgs, env: []string{"GOMAXPROCS=" + strconv.Itoa(b.threads)}, windowed: splits{startThenEnd, startThenEndOfSession}})
	}
	return all
}

// keyThenStart is how Kafka Streams writes the key of a window: the key, and the start in 8 bytes, most significant first.
func keyThenStart(key []byte) (of []byte, start int64, err error) {
	at := len(key) - 8
	if at < 0 {
		return nil, 0, fmt.Errorf("key %q is too short for a window", key)
	}
	return key[:at], int64(binary.BigEndian.Uint64(key[at:])), nil //nolint:gosec // all 64 bits are the start's
}

// keyThenEndThenStart is how Kafka Streams writes the key of a session.
func keyThenEndThenStart(key []byte) (of []byte, start, end int64, err error) {
	of, start, err = keyThenStart(key)
	if err == nil {
		of, end, err = keyThenStart(of)
	}
	return of, start, end, err
}

// startThenEnd is how millrace writes the key of a window: start and end in 8 bytes each, most significant first, and the
// key.
func startThenEnd(key []byte) (of []byte, start int64, err error) {
	const at = 16
	if len(key) < at {
		return nil, 0, fmt.Errorf("key %q is too short for a window", key)
	}
	return key[at:], int64(binary.BigEndian.Uint64(key)), nil //nolint:gosec // all 64 bits are the start's
}

// startThenEndOfSession is how millrace writes the key of a session: as that of a window.
func startThenEndOfSession(key []byte) (of []byte, start, end int64, err error) {
	if of, start, err = startThenEnd(key); err == nil {
		end = int64(binary.BigEndian.Uint64(key[8:])) //nolint:gosec // all 64 bits are the end's
	}
	return of, start, end, err
}

// build has Maven compile the program on Kafka Streams, and bring what it needs, into b.dir.
func (b *bench) build(ctx context.Context) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("%w: %w: install Java 17 and Maven (Debian: apt-get install openjdk-17-jdk-headless maven)", rig.ErrMissing, err)
	}
	pom, err := filepath.Abs(filepath.Join(b.peer, "pom.xml"))
	if err != nil {
		return err
	}
	b.say("building %s", b.peer)
	out, err := exec.CommandContext(ctx, mvn, "-q", "-B", "-f", pom, "-Dout="+filepath.Join(b.dir, "peer"), "compile").CombinedOutput()
	if err != nil {
		return fmt.Errorf("mvn compile: %w: %s", err, out)
	}
	return nil
}

// tunedJava returns flags of the virtual machine of Kafka Streams. A heap of 256 MiB takes 100 MiB more memory and is no
// faster, but in the join by a foreign key, which with 128 MiB does little but collect, and at times ends with an OutOfMemoryError; the serial
// collector is slower, and so is G1 on two cores.
func tunedJava(topology string) []string {
	heap := "-Xmx128m"
	if topology == "foreign-key" {
		heap = "-Xmx192m"
	}
	return []string{heap, "-XX:+UseParallelGC"}
}

// tuned returns settings of Kafka Streams that make up for small defaults: larger batches and buffers save it about a
// sixth of its processor time. Other settings are left alone.
func tuned() []string {
	return []string{
		"topology.optimization=all", // a table's topic is its changelog
		"producer.batch.size=131072", "consumer.max.poll.records=5000", "buffered.records.per.partition=10000",
	}
}

// peerArgs is the command line of the program on Kafka Streams.
func (b *bench) peerArgs(r run) []string {
	guarantee := r.guarantee
	if guarantee == exactlyOnce {
		guarantee = "exactly_once_v2"
	}
	java := b.java
	if java == nil {
		java = tunedJava(r.topology)
	}
	args := append([]string{"java"}, java...)
	args = append(args,
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		// It would warn of each update of a table that comes out of order.
		"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.streams.kstream.internals.KTableSource=error",
		"-cp", filepath.Join(b.dir, "peer", "classes")+":"+filepath.Join(b.dir, "peer", "lib", "*"), "dev.millrace.bench.Peer",
		r.topology, r.source, r.table, r.sink, r.marks,
		"bootstrap.servers="+r.broker, "application.id="+r.application, "state.dir="+r.state,
		"processing.guarantee="+guarantee, "num.stream.threads="+strconv.Itoa(b.threads), "compression.type="+b.compression)
	if !r.cached {
		args = append(args, "statestore.cache.max.bytes=0")
	}
	if r.commit > 0 {
		args = append(args, "commit.interval.ms="+strconv.FormatInt(r.commit.Milliseconds(), 10))
	}
	args = append(args, tuned()...)
	return append(args, b.settings...)
}

// oursArgs is the command line of the program on millrace.
func (b *bench) oursArgs(r run) []string {
	args := []string{
		b.ours, "-topology", r.topology, "-brokers", r.broker, "-application", r.application, "-source", r.source,
		"-table", r.table, "-sink", r.sink, "-marks", r.marks, "-state", r.state, "-guarantee", r.guarantee,
		"-compression", b.compression, "-commit", r.commit.String(),
	}
	if !r.cached {
		args = append(args, "-each")
	}
	return append(args, tunedMemory(r.topology)...)
}

// tunedMemory returns limits of millrace's memory: about the smallest in which the collector does not take most of the processor's time.
func tunedMemory(topology string) []string {
	limit, state, files := 64<<20, 0, 0 // millrace's own
	switch topology {
	case "tables":
		limit, state = 72<<20, 64<<20
	case "foreign-key":
		limit, state, files = 160<<20, 80<<20, 56<<20
	}
	return []string{"-memory", strconv.Itoa(limit), "-state-bytes", strconv.Itoa(state), "-state-file-bytes", strconv.Itoa(files)}
}
