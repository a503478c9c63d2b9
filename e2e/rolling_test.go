//go:build unix

package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/torture"
	"millrace.dev/internal/house"
)

const newVersion = "v99.0.0"

// TestRollingRestart replaces three instances of an old binary by ones of a new binary, one after the other, while records come
// in: with the old model and registry, a window, a partitioned table, and the state folders that the old instances have left.
// Each record has one result, which is that of predict by either binary, in the order of its key; and a new instance takes
// the state up that is there, and reads from changelogs only what came since.
//
// MILLRACE_OLD_BINARY names the old binary. Default: this code under another version.
func TestRollingRestart(t *testing.T) {
	seed := newSeed(t)
	r := newRolling(t, kafkatest.Start(t, kafkatest.Options{}), seed)
	ctx := deadline(t, 4*time.Minute)
	r.prepare(ctx)
	r.fill(ctx)
	r.roll(ctx)
	r.finish(ctx)
}

const (
	rolled        = 3    // instances
	rollFilled    = 2400 // sales before the first one is replaced
	rollPerSecond = 200  // sales while they are
	brokenEvery   = 40
)

// rolling is a run whose instances are replaced.
type rolling struct {
	*zipRun

	admin     *kadm.Client
	fresh     string // the new binary
	instances []*instance
	before    []takeover
	broken    int // records that cannot be decoded
	sent      int // sales
}

// takeover is what an instance held when it was stopped.
type takeover struct {
	held map[int32]bool  // partitions of the source
	ends map[int32]int64 // of the window's changelog, shortly before
}

func newRolling(t *testing.T, c *kafkatest.Cluster, seed uint64) *rolling {
	t.Helper()
	g, err := house.New(house.Options{Seed: seed, History: history})
	must(t, err)
	logs := filepath.Join(t.ArtifactDir(), "instances")
	must(t, os.Mkdir(logs, 0o755))
	r := &rolling{
		zipRun: &zipRun{
			t: t, name: group, zips: g.Zips(),
			project: &project{binary: cmp.Or(os.Getenv(oldBinaryEnv), binary(t)), dir: t.TempDir(), logs: logs, cluster: c, generator: g},
		},
		fresh: filepath.Join(t.TempDir(), "millrace"),
	}
	build(t, r.fresh, "-ldflags", "-X millrace.dev/internal/cli.release="+newVersion)
	r.client = r.project.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(1<<20))
	r.admin = r.project.admin(t)
	must(t, os.WriteFile(r.path("sales.csv"), g.CSV(history), 0o644))
	must(t, os.WriteFile(r.path("pipeline.yaml"), []byte(strings.NewReplacer("NAME", r.name, "JOIN", "partitioned").Replace(zipcodesFile)), 0o644))
	return r
}

// prepare has the old binary train and approve a model, and starts the old instances.
func (r *rolling) prepare(ctx context.Context) {
	t := r.t
	for topic, n := range map[string]int{".in": zipPartitions, ".out": zipPartitions, ".dlq": 1, ".zips": zipChangelogs} {
		must(t, r.cluster.CreateTopic(ctx, r.name+topic, n, nil))
	}
	for i := range r.zips {
		r.change(ctx, &r.zips[i], house.ZipRead, day(time.January, 1))
	}
	r.ok(t, "train", "--by", "e2e")
	r.ok(t, "model", "approve", "@candidate", "--by", "e2e", "--reason", "it is a test")
	for i := range rolled {
		r.instances = append(r.instances, r.begin(i))
	}
	must(t, settled(ctx, r.admin, r.name+".in", zipPartitions, rolled))
	r.probe(ctx, 1)
}

// begin starts an instance with the project's binary, under its name and with its state.
func (r *rolling) begin(i int) *instance {
	id := fmt.Sprintf("instance-%d", i)
	return r.start(r.t, id, "--verbose", "--state-dir", r.path("state-"+id))
}

// fill has the old instances make state.
func (r *rolling) fill(ctx context.Context) {
	const parts = 12 // each of them is a commit at least: a changelog has a row for each key and commit
	for part := range parts {
		r.deal(ctx, rollFilled/parts)
		r.until(ctx, (part+1)*rollFilled/parts)
	}
}

