//go:build unix

package streams

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/leash"
)

// The environment of these tests.
const (
	seedEnv    = "MILLRACE_SEED"    // chooses events and faults. Default: a random one, which is printed
	tortureEnv = "MILLRACE_TORTURE" // how many long runs to make, each with another seed. Default: one short run
)

// How large a run is.
const (
	partitions = 6
	users      = 200
	perSecond  = 2000
)

// TestFaults runs three instances on three brokers, through kills in open transactions, stops, the loss of a broker and
// of state folders. What is committed has to be what follows from the events alone.
func TestFaults(t *testing.T) { endureRuns(t, newEventsPlay) }

// endureRuns makes a short run, or as many long ones as the environment says.
func endureRuns(t *testing.T, newPlay func() play) {
	t.Helper()
	seed := newSeed(t)
	app := build(t, "")
	runs, err := strconv.Atoi(os.Getenv(tortureEnv))
	if err != nil || runs <= 0 {
		if list := endure(t, app, newPlay(), seed, 12*time.Second, anyFault); len(list) > 0 {
			t.Errorf("%s=%d:\n%s", seedEnv, seed, strings.Join(list, "\n"))
		}
		return
	}
	for i := range uint64(runs) {
		t.Run(fmt.Sprintf("seed=%d", seed+i), func(t *testing.T) {
			if list := endure(t, app, newPlay(), seed+i, 20*time.Second, anyFault); len(list) > 0 {
				t.Errorf("%s=%d:\n%s", seedEnv, seed+i, strings.Join(list, "\n"))
			}
		})
	}
}

func newSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64N(1_000_000)
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
	}
	t.Logf("%s=%d", seedEnv, seed)
	return seed
}

// build builds the application, with build tags.
func build(t *testing.T, tags string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-o", path, "millrace.dev/e2e/streams/app")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// play is an application, what it gets to do, and how that is judged. It is for one run.
type play interface {
	about() about
	// before fills the table that the application has to have read when the run begins.
	before(ctx context.Context, s *stage)
	// send writes n records at the rate of perSecond.
	send(ctx context.Context, s *stage, rng *rand.Rand, n int) error
	// judge returns what is wrong with what the application has committed.
	judge(ctx context.Context, t *testing.T, bootstrap []string) []string
}

// about is what a stage needs to know of an application.
type about struct {
	name   string
	topics []string // to create
	table  string   // of them that which before fills
	reads  []string // with those of its own, what it has to have read in the end
	stores []string // some of them, which have changelogs
}

// stage is a cluster and the application on it.
type stage struct {
	about

	t       *testing.T
	cluster *kafkatest.Cluster
	app     string
	dir     string
	rng     *rand.Rand
	members [3]*leash.Process
	starts  int
	began   time.Time
	journal []string
}

// endure makes a run and returns what was wrong with it.
func endure(t *testing.T, app string, p play, seed uint64, length time.Duration, faults func(context.Context, *stage, time.Duration) error) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), length+5*time.Minute)
	defer cancel()
	s := &stage{
		about: p.about(),
		t:     t, cluster: kafkatest.Start(t, kafkatest.Options{Brokers: 3}), app: app, dir: t.TempDir(), rng: rand.New(rand.NewPCG(seed, 3)),
	}
	for _, topic := range s.topics {
		s.must(s.cluster.CreateTopic(ctx, topic, partitions, nil))
	}
	p.before(ctx, s)
	for i := range s.members {
		s.start(i)
	}
	s.must(s.loaded(ctx))
	s.began = time.Now()
	sent := make(chan error, 1)
	n := int(length.Seconds() * perSecond)
	go func() { sent <- p.send(ctx, s, rand.New(rand.NewPCG(seed, 4)), n) }()
	s.must(faults(ctx, s, length))
	s.must(<-sent)
	for i := range s.members {
		if s.members[i].Ended() {
			s.start(i)
		}
	}
	cl := s.client()
	s.must(s.finished(ctx, kadm.NewClient(cl)))
	for i := range s.members {
		s.must(s.members[i].End(ctx, syscall.SIGTERM))
	}
	list := p.judge(ctx, t, s.cluster.Bootstrap())
	open, err := openTransactions(ctx, s.cluster.Bootstrap())
	s.must(err)
	for _, o := range open {
		list = append(list, "an open transaction: "+o)
	}
	t.Logf("%d records, %d violations; %s", n, len(list), strings.Join(s.journal, ", "))
	return list
}

// finished waits until the application has processed everything.
func (s *stage) finished(ctx context.Context, admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var list []string
	err := poll(ctx, func() (bool, error) {
		now, err := behind(ctx, s.cluster.Bootstrap(), admin, s.name, s.reads)
		if ctx.Err() == nil {
			list = now
		}
		return err == nil && len(now) == 0, err
	})
	if err != nil {
		octx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		open, _ := openTransactions(octx, s.cluster.Bootstrap()) // beside the error that there is
		return fmt.Errorf("not finished: %w: %q; open transactions: %q", err, list, open)
	}
	return nil
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		for i := range s.starts {
			if b, rerr := os.ReadFile(s.log(i)); rerr == nil {
				s.t.Logf("instance log %d:\n%s", i, last(string(b), 12))
			}
		}
		s.t.Fatalf("%v\n%s", err, strings.Join(s.journal, "\n"))
	}
}

