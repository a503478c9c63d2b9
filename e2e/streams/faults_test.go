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
	"millrace.dev/e2e/streams/topology"
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
func TestFaults(t *testing.T) {
	seed := newSeed(t)
	runs, err := strconv.Atoi(os.Getenv(tortureEnv))
	if err != nil || runs <= 0 {
		app := build(t, "")
		if list := endure(t, app, seed, 12*time.Second, anyFault); len(list) > 0 {
			t.Errorf("%s=%d:\n%s", seedEnv, seed, strings.Join(list, "\n"))
		}
		return
	}
	app := build(t, "")
	for i := range uint64(runs) {
		t.Run(fmt.Sprintf("seed=%d", seed+i), func(t *testing.T) {
			if list := endure(t, app, seed+i, 20*time.Second, anyFault); len(list) > 0 {
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

// stage is a cluster and the application on it.
type stage struct {
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
func endure(t *testing.T, app string, seed uint64, length time.Duration, faults func(context.Context, *stage, time.Duration) error) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), length+5*time.Minute)
	defer cancel()
	s := &stage{
		t: t, cluster: kafkatest.Start(t, kafkatest.Options{Brokers: 3}), app: app, dir: t.TempDir(), rng: rand.New(rand.NewPCG(seed, 3)),
	}
	for _, topic := range []string{topology.Events, topology.Users, topology.Joined, topology.Counts, topology.Windows, topology.Letters} {
		s.must(s.cluster.CreateTopic(ctx, topic, partitions, nil))
	}
	names := s.sendUsers(ctx)
	for i := range s.members {
		s.start(i)
	}
	s.must(s.loaded(ctx))
	s.began = time.Now()
	sent := make(chan error, 1)
	var events []Event
	go func() {
		var err error
		events, err = s.sendEvents(ctx, rand.New(rand.NewPCG(seed, 4)), int(length.Seconds()*perSecond))
		sent <- err
	}()
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
	list := Judge(events, names, collect(ctx, t, s.cluster.Bootstrap()))
	open, err := openTransactions(ctx, s.cluster.Bootstrap())
	s.must(err)
	for _, o := range open {
		list = append(list, "an open transaction: "+o)
	}
	t.Logf("%d events, %d violations; %s", len(events), len(list), strings.Join(s.journal, ", "))
	return list
}

// finished waits until the application has processed everything.
func (s *stage) finished(ctx context.Context, admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var list []string
	err := poll(ctx, func() (bool, error) {
		now, err := behind(ctx, s.cluster.Bootstrap(), admin)
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
		Args:   []string{s.app, "-brokers", strings.Join(s.cluster.Bootstrap(), ","), "-state", s.state(i), "-id", id},
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

func user(i int) string { return fmt.Sprintf("user-%03d", i) }

// sendUsers fills the table: every third user has no row.
func (s *stage) sendUsers(ctx context.Context) map[string]string {
	s.t.Helper()
	cl := s.client()
	names := map[string]string{}
	for i := range users {
		if i%3 == 0 {
			continue
		}
		names[user(i)] = fmt.Sprintf("name of %d", i)
		r := &kgo.Record{Topic: topology.Users, Key: []byte(user(i)), Value: []byte(names[user(i)])}
		s.must(cl.ProduceSync(ctx, r).FirstErr())
	}
	return names
}

// loaded waits until the group has read the table: the joins do not change from then on.
func (s *stage) loaded(ctx context.Context) error {
	admin := kadm.NewClient(s.client())
	return poll(ctx, func() (bool, error) {
		at, err := admin.FetchOffsets(ctx, topology.Name)
		if err != nil {
			return false, nil //nolint:nilerr // the coordinator may not be there yet
		}
		ends, err := admin.ListEndOffsets(ctx, topology.Users)
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

// sendEvents writes events at the rate of perSecond, and returns them with where they are.
func (s *stage) sendEvents(ctx context.Context, rng *rand.Rand, n int) ([]Event, error) {
	cl := s.client()
	events := make([]Event, n)
	// Brokers delete records whose timestamps are older than the topic's retention, when they start again at the latest.
	start := time.Now().Add(-time.Hour).UnixMilli()
	errs := make(chan error, n)
	for i := range events {
		e := &events[i]
		*e = Event{User: user(rng.IntN(users)), Group: fmt.Sprintf("group-%02d", rng.IntN(20)), Number: i, Timestamp: start + int64(i)*5 + rng.Int64N(3000)}
		if rng.IntN(500) == 0 {
			e.Undecoded = "no event at all"
		}
		r := &kgo.Record{Topic: topology.Events, Key: []byte(e.User), Value: []byte(e.Value()), Timestamp: time.UnixMilli(e.Timestamp)}
		cl.Produce(ctx, r, func(r *kgo.Record, err error) {
			e.Partition, e.Offset = r.Partition, r.Offset
			errs <- err
		})
		if i%(perSecond/50) == 0 {
			due := s.began.Add(time.Duration(i) * time.Second / perSecond)
			select {
			case <-time.After(time.Until(due)):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	for range events {
		if err := <-errs; err != nil {
			return nil, err
		}
	}
	return events, nil
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
	for _, store := range []string{"count", "window"} {
		for p := range int32(partitions) {
			r := &kgo.Record{Topic: topology.Name + "-" + store + "-changelog", Partition: p, Key: []byte("stranger"), Value: []byte("stranger")}
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
	groups, err := kadm.NewClient(cl).DescribeGroups(ctx, topology.Name)
	if err != nil {
		return nil, false, err
	}
	g := groups[topology.Name]
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

// TestOracle holds the oracle against applications that are wrong on purpose.
func TestOracle(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector does not see the applications, which are programs of their own")
	}
	for _, m := range []struct {
		tags   string
		finds  []string // one of them: which store suffers depends on the tasks of the instance that is killed
		faults func(context.Context, *stage, time.Duration) error
	}{
		{"mutant_offsets", []string{"an event without a result"}, kills},
		{"mutant_restore", []string{"a wrong count", "a window did not go up by one"}, hangs},
	} {
		t.Run(m.tags, func(t *testing.T) {
			list := endure(t, build(t, m.tags), newSeed(t), 12*time.Second, m.faults)
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
