// Package devbroker is the development broker: one node that speaks Kafka's protocol, inside the process, with its
// data in a folder. It is franz-go's kfake, which calls itself a fake for testing, with what kfake leaves to
// its user: a lock on the folder, a fixed address, a retention on every topic, and no compaction.
//
// # What holds
//
// Consumer groups, transactions, read_committed and fencing work as in Kafka. What was acknowledged survives
// [Broker.Close] and the death of the process: records, topics, committed transactions and the offsets of
// groups, since every write has reached the operating system by then. A transaction that is open when the
// process dies is aborted.
//
// # What does not
//
//   - Nothing is replicated and nothing is forced to the disk: when the machine fails, acknowledged records may be lost.
//   - A transaction that is being committed at the moment of a kill may be torn: committed in some partitions and
//     aborted in others, or committed without its offsets.
//   - The state of idempotent producers is saved by Close alone: after a kill, the retry of a producer that
//     goes on may be written twice or refused.
//   - Compacted topics keep every record; a topic that is made compacted after its creation keeps its retention too.
//   - Retention looks at record timestamps alone, and does not spare the newest segment.
//   - min.insync.replicas, racks, preferred replicas and message.timestamp.type=LogAppendTime have no effect.
//
// Nothing that is claimed of availability is claimed of this broker.
package devbroker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DefaultAddr is the address on which a broker listens that is given none.
const DefaultAddr = "127.0.0.1:9092"

// DefaultRetention is how long a broker keeps records that is not told, as Kafka does.
const DefaultRetention = 7 * 24 * time.Hour

const (
	retentionCheck = 5 * time.Minute // as Kafka's log.retention.check.interval.ms
	maxPartitions  = 10_000
	clusterID      = "millrace-development"
)

var (
	// ErrLocked says that another broker has the folder; the error's text names it.
	ErrLocked = errors.New("the folder is in use")
	// ErrPortInUse says that something else listens on the address.
	ErrPortInUse = errors.New("the port is in use")
	// ErrTopicExists says that the broker has a topic of that name.
	ErrTopicExists = errors.New("the topic exists")
	// ErrClosed says that the broker was closed.
	ErrClosed = errors.New("the broker is closed")
)

// Options say where a broker keeps its data and listens.
type Options struct {
	// Dir is the folder of the broker's data. It is created; one broker at a time may use it. Required.
	Dir string
	// Addr is the host and port to listen on; port 0 takes a free one. The host must be one address of this
	// machine, since clients are told to connect to it. There is no encryption and no authentication.
	// Default: [DefaultAddr].
	Addr string
	// Partitions is the number of partitions of a topic that is created without saying how many, and of one that
	// is created because a client that allows that names it (as Kafka's auto.create.topics.enable does).
	// Default: 1, as in Kafka.
	Partitions int
	// Retention is how long the records of a topic are kept that sets no retention.ms, by their timestamps.
	// Compacted topics keep theirs. Default: [DefaultRetention].
	Retention time.Duration
	// Logger gets the broker's warnings and errors. Default: none.
	Logger *slog.Logger
}

func (o *Options) validate() error {
	if o.Dir == "" {
		return errors.New("no folder for the data")
	}
	if o.Addr == "" {
		o.Addr = DefaultAddr
	}
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("address %s: clients are told to connect to it: name one host, as in %s", o.Addr, DefaultAddr)
	}
	if o.Partitions == 0 {
		o.Partitions = 1
	}
	if o.Partitions < 1 || o.Partitions > maxPartitions {
		return fmt.Errorf("%d partitions: want 1 to %d", o.Partitions, maxPartitions)
	}
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.Retention < time.Second {
		return fmt.Errorf("retention %s: want at least 1s", o.Retention)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Broker is a running development broker. It is safe for concurrent use.
type Broker struct {
	opts    Options
	lock    *lock
	ln      *listener
	cluster *kfake.Cluster
	log     *logger
	stop    chan struct{} // ends the retention loop
	loop    sync.WaitGroup

	mu     sync.RWMutex // held for reading while a topic is created: the data must not change once Close saves it
	closed bool
}

// Start starts a broker on the data of o.Dir. The error is [ErrLocked] or [ErrPortInUse] where those are the
// reason. ctx bounds the start alone: the broker runs until [Broker.Close].
func Start(ctx context.Context, o Options) (*Broker, error) {
	b, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("development broker: %w", err)
	}
	return b, nil
}