func last(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (s *stage) log(i int) string { return filepath.Join(s.dir, fmt.Sprintf("log-%d", i)) }

// note writes down what was done.
func (s *stage) note(format string, args ...any) {
	s.journal = append(s.journal, fmt.Sprintf("%.1fs ", time.Since(s.began).Seconds())+fmt.Sprintf(format, args...))
}

// start starts an instance, under the same name as before.
func (s *stage) start(i int) {
	s.t.Helper()
	log, err := os.Create(s.log(s.starts))
	s.must(err)
	defer func() { _ = log.Close() }()
	s.starts++
	id := fmt.Sprintf("instance-%d", i)
	s.members[i], err = leash.Start(leash.Command{
		Args:   []string{s.app, "-application", s.name, "-brokers", strings.Join(s.cluster.Bootstrap(), ","), "-state", s.state(i), "-id", id},
		Stdout: log, Stderr: log,
	})
	s.must(err)
	p := s.members[i]
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = p.End(ctx, syscall.SIGKILL) // mostly it has ended
	})
}

func (s *stage) state(i int) string { return filepath.Join(s.dir, fmt.Sprintf("state-%d", i)) }

func (s *stage) client() *kgo.Client {
	s.t.Helper()
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(s.cluster.Bootstrap()...), kgo.MetadataMinAge(250*time.Millisecond), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
	)
	s.must(err)
	s.t.Cleanup(cl.Close)
	return cl
}

// loaded waits until the group has read the table.
func (s *stage) loaded(ctx context.Context) error {
	admin := kadm.NewClient(s.client())
	return poll(ctx, func() (bool, error) {
		at, err := admin.FetchOffsets(ctx, s.name)
		if err != nil {
			return false, nil //nolint:nilerr // the coordinator may not be there yet
		}
		ends, err := admin.ListEndOffsets(ctx, s.table)
		if err != nil {
			return false, err
		}
		done := true
		ends.Each(func(o kadm.ListedOffset) {
			if c, ok := at.Lookup(o.Topic, o.Partition); o.Offset > 0 && (!ok || c.At < o.Offset) {
				done = false
			}
		})
		return done, nil
	})
}

// longAgo is when event time begins. Brokers delete records whose timestamps are older than the topic's retention, when they
// start again at the latest.
func longAgo() time.Time { return time.Now().Add(-time.Hour) }

