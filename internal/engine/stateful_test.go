package engine

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
	"millrace.dev/record"
	"millrace.dev/stream"
)

// The topics of the shop besides the letters, and how much there is of everything.
const (
	events, users, joined, totals, visits = source, "users", sink, "totals", "visits"

	usersInAll, categories = 40, 7
)

// shop is an application with state of every kind: each event is joined with a table, goes through a function over
// batches, and is counted by user where it is, and by category after a repartition.
func shop(s *setup) *stream.Topology {
	t := stream.New(group, stream.DeadLetters(s.letters))
	in := stream.From(t, events, stream.String(), stream.String())
	who := stream.TableFrom(t, "who", users, stream.String(), stream.String())
	with := stream.JoinTable(in, who, "with-user", func(event, user string) string { return event + " " + user })
	scored := stream.MapBatch(with, "score", func(_ context.Context, b *stream.Batch[string, string, string]) error {
		for i := range b.In {
			b.Out[i].Value = "=" + b.In[i].Value
		}
		return nil
	}, stream.BatchOptions{MaxSize: 20, Concurrency: 3}).Values(stream.String())
	scored.To(joined, stream.Provenance())
	seen := stream.NewStore("seen", stream.String(), stream.Decimal())
	stream.Process(scored, "visits", func() stream.Processor[string, string, string, int64] { return &visitor{store: seen} }, seen).
		Keys(stream.String()).Values(stream.Decimal()).To(visits)
	stream.Count(stream.GroupBy(scored, stream.String(), func(_, v string) string { return strings.Fields(v)[1] }), "by-category").
		ToStream().Values(stream.Decimal()).To(totals)
	return t
}

// visitor counts events by key.
type visitor struct {
	ctx   *stream.ProcessorContext[string, int64]
	store *stream.Store[string, int64]
	seen  *stream.State[string, int64]
	out   stream.Record[string, int64]
}

func (v *visitor) Init(c *stream.ProcessorContext[string, int64]) error {
	v.ctx, v.seen = c, stream.Open(c, v.store)
	return nil
}

func (v *visitor) Process(r *stream.Record[string, string]) error {
	n, _, err := v.seen.Get(r.Key)
	if err != nil {
		return err
	}
	if err := v.seen.Put(r.Key, n+1); err != nil {
		return err
	}
	v.out = stream.Record[string, int64]{Key: r.Key, Value: n + 1, Timestamp: r.Timestamp}
	return v.ctx.Forward(&v.out)
}

// mall is a world with the topics of the shop.
type mall struct {
	*world
	users *kafka.Producer
	n     int
	dirs  []string // state folders that nobody uses, some of them old
}

// withMall runs fn in a mall of its own, in fake time where it can.
func withMall(t *testing.T, partitions int, fn func(t *testing.T, m *mall)) {
	t.Helper()
	bubble(t, partitions, func(t *testing.T, w *world) {
		m := &mall{world: w}
		for topic, n := range map[string]int{users: partitions, totals: 2, visits: 3} {
			if err := w.cluster.CreateTopic(topic, int32(n), nil); err != nil {
				t.Fatal(err)
			}
		}
		p, err := w.client.NewProducer(kafka.ProducerConfig{Topic: users})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		m.users = p
		for i := range usersInAll {
			m.user(i)
		}
		fn(t, m)
	})
}

func userKey(i int) []byte { return fmt.Appendf(nil, "user-%d", i) }