// deal sends the next n sales, some of them followed by what cannot be decoded.
func (r *rolling) deal(ctx context.Context, n int) {
	r.t.Helper()
	place := kgo.StickyKeyPartitioner(nil).ForTopic("")
	var records []*kgo.Record
	put := func(key string, value []byte) {
		records = append(records, &kgo.Record{Topic: r.name + ".in", Key: []byte(key), Value: value, Partition: int32(place.Partition(&kgo.Record{Key: []byte(key)}, zipPartitions))})
	}
	for range n {
		s := r.generator.Sale(int64(3 * r.sent))
		s.ID = int64(r.sent)
		r.sales = append(r.sales, s)
		put(s.StateZip, s.AppendListing(nil))
		if r.sent++; r.sent%brokenEvery == 0 {
			put(s.StateZip, fmt.Appendf(nil, `{"id":"broken-%d","statezip":%q,"sqft_living":"much"}`, r.broken, s.StateZip))
			r.broken++
		}
	}
	r.produce(ctx, records...)
}

// until waits until so many sales have a result, as far as the ends of the topics tell: markers count, too.
func (r *rolling) until(ctx context.Context, n int) {
	r.t.Helper()
	must(r.t, poll(ctx, func() (bool, error) {
		ends, err := r.admin.ListCommittedOffsets(ctx, r.name+".out")
		if err != nil {
			return false, err
		}
		total := int64(0)
		ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
		return total >= int64(n), nil
	}))
}

// roll replaces one instance after the other while sales come in.
func (r *rolling) roll(ctx context.Context) {
	t := r.t
	load, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for began, sent := time.Now(), 0; ; {
			select {
			case <-tick.C:
				due := int(time.Since(began).Seconds() * rollPerSecond)
				r.deal(ctx, due-sent)
				sent = due
			case <-load.Done():
				return
			}
		}
	}()
	defer func() {
		stop()
		<-done
	}()
	old := r.binary
	r.binary = r.fresh
	defer func() { r.binary = old }()
	for i := range r.instances {
		r.before = append(r.before, r.held(ctx, i))
		d, err := r.instances[i].terminate(ctx)
		must(t, err)
		r.instances[i] = r.begin(i)
		must(t, settled(ctx, r.admin, r.name+".in", zipPartitions, rolled))
		t.Logf("%s ended in %s and is replaced", r.instances[i].id, d.Round(time.Millisecond))
		must(t, pause(ctx, time.Second)) // of work with both binaries
	}
}

// held returns what an instance holds.
func (r *rolling) held(ctx context.Context, i int) takeover {
	t := r.t
	t.Helper()
	h := takeover{held: map[int32]bool{}, ends: r.changelog(ctx)}
	groups, err := r.admin.DescribeGroups(ctx, group)
	must(t, err)
	g := groups[group]
	for _, m := range g.Members {
		a, ok := m.Assigned.AsConsumer()
		if !ok || m.InstanceID == nil || *m.InstanceID != r.instances[i].id {
			continue
		}
		for _, topic := range a.Topics {
			for _, p := range topic.Partitions {
				if topic.Topic == r.name+".in" {
					h.held[p] = true
				}
			}
		}
	}
	if len(h.held) == 0 {
		t.Errorf("%s holds no partition", r.instances[i].id)
	}
	return h
}

// changelog returns the ends of the window's changelog.
func (r *rolling) changelog(ctx context.Context) map[int32]int64 {
	r.t.Helper()
	topic := group + "-recent-changelog"
	ends, err := r.admin.ListEndOffsets(ctx, topic)
	must(r.t, err)
	at := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) { at[o.Partition] = o.Offset })
	if len(at) != zipPartitions {
		r.t.Fatalf("%s has %d partitions", topic, len(at))
	}
	return at
}