func start(ctx context.Context, o Options) (*Broker, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	lk, err := acquire(o.Dir)
	if err != nil {
		return nil, err
	}
	ln, own, err := listen(ctx, o.Addr)
	if err != nil {
		return nil, errors.Join(err, lk.release())
	}
	defer func() { _ = own.Close() }()
	b := &Broker{opts: o, lock: lk, ln: ln, log: &logger{to: o.Logger}, stop: make(chan struct{})}
	killed, err := b.killed()
	if err != nil {
		return nil, errors.Join(err, ln.Close(), lk.release())
	}
	if err := b.open(); err != nil {
		_ = ln.Close() // kfake may have closed it
		return nil, errors.Join(err, lk.release())
	}
	err = lk.describe(b.Addr())
	if err == nil && len(killed) > 0 {
		err = abort(ctx, own, killed)
	}
	if err != nil {
		return nil, errors.Join(err, b.halt(), lk.release())
	}
	ln.admit()
	b.loop.Go(b.retain)
	return b, nil
}

// killed returns the transactions that died with the last broker, if that was not closed in order. It also takes
// down the sign that it was.
func (b *Broker) killed() ([]orphan, error) {
	err := os.Remove(filepath.Join(b.opts.Dir, cleanName))
	if errors.Is(err, fs.ErrNotExist) {
		return orphans(b.data())
	}
	return nil, err
}

func (b *Broker) data() string { return filepath.Join(b.opts.Dir, "data") }

// open loads the data. Clients wait.
func (b *Broker) open() error {
	var err error
	b.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ClusterID(clusterID),
		kfake.DataDir(b.data()),
		kfake.DefaultNumPartitions(b.opts.Partitions),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return b.ln, nil }),
		kfake.WithLogger(b.log),
		kfake.BrokerConfigs(map[string]string{
			// Compaction loses committed records that an aborted transaction has superseded.
			"log.cleaner.backoff.ms": millis(100 * 365 * 24 * time.Hour),
			"log.retention.ms":       millis(b.opts.Retention),
		}),
	)
	if err != nil {
		return fmt.Errorf("open %s: %w", b.opts.Dir, err)
	}
	b.cluster.ControlKey(int16(kmsg.CreateTopics), b.onCreateTopics)
	b.cluster.ControlKey(int16(kmsg.Metadata), b.onMetadata)
	return nil
}

// Addr returns the host and port on which the broker listens.
func (b *Broker) Addr() string { return b.ln.Addr().String() }

// Banner returns the lines that tell a person what has been started.
func (b *Broker) Banner() string {
	return fmt.Sprintf(`millrace development broker on %s, data in %s
For development and tests, not for production: one node, no replication, no encryption, no authentication.
Records are kept for %s where a topic does not say otherwise; compacted topics are not compacted.
`, b.Addr(), b.opts.Dir, inDays(b.opts.Retention))
}

// inDays writes a duration for a person, in days where it is a number of them.
func inDays(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == day:
		return "a day"
	case d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	default:
		return d.String()
	}
}

// topicName is what Kafka allows, apart from "." and "..".
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// CreateTopic creates a topic with the given number of partitions (0: [Options.Partitions]) and topic settings,
// which may be nil. The error is [ErrTopicExists] where there is such a topic; it is then left as it is.
func (b *Broker) CreateTopic(name string, partitions int, settings map[string]string) error {
	if err := b.createTopic(name, partitions, settings); err != nil {
		return fmt.Errorf("development broker: create topic %q: %w", name, err)
	}
	return nil
}