// user writes the row of a user.
func (m *mall) user(i int) {
	m.t.Helper()
	r := record.Raw{Key: userKey(i), Value: fmt.Appendf(nil, "name-%d", i), Timestamp: time.Now().Add(-time.Minute).UnixMilli()} // before every event
	if err := m.users.Send(m.t.Context(), &r); err != nil {
		m.t.Fatal(err)
	}
	if err := m.users.Flush(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
}

// shop runs an instance of the shop with a state folder, a new one if dir is "".
func (m *mall) shop(dir string, change ...func(*setup)) *instance {
	m.t.Helper()
	if dir == "" {
		dir = m.t.TempDir()
	}
	return m.run(append([]func(*setup){func(s *setup) { s.topology, s.StateDir = shop(s), dir }}, change...)...)
}

// sell writes n events, some of them without a key.
func (m *mall) sell(n int, rng *rand.Rand) {
	m.t.Helper()
	rs := make([]record.Raw, n)
	for i := range rs {
		rs[i] = record.Raw{Value: fmt.Appendf(nil, "%d cat-%d", m.n, rng.IntN(categories)), Timestamp: time.Now().UnixMilli()}
		if m.n++; rng.IntN(50) > 0 {
			rs[i].Key = userKey(rng.IntN(usersInAll))
		}
	}
	m.put(rs...)
}

const repartitioned = group + "-by-category-repartition"

// closed waits until everything that was sold is counted and committed, and no transaction is open any more.
func (m *mall) closed() {
	m.t.Helper()
	m.drained()
	m.until("the group to reach the end of the repartition topic", func() bool {
		m.reap()
		at, err := m.client.Committed(m.t.Context(), group)
		if err != nil {
			return false
		}
		for _, r := range m.read(repartitioned) { // what comes after the last one are markers, and what was undone
			if r.Offset >= at[repartitioned][r.Partition].Offset {
				return false
			}
		}
		return true
	})
	m.ended(joined, totals, visits, repartitioned, group+"-who-changelog", group+"-seen-changelog", group+"-by-category-changelog")
}

// ended waits until no transaction is open on topics.
func (w *world) ended(topics ...string) {
	w.t.Helper()
	for _, topic := range topics {
		w.until("the transactions on "+topic+" to end", func() bool {
			stable, err1 := w.client.EndOffsets(w.t.Context(), topic, true)
			end, err2 := w.client.EndOffsets(w.t.Context(), topic, false)
			return err1 == nil && err2 == nil && maps.Equal(stable, end)
		})
	}
}

// audit compares everything that was written with what one thread would have written.
func (m *mall) audit() {
	m.t.Helper()
	byUser, byCategory := map[string]int64{}, map[string]int64{}
	want := map[coordinates]string{} // results, "" is a dead letter
	for _, r := range m.read(events) {
		want[at(&r)] = ""
		if r.Key == nil {
			continue
		}
		user := string(r.Key)
		want[at(&r)] = fmt.Sprintf("=%s name-%s", r.Value, strings.TrimPrefix(user, "user-"))
		byUser[user]++
		byCategory[strings.Fields(string(r.Value))[1]]++
	}
	seen := map[coordinates]int{}
	last := map[string]coordinates{}
	for _, r := range m.read(joined) {
		from := sourceOf(m.t, &r)
		seen[from]++
		if w, ok := want[from]; !ok || w != string(r.Value) {
			m.t.Errorf("%v became %q, want %q", from, r.Value, w)
		}
		if before := last[string(r.Key)]; before.partition == from.partition && before.offset > from.offset {
			m.t.Errorf("key %s: %v comes after %v", r.Key, from, before)
		}
		last[string(r.Key)] = from
	}
	for _, r := range m.read(letters) {
		from := sourceOf(m.t, &r)
		seen[from]++
		if header(&r, task.LetterClass) != "null_key" || want[from] != "" {
			m.t.Errorf("%v is a dead letter: %v", from, headers(&r))
		}
	}
	wrong := 0
	for from := range want {
		if seen[from] != 1 {
			wrong++
		}
	}
	if wrong > 0 {
		m.t.Errorf("%d of %d events do not have exactly one result", wrong, len(want))
	}
	m.sequences(visits, byUser)
	m.sequences(totals, byCategory)
	m.rows(group+"-seen-changelog", byUser, func(b []byte) string { return string(b[8:]) })
	m.rows(group+"-by-category-changelog", byCategory, func(b []byte) string {
		n, err := stream.Int64().Decode(b[8:])
		if err != nil {
			m.t.Error(err)
		}
		return strconv.FormatInt(n, 10)
	})
}

// sequences checks that a topic counts each key up to what it should, without a gap or a repetition.
func (m *mall) sequences(topic string, want map[string]int64) {
	m.t.Helper()
	got := map[string]int64{}
	for _, r := range m.read(topic) {
		n, err := strconv.ParseInt(string(r.Value), 10, 64)
		if k := string(r.Key); err != nil || n != got[k]+1 {
			m.t.Errorf("%s: %s is %s after %d", topic, k, r.Value, got[k])
		}
		got[string(r.Key)] = n
	}
	if !maps.Equal(got, want) {
		m.t.Errorf("%s ends with %v, want %v", topic, got, want)
	}
}

// rows checks what a store holds by its changelog.
func (m *mall) rows(changelog string, want map[string]int64, value func([]byte) string) {
	m.t.Helper()
	got := map[string]int64{}
	for _, r := range m.read(changelog) {
		k := string(r.Key[1:])
		if r.Key[0] == 0 { // what operators remember besides the rows
			continue
		}
		n, err := strconv.ParseInt(value(r.Value), 10, 64)
		if err != nil {
			m.t.Fatal(err)
		}
		got[k] = n
	}
	if !maps.Equal(got, want) {
		m.t.Errorf("%s holds %v, want %v", changelog, got, want)
	}
}

// trade sells events in the background, 10 every 20 ms, until the function that it returns is called.
func (m *mall) trade(seed uint64) (stop func()) { return m.dribble(seed, 20*time.Millisecond) }

// dribble is trade with other pauses.
func (m *mall) dribble(seed uint64, pause time.Duration) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	rng := seeded(m.t, seed)
	go func() {
		defer close(stopped)
		for {
			m.sell(10, rng)
			select {
			case <-time.After(pause):
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
	}
}

// works waits until the instance has processed some records.
func (in *instance) works(m *mall) {
	m.t.Helper()
	at := in.Stats().Records
	m.until("the instance to work", func() bool { return in.Stats().Records > at+100 })
}

func TestStateful(t *testing.T) {
	t.Parallel()
	withMall(t, 6, func(t *testing.T, m *mall) {
		m.sell(3000, seeded(t, 1))
		in := m.shop("")
		m.closed()
		s := in.Stats()
		start := time.Now()
		in.stop(t)
		if d := time.Since(start); d > time.Second {
			t.Errorf("stopping took %s", d)
		}
		m.audit()
		if s.Restoring != (Restoring{}) || s.Aborts > 0 {
			t.Errorf("%+v", s)
		}
		for topic, n := range map[string]int{repartitioned: 6, group + "-who-changelog": 6, group + "-seen-changelog": 6, group + "-by-category-changelog": 6} {
			if info := m.cluster.TopicInfo(topic); info == nil || len(m.cluster.PartitionInfos(topic)) != n {
				t.Errorf("topic %s: %+v, want %d partitions", topic, info, n)
			}
		}
	})
}

func TestStatefulMembersComeAndGo(t *testing.T) {
	t.Parallel()
	withMall(t, 6, func(t *testing.T, m *mall) {
		stop := m.trade(1)
		a := m.shop("")
		a.works(m)
		b := m.shop("")
		b.works(m)
		c := m.shop("")
		c.works(m)
		b.stop(t)
		a.works(m)
		d := m.shop("")
		d.works(m)
		a.stop(t)
		stop()
		m.closed()
		c.stop(t)
		d.stop(t)
		m.audit()
	})
}

// TestStatefulChaos lets instances come, leave, die and be held, breaks connections and brings faults, with state
// folders that are new, lost or old.
func TestStatefulChaos(t *testing.T) {
	t.Parallel()
	for seed := range uint64(short(3, 1)) {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			withMall(t, 4, func(t *testing.T, m *mall) { m.chaos(seeded(t, 200+seed), short(chaosSteps, chaosSteps/2)) })
		})
	}
}