// finish waits for the results of all sales, ends the instances, and judges.
func (r *rolling) finish(ctx context.Context) {
	t := r.t
	r.await(ctx, r.sent)
	after := r.changelog(ctx)
	for _, i := range r.instances {
		_, err := i.terminate(ctx)
		must(t, err)
	}
	old := r.predicted()
	r.binary = r.fresh
	if fresh := r.predicted(); !maps.Equal(old, fresh) {
		t.Error("the two binaries predict different things of a file")
	}
	wrong := 0
	for i := range r.sales {
		id := string(r.sales[i].AppendKey(nil))
		if r.results[id] != old[id] {
			if wrong++; wrong < 10 {
				t.Errorf("%s: %s, want %s", id, r.results[id], old[id])
			}
		}
	}
	if len(r.results) != r.sent || wrong > 0 {
		t.Errorf("%d results of %d sales, %d of them wrong", len(r.results), r.sent, wrong)
	}
	r.ordered(ctx)
	r.letters(ctx)
	r.tookOver(after)
}

// ordered wants the predictions of each key in the order in which its sales were sent, in one partition.
func (r *rolling) ordered(ctx context.Context) {
	t := r.t
	t.Helper()
	records, err := torture.Committed(ctx, r.cluster.Bootstrap(), r.name+".out")
	must(t, err)
	type mark struct {
		id        string
		partition int32
	}
	last := map[string]mark{}
	for _, x := range records {
		var sale struct {
			ID string `json:"id"`
		}
		must(t, json.Unmarshal(x.Value, &sale))
		if !strings.HasPrefix(sale.ID, "house-") {
			continue
		}
		if m, ok := last[string(x.Key)]; ok && (m.id >= sale.ID || m.partition != x.Partition) {
			t.Fatalf("%s, in partition %d, comes behind %s, in %d, of the same key", sale.ID, x.Partition, m.id, m.partition)
		}
		last[string(x.Key)] = mark{sale.ID, x.Partition}
	}
}

// letters wants one dead letter for each record that cannot be decoded, written by both binaries.
func (r *rolling) letters(ctx context.Context) {
	t := r.t
	t.Helper()
	records, err := torture.Committed(ctx, r.cluster.Bootstrap(), r.name+".dlq")
	must(t, err)
	seen, versions := map[string]bool{}, map[string]int{}
	for _, x := range records {
		var broken struct {
			ID string `json:"id"`
		}
		must(t, json.Unmarshal(x.Value, &broken))
		h := headers(x)
		if !strings.HasPrefix(broken.ID, "broken-") {
			continue
		}
		if seen[broken.ID] || h["millrace.dlq.class"] != "wrong_type" {
			t.Errorf("%s has another dead letter, or one of class %s", broken.ID, h["millrace.dlq.class"])
		}
		seen[broken.ID] = true
		versions[h["millrace.dlq.version"]]++
	}
	t.Logf("%d sales, %d dead letters, by version %v", r.sent, len(seen), versions)
	if len(seen) != r.broken || len(versions) != 2 || versions[newVersion] == 0 {
		t.Errorf("%d dead letters of %d records, by version %v", len(seen), r.broken, versions)
	}
}

var taskRuns = regexp.MustCompile(`msg="task runs" task=0_(\d+) records_restored=(\d+)`)

// tookOver wants that an instance that has come back has read no more of a changelog than what was written since it was stopped,
// of the tasks that it had then and has now.
func (r *rolling) tookOver(after map[int32]int64) {
	t := r.t
	t.Helper()
	checked := 0
	for i, b := range r.before {
		seen := map[int32]bool{}
		for _, m := range taskRuns.FindAllStringSubmatch(r.instances[i].log(), -1) {
			p, err := strconv.Atoi(m[1])
			must(t, err)
			n, err := strconv.ParseInt(m[2], 10, 64)
			must(t, err)
			partition := int32(p) //nolint:gosec // of a few
			since := after[partition] - b.ends[partition]
			t.Logf("%s: task 0_%d has read %d records of its changelog; %d were written before it was stopped, %d after; it had the task: %t",
				r.instances[i].id, p, n, b.ends[partition], since, b.held[partition])
			if !b.held[partition] || seen[partition] { // it had none of its state, or has let it go meanwhile
				continue
			}
			seen[partition] = true
			checked++
			if n > since || n >= b.ends[partition] {
				t.Errorf("%s has restored task 0_%d, which it had", r.instances[i].id, p)
			}
		}
	}
	if checked == 0 {
		t.Error("no instance has a task that it had before")
	}
}
