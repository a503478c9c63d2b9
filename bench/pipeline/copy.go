//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/bench/internal/rig"
)

// job is what a copy or a pipeline is told to do.
type job struct {
	broker, group, source, sink, letters string
	guarantee, compression               string
	checks                               string // the topic of the results of checks; "" is none
	profile                              string // the file that gets a profile of the processor time; "" is none
	headers                              bool   // a copy adds headers as `millrace run` does
}

const exactlyOnce = "exactly_once"

func (j *job) parse(name string, args []string, messages io.Writer) error {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(messages)
	f.StringVar(&j.broker, "broker", "", "")
	f.StringVar(&j.group, "group", "", "")
	f.StringVar(&j.source, "source", "", "")
	f.StringVar(&j.sink, "sink", "", "")
	f.StringVar(&j.letters, "letters", "", "")
	f.StringVar(&j.checks, "checks", "", "")
	f.StringVar(&j.guarantee, "guarantee", exactlyOnce, "")
	f.StringVar(&j.compression, "compression", "snappy", "")
	f.StringVar(&j.profile, "profile", "", "")
	f.BoolVar(&j.headers, "headers", false, "")
	return f.Parse(args)
}

// startProfile begins the profile, if one is wanted; stop ends it.
func (j *job) startProfile() (stop func(), err error) {
	if j.profile == "" {
		return func() {}, nil
	}
	f, err := os.Create(j.profile)
	if err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a profile that is cut off shows when it is read
	}, pprof.StartCPUProfile(f)
}

func (j *job) args() []string {
	return []string{
		"-broker", j.broker, "-group", j.group, "-source", j.source, "-sink", j.sink, "-letters", j.letters, "-checks", j.checks,
		"-guarantee", j.guarantee, "-compression", j.compression, "-profile", j.profile, "-headers=" + strconv.FormatBool(j.headers),
	}
}

const (
	copyInterval = 100 * time.Millisecond // as pipelines commit
	copyPoll     = 4096                   // records, about as many as the engine reads at a time
)

// copyMain copies keys, values and timestamps of a topic to another one, with the client library's settings that
// millrace has, until ctx is done.
func copyMain(ctx context.Context, args []string, messages io.Writer) error {
	var j job
	if err := j.parse("copy", args, messages); err != nil {
		return err
	}
	codec, err := rig.CodecOf(j.compression)
	if err != nil {
		return err
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(j.broker), kgo.ConsumerGroup(j.group), kgo.ConsumeTopics(j.source),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(8 << 20), kgo.FetchMaxPartitionBytes(512 << 10),
		kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(math.MaxInt32), kgo.DisableAutoCommit(),
	}
	stop, err := j.startProfile()
	if err != nil {
		return err
	}
	defer stop()
	run := copyAtLeastOnce
	if j.guarantee == exactlyOnce {
		run = copyExactlyOnce
	}
	if err = run(ctx, &j, opts); errors.Is(err, context.Canceled) {
		err = nil // it was told to end
	}
	return err
}

func copyExactlyOnce(ctx context.Context, j *job, opts []kgo.Opt) error {
	s, err := kgo.NewGroupTransactSession(append(opts, kgo.TransactionalID(j.group))...)
	if err != nil {
		return err
	}
	defer s.Close()
	out := copied{headers: j.headers}
	for {
		fetches := s.PollRecords(ctx, copyPoll)
		if err := fetches.Err(); err != nil {
			return err
		}
		if err := s.Begin(); err != nil {
			return err
		}
		for began := time.Now(); ; {
			out.send(s.Client(), fetches, j.sink)
			left := copyInterval - time.Since(began)
			if left <= 0 {
				break
			}
			if fetches, err = more(ctx, s, left); err != nil {
				return err
			}
		}
		if _, err := s.End(ctx, kgo.TryCommit); err != nil {
			return err
		}
		if err := out.err(); err != nil {
			return err
		}
	}
}

func copyAtLeastOnce(ctx context.Context, j *job, opts []kgo.Opt) error {
	cl, err := kgo.NewClient(append(opts, kgo.BlockRebalanceOnPoll())...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	out := copied{headers: j.headers}
	for {
		fetches := cl.PollRecords(ctx, copyPoll)
		if err := fetches.Err(); err != nil {
			return err
		}
		for began := time.Now(); ; {
			out.send(cl, fetches, j.sink)
			left := copyInterval - time.Since(began)
			if left <= 0 {
				break
			}
			if fetches, err = more(ctx, cl, left); err != nil {
				return err
			}
		}
		if err := cl.Flush(ctx); err != nil {
			return err
		}
		if err := out.err(); err != nil {
			return err
		}
		if err := cl.CommitUncommittedOffsets(ctx); err != nil {
			return err
		}
		cl.AllowRebalance()
	}
}

// more returns records that come within a time, or none.
func more(ctx context.Context, from interface {
	PollRecords(ctx context.Context, limit int) kgo.Fetches
}, within time.Duration,
) (kgo.Fetches, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	fetches := from.PollRecords(ctx, copyPoll)
	if err := fetches.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	return fetches, nil
}

// copied notes whether a record could not be written.
type copied struct {
	headers bool
	failure atomic.Pointer[error]
}

// send writes the records of fetches to a topic.
func (c *copied) send(cl *kgo.Client, fetches kgo.Fetches, topic string) {
	records := make([]kgo.Record, fetches.NumRecords())
	var headers []kgo.RecordHeader
	var text []byte
	var model, digest kgo.RecordHeader // as large as those that `millrace run` writes
	if c.headers {
		headers = make([]kgo.RecordHeader, 0, 3*len(records))
		text = make([]byte, 0, 64*len(records))
		model = kgo.RecordHeader{Key: "millrace.model", Value: []byte(modelRef)}
		digest = kgo.RecordHeader{Key: "millrace.digest", Value: []byte("sha256:" + strings.Repeat("0123456789abcdef", 4))}
	}
	i := 0
	fetches.EachRecord(func(r *kgo.Record) {
		records[i] = kgo.Record{Topic: topic, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}
		if c.headers {
			at, of := len(headers), len(text)
			text = strconv.AppendInt(append(append(text, r.Topic...), '/'), int64(r.Partition), 10)
			text = strconv.AppendInt(append(text, '/'), r.Offset, 10)
			headers = append(headers, model, digest, kgo.RecordHeader{Key: "millrace.source", Value: text[of:]})
			records[i].Headers = headers[at:]
		}
		cl.Produce(context.Background(), &records[i], c.done)
		i++
	})
}

func (c *copied) done(_ *kgo.Record, err error) {
	if err != nil {
		c.failure.CompareAndSwap(nil, &err)
	}
}

func (c *copied) err() error {
	if err := c.failure.Load(); err != nil {
		return *err
	}
	return nil
}