// folder returns a state folder: a new one, or an old one that somebody has left.
func (m *mall) folder(rng *rand.Rand) string {
	if len(m.dirs) == 0 || rng.IntN(3) == 0 {
		return m.t.TempDir()
	}
	i := rng.IntN(len(m.dirs))
	dir := m.dirs[i]
	m.dirs = slices.Delete(m.dirs, i, i+1)
	return dir
}

// left keeps the state folder of an instance that has ended, and sometimes a copy for later.
func (m *mall) left(in *instance, rng *rand.Rand) {
	<-in.done
	m.dirs = append(m.dirs, in.options.StateDir)
	if rng.IntN(2) == 0 {
		m.dirs = append(m.dirs, m.backup(in.options.StateDir))
	}
}

// backup copies a folder that nobody uses.
func (m *mall) backup(dir string) string {
	m.t.Helper()
	to := filepath.Join(m.t.TempDir(), "state")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		m.t.Fatal(err)
	}
	return to
}

func (m *mall) chaos(rng *rand.Rand, steps int) {
	faults := mendable()
	names := slices.Sorted(maps.Keys(faults))
	stop := m.trade(rng.Uint64())
	running := []*instance{m.shop("", touchy), m.shop("", touchy)}
	var dead []*instance
	for range steps {
		i := rng.IntN(len(running))
		switch in := running[i]; rng.IntN(10) {
		case 0:
			in.kill()
			dead = append(dead, in)
			running[i] = m.shop(m.folder(rng), touchy)
		case 1, 2:
			in.stop(m.t)
			m.left(in, rng)
			running[i] = m.shop(m.folder(rng), touchy)
		case 3:
			in.wire.hold()
			time.Sleep(upTo(rng, 2*sessionTimeout))
			in.wire.release()
		case 4:
			in.wire.cut()
			time.Sleep(upTo(rng, sessionTimeout))
			in.wire.mend()
		case 5:
			m.cluster.ShufflePartitionLeaders()
		case 6:
			m.cluster.RehashCoordinators()
		case 7:
			in.Pause("chaos")
			time.Sleep(upTo(rng, sessionTimeout))
			in.Resume()
		default:
			m.cluster.Fault(faults[names[rng.IntN(len(names))]])
		}
		time.Sleep(upTo(rng, sessionTimeout/6))
	}
	stop()
	start := time.Now()
	m.closed()
	m.t.Logf("closing took %s", time.Since(start))
	for _, in := range running {
		in.stop(m.t)
	}
	for _, in := range dead {
		<-in.done
	}
	m.audit()
}