func (b *Broker) createTopic(name string, partitions int, settings map[string]string) error {
	if !topicName.MatchString(name) || name == "." || name == ".." {
		return errors.New("a name is 1 to 249 of the letters a to z, A to Z, 0 to 9, '.', '_' and '-'")
	}
	if partitions < 0 || partitions > maxPartitions {
		return fmt.Errorf("%d partitions: want 1 to %d", partitions, maxPartitions)
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return ErrClosed
	}
	err := b.cluster.CreateTopic(name, int32(partitions), b.withRetention(settings))
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return ErrTopicExists
	}
	return err
}

// withRetention returns settings with a retention.ms.
func (b *Broker) withRetention(settings map[string]string) map[string]string {
	all := map[string]string{"retention.ms": b.retention(settings["cleanup.policy"])}
	maps.Copy(all, settings)
	return all
}

// retention returns the retention.ms of a topic that sets none. A topic that is only compacted has none in
// Kafka, whereas kfake looks at the age of every topic's records.
func (b *Broker) retention(policy string) string {
	if policy == "compact" {
		return "-1"
	}
	return millis(b.opts.Retention)
}

// onCreateTopics gives the topics that a client creates a retention of their own, and leaves the rest to kfake.
func (b *Broker) onCreateTopics(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := r.(*kmsg.CreateTopicsRequest)
	if !ok {
		return nil, nil, false
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		var policy string
		has := false
		for _, c := range t.Configs {
			has = has || c.Name == "retention.ms"
			if c.Name == "cleanup.policy" && c.Value != nil {
				policy = *c.Value
			}
		}
		if has {
			continue
		}
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = "retention.ms", new(b.retention(policy))
		t.Configs = append(t.Configs, c)
	}
	return nil, nil, false
}

// onMetadata creates the topics that a client asks for and allows to be created. kfake can do that too, but does
// not write down that the topic exists before it closes in order: a kill would lose it with its records.
func (b *Broker) onMetadata(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := r.(*kmsg.MetadataRequest)
	if !ok || !req.AllowAutoTopicCreation {
		return nil, nil, false
	}
	for _, t := range req.Topics {
		if t.Topic == nil {
			continue
		}
		err := b.createTopic(*t.Topic, 0, nil)
		if err != nil && !errors.Is(err, ErrTopicExists) && !errors.Is(err, ErrClosed) {
			b.opts.Logger.Warn("no topic created", slog.String("topic", *t.Topic), slog.Any("error", err))
		}
	}
	return nil, nil, false
}

// retain applies the retention of the topics until the broker closes. kfake does so with its compaction only.
func (b *Broker) retain() {
	tick := time.NewTicker(retentionCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.cluster.ApplyRetention()
		case <-b.stop:
			return
		}
	}
}

// Close stops the broker: it ends all connections, writes the state of groups and producers to the folder,
// waits for the broker's goroutines and gives the folder free. The error tells that the state could not be
// written; what was acknowledged is there all the same. A second Close does nothing.
func (b *Broker) Close() error {
	b.mu.Lock()
	again := b.closed
	b.closed = true
	b.mu.Unlock()
	if again {
		return nil
	}
	close(b.stop)
	b.loop.Wait()
	err := b.halt()
	if err == nil {
		err = os.WriteFile(filepath.Join(b.opts.Dir, cleanName), nil, 0o644)
	}
	if err = errors.Join(err, b.lock.release()); err != nil {
		return fmt.Errorf("development broker: close: %w", err)
	}
	return nil
}

// halt stops kfake and waits until nothing of it is left.
func (b *Broker) halt() error {
	b.cluster.Close()
	b.ln.admit() // kfake closes the listener, and with it the loop that may still wait
	b.ln.wait()
	return b.log.failed()
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