// feed writes n records at the rate of perSecond, and tells of each where it is.
func (s *stage) feed(ctx context.Context, n int, record func(i int) *kgo.Record, written func(i int, r *kgo.Record)) error {
	cl := s.client()
	errs := make(chan error, n)
	for i := range n {
		cl.Produce(ctx, record(i), func(r *kgo.Record, err error) {
			written(i, r)
			errs <- err
		})
		if i%(perSecond/50) == 0 {
			due := s.began.Add(time.Duration(i) * time.Second / perSecond)
			select {
			case <-time.After(time.Until(due)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	for range n {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// until waits for a time of the schedule.
func (s *stage) until(ctx context.Context, at time.Duration) error {
	select {
	case <-time.After(time.Until(s.began.Add(at))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// anyFault does one thing after the other until the events are sent.
func anyFault(ctx context.Context, s *stage, length time.Duration) error {
	at := 2 * time.Second
	broker := true
	for at < length {
		if err := s.until(ctx, at); err != nil {
			return err
		}
		i := s.rng.IntN(len(s.members))
		var err error
		switch k := s.rng.IntN(8); {
		case k < 3:
			err = s.kill(ctx, i, false)
		case k < 5:
			err = s.kill(ctx, i, true)
		case k == 5:
			err = s.freeze(ctx, i)
		case k == 6 && broker:
			broker = false
			err = s.killBroker(ctx)
		default:
			err = s.hang(ctx)
		}
		if err != nil {
			return err
		}
		at = max(at, time.Since(s.began)) + time.Second + time.Duration(s.rng.IntN(2000))*time.Millisecond
	}
	return nil
}

// kill kills an instance, takes its state away if wipe says so, and starts it again.
func (s *stage) kill(ctx context.Context, i int, wipe bool) error {
	s.note("SIGKILL %d", i)
	if err := s.members[i].End(ctx, syscall.SIGKILL); err != nil {
		return err
	}
	if wipe {
		s.note("state of %d deleted", i)
		if err := os.RemoveAll(s.state(i)); err != nil {
			return err
		}
	}
	if err := s.until(ctx, time.Since(s.began)+time.Duration(s.rng.IntN(1500))*time.Millisecond); err != nil {
		return err
	}
	s.note("start %d", i)
	s.start(i)
	return nil
}

// freeze stops an instance for longer than its session, so that it comes back as one that others have replaced.
func (s *stage) freeze(ctx context.Context, i int) error {
	s.note("SIGSTOP %d", i)
	if err := s.members[i].Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	if err := s.until(ctx, time.Since(s.began)+8*time.Second); err != nil {
		return err
	}
	s.note("SIGCONT %d", i)
	return s.members[i].Signal(syscall.SIGCONT)
}

func (s *stage) killBroker(ctx context.Context) error {
	i := s.rng.IntN(3)
	s.note("SIGKILL broker %d", i)
	if err := s.cluster.Kill(ctx, i); err != nil {
		return err
	}
	if err := s.until(ctx, time.Since(s.began)+2*time.Second); err != nil {
		return err
	}
	s.note("start broker %d", i)
	return s.cluster.Restart(ctx, i)
}

// hang opens a transaction of a stranger in every partition of the changelogs, has instances lose their state while it
// is open, and aborts it: until then nothing above it is stable.
func (s *stage) hang(ctx context.Context) error {
	s.note("a transaction hangs in the changelogs")
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.cluster.Bootstrap()...), kgo.TransactionalID(fmt.Sprintf("stranger-%d", s.rng.Uint64())),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionTimeout(time.Minute))
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		return err
	}
	for _, store := range s.stores {
		for p := range int32(partitions) {
			r := &kgo.Record{Topic: s.name + "-" + store + "-changelog", Partition: p, Key: []byte("stranger"), Value: []byte("stranger")}
			if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
				return err
			}
		}
	}
	if err := s.until(ctx, time.Since(s.began)+time.Second); err != nil { // instances commit above it
		return err
	}
	before, _, err := s.group(ctx)
	if err != nil {
		return err
	}
	i := s.rng.IntN(len(s.members))
	if err := s.kill(ctx, i, true); err != nil {
		return err
	}
	if err := s.replaced(ctx, before); err != nil {
		return err
	}
	if err := s.until(ctx, time.Since(s.began)+3*time.Second); err != nil {
		return err
	}
	s.note("the transaction is aborted")
	return cl.EndTransaction(ctx, kgo.TryAbort)
}

// group returns the ids of the group's members, and whether they have their partitions.
func (s *stage) group(ctx context.Context) (ids []string, stable bool, err error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.cluster.Bootstrap()...))
	if err != nil {
		return nil, false, err
	}
	defer cl.Close()
	groups, err := kadm.NewClient(cl).DescribeGroups(ctx, s.name)
	if err != nil {
		return nil, false, err
	}
	g := groups[s.name]
	for _, m := range g.Members {
		ids = append(ids, m.MemberID)
	}
	return ids, g.State == "Stable", g.Err
}

// replaced waits until a new member has taken the place of one of those that there were.
func (s *stage) replaced(ctx context.Context, before []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return poll(ctx, func() (bool, error) {
		now, stable, err := s.group(ctx)
		added := slices.ContainsFunc(now, func(id string) bool { return !slices.Contains(before, id) })
		return err == nil && stable && added && len(now) == len(s.members), nil // the coordinator may not be there yet
	})
}

// TestOracle holds the oracles against applications that are wrong on purpose.
func TestOracle(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector does not see the applications, which are programs of their own")
	}
	for _, m := range []struct {
		name, tags string
		play       func() play
		finds      []string // one of them: which store suffers depends on the tasks of the instance that is killed
		faults     func(context.Context, *stage, time.Duration) error
	}{
		{"events", "mutant_offsets", newEventsPlay, []string{"an event without a result"}, kills},
		{"events", "mutant_restore", newEventsPlay, []string{"a wrong count", "a window did not go up by one"}, hangs},
		{"relations", "mutant_offsets", newRelationsPlay, []string{"a last result", "a session"}, kills},
		{"relations", "mutant_restore", newRelationsPlay, []string{"a last result", "sessions did not go up by one", "a session"}, hangs},
	} {
		t.Run(m.name+"_"+m.tags, func(t *testing.T) {
			list := endure(t, build(t, m.tags), m.play(), newSeed(t), 12*time.Second, m.faults)
			found := func(v string) bool {
				return slices.ContainsFunc(m.finds, func(prefix string) bool { return strings.HasPrefix(v, prefix) })
			}
			if !slices.ContainsFunc(list, found) {
				t.Errorf("the oracle does not find %q: %q", m.finds, list)
			}
		})
	}
}

func kills(ctx context.Context, s *stage, length time.Duration) error {
	for at := 2 * time.Second; at < length; at += 1500 * time.Millisecond {
		if err := s.until(ctx, at); err != nil {
			return err
		}
		if err := s.kill(ctx, s.rng.IntN(len(s.members)), false); err != nil {
			return err
		}
	}
	return nil
}

func hangs(ctx context.Context, s *stage, _ time.Duration) error {
	for i := range 2 {
		if err := s.until(ctx, time.Duration(2+5*i)*time.Second); err != nil {
			return err
		}
		if err := s.hang(ctx); err != nil {
			return err
		}
	}
	return nil
}
