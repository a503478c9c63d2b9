package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Client answers questions about a cluster and opens sessions, producers and taps on it. It is safe for
// concurrent use. Its methods fail with an [*Error], or with the context's error when that was cancelled.
type Client struct {
	config Config
	kgo    *kgo.Client
	admin  *kadm.Client
	reach  *reach
}

// New returns a client. It opens no connection: use [Client.Ping] to know whether a broker answers.
func New(c Config) (*Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	cl := &Client{config: c, reach: newReach()}
	k, err := cl.open(cl.reach, kgo.RetryTimeout(8*time.Second))
	if err != nil {
		return nil, err
	}
	cl.kgo, cl.admin = k, kadm.NewClient(k)
	return cl, nil
}

// open returns a client of the library with the configuration's options and more.
func (c *Client) open(r *reach, more ...kgo.Opt) (*kgo.Client, error) {
	opts, err := c.config.options()
	if err != nil {
		return nil, err
	}
	k, err := kgo.NewClient(append(append(opts, kgo.WithHooks(r)), more...)...)
	if err != nil {
		return nil, &Error{Code: CodeConfig, Op: "open client", Err: err}
	}
	return k, nil
}

// Close closes the connections. Sessions, producers and taps have connections of their own.
func (c *Client) Close() { c.kgo.Close() }

// Brokers returns the configured addresses.
func (c *Client) Brokers() []string { return slices.Clone(c.config.Brokers) }

// pingTimeout bounds one try to reach a broker.
const pingTimeout = 3 * time.Second

// A broker that wants another kind of connection, or one that says who it is, hangs up without a word. So does one
// that is about to stop, but not three times with half a second between.
const (
	hangUps     = 3
	hangUpPause = 500 * time.Millisecond
)

// Ping returns nil once a broker has answered, and an error after at most 4 s.
func (c *Client) Ping(ctx context.Context) error {
	tctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	err := c.kgo.Ping(tctx)
	for try := 1; err != nil && hungUp(err); try++ {
		if try == hangUps {
			return &Error{Code: CodeUnauthenticated, Op: "connect to", Where: strings.Join(c.config.Brokers, " "), Hint: hangUpHint, Err: err}
		}
		select {
		case <-time.After(hangUpPause):
		case <-ctx.Done():
			return ctx.Err()
		}
		err = c.kgo.Ping(tctx)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	if code := codeOf(err); code != CodeUnavailable && code != CodeInternal {
		return explain("connect to", strings.Join(c.config.Brokers, " "), "", err)
	}
	if _, failure := c.reach.silence(); failure != nil {
		err = failure
	} else if errors.Is(err, context.DeadlineExceeded) {
		err = nil // says less than "no broker answers"
	}
	return nobodyAnswers("connect to", c.config.Brokers, err)
}

// hungUp tells whether a broker has closed the connection in place of its first answer.
func hungUp(err error) bool {
	_, ok := errors.AsType[*kgo.ErrFirstReadEOF](err)
	return ok
}

func needTopic(op, topic string) string {
	return "operation " + op + ", resource Topic " + topic
}

// Limits are the rules of a topic that decide whether the broker takes a record. See [Client.Limits].
type Limits struct {
	MaxBytes      int           // the largest batch, and so the largest record with its overhead
	FutureLimit   time.Duration // how far ahead of the broker's clock a timestamp may be
	PastLimit     time.Duration // how far behind
	Compacted     bool          // records without a key are refused
	AppendTime    bool          // the broker sets the timestamps itself, and takes any
	Authoritative bool          // the topic's configuration could be read; else these are the brokers' defaults
}

// DefaultLimits returns the defaults of Apache Kafka 4.
func DefaultLimits() Limits {
	return Limits{MaxBytes: 1048588, FutureLimit: time.Hour, PastLimit: 1<<63 - 1}
}

// Limits returns the limits of a topic. Where the ACLs do not allow to read its configuration they are
// [DefaultLimits].
func (c *Client) Limits(ctx context.Context, topic string) (Limits, error) {
	l := DefaultLimits()
	rs, err := c.admin.DescribeTopicConfigs(ctx, topic)
	var r kadm.ResourceConfig
	if err == nil {
		r, err = rs.On(topic, nil)
	}
	if err == nil {
		err = r.Err
	}
	if err != nil {
		if codeOf(err) == CodeUnauthorized {
			return l, nil
		}
		return l, c.fault(ctx, "read the configuration of topic", topic, needTopic("DescribeConfigs", topic), err)
	}
	for _, kv := range r.Configs {
		if kv.Value == nil {
			continue
		}
		switch v := *kv.Value; kv.Key {
		case "max.message.bytes":
			l.MaxBytes, err = strconv.Atoi(v)
		case "message.timestamp.after.max.ms":
			l.FutureLimit, err = millis(v)
		case "message.timestamp.before.max.ms":
			l.PastLimit, err = millis(v)
		case "message.timestamp.type":
			l.AppendTime = v == "LogAppendTime"
		case "cleanup.policy":
			l.Compacted = strings.Contains(v, "compact")
		}
		if err != nil {
			return l, &Error{Code: CodeInternal, Op: "read the configuration of topic", Where: topic, Err: fmt.Errorf("%s: %w", kv.Key, err)}
		}
	}
	l.Authoritative = true
	return l, nil
}

// millis parses a number of milliseconds; what a Duration cannot hold becomes the longest one.
func millis(v string) (time.Duration, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, err
	}
	if n < 0 || n > (1<<63-1)/int64(time.Millisecond) {
		return 1<<63 - 1, nil
	}
	return time.Duration(n) * time.Millisecond, nil
}

// Offsets are offsets of a topic's partitions.
type Offsets map[int32]int64

// EndOffsets returns, for every partition of a topic, the offset after the last record. committed leaves out
// what transactions that are still open have written.
func (c *Client) EndOffsets(ctx context.Context, topic string, committed bool) (Offsets, error) {
	list := c.admin.ListEndOffsets
	if committed {
		list = c.admin.ListCommittedOffsets
	}
	return c.offsets(ctx, "read the end of topic", topic, list)
}

// StartOffsets returns the offset of the oldest record of every partition.
func (c *Client) StartOffsets(ctx context.Context, topic string) (Offsets, error) {
	return c.offsets(ctx, "read the start of topic", topic, c.admin.ListStartOffsets)
}

// OffsetsAfter returns, for every partition of a topic, the offset of the first record whose timestamp is at or after an
// instant, in milliseconds since 1970; where there is none, the end.
func (c *Client) OffsetsAfter(ctx context.Context, topic string, millis int64) (Offsets, error) {
	return c.offsets(ctx, "find a time in topic", topic, func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
		return c.admin.ListOffsetsAfterMilli(ctx, millis, topics...)
	})
}

func (c *Client) offsets(ctx context.Context, op, topic string, list func(context.Context, ...string) (kadm.ListedOffsets, error)) (Offsets, error) {
	all, err := c.list(ctx, op, []string{topic}, list)
	return all[topic], err
}

// Committed returns what a group has committed of every topic. A partition of which it has committed nothing is
// absent. What a transaction that is still open commits is not in it yet.
func (c *Client) Committed(ctx context.Context, group string) (Positions, error) {
	need := "operation Describe, resource Group " + group
	rs, err := c.admin.FetchOffsets(ctx, group)
	// Brokers, and the library, learn of topics that the group has just made one after the other.
	pauses := Backoff{Min: 50 * time.Millisecond, Max: time.Second}
	for try := 1; err != nil && codeOf(err) == CodeUnknownTopic && try < 10; try++ {
		select {
		case <-time.After(pauses.Pause(try)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		rs, err = c.admin.FetchOffsets(ctx, group)
	}
	switch {
	case errors.Is(err, kerr.GroupIDNotFound):
		return Positions{}, nil
	case err != nil && codeOf(err) == CodeUnknownTopic:
		return nil, Unlearned("of group "+group, err)
	case err != nil:
		return nil, c.fault(ctx, "read the offsets of group", group, need, err)
	}
	positions := Positions{}
	for topic, m := range rs {
		for p, o := range m {
			if o.Err != nil && codeOf(o.Err) == CodeUnknownTopic { // it was deleted, or is about to be there
				continue
			}
			if o.Err != nil {
				return nil, c.fault(ctx, "read the offsets of group", group, need, o.Err)
			}
			if o.At >= 0 {
				positions.Set(topic, p, Position{o.At, o.Metadata})
			}
		}
	}
	return positions, nil
}

// Lag returns how many offsets of a topic a group has not committed, by partition. Where the group has
// committed nothing, every record that is there counts. The markers that end a transaction take an offset each,
// so that the lag of a topic that is written in transactions can stay at 1.
func (c *Client) Lag(ctx context.Context, group, topic string) (map[int32]int64, error) {
	end, err := c.EndOffsets(ctx, topic, false)
	if err != nil {
		return nil, err
	}
	start, err := c.StartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	committed, err := c.Committed(ctx, group)
	if err != nil {
		return nil, err
	}
	at := committed.Offsets(topic)
	lag := make(map[int32]int64, len(end))
	for p, e := range end {
		lag[p] = max(0, e-max(at[p], start[p]))
	}
	return lag, nil
}

// fault explains err; when time ran out and connections failed, that no broker answers.
func (c *Client) fault(ctx context.Context, op, where, need string, err error) error {
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if codeOf(err) == CodeUnavailable {
		if _, failure := c.reach.silence(); failure != nil {
			return nobodyAnswers(op+" "+where+" on", c.config.Brokers, failure)
		}
	}
	return explain(op, where, need, err)
}

// GroupMember is a member of a consumer group.
type GroupMember struct {
	ID       string // that the group gave it
	Instance string // that it has given itself, for good; "" if it has not
	Host     string // that it connects from
	// Assigned are the partitions that the group has given to it; nil where that cannot be told.
	Assigned Partitions
	// Address is where it can be asked for what it holds, as it says itself: see SessionConfig.Address. "" where it says nothing, or
	// the group is not at rest.
	Address string
}

// Members returns the members of a consumer group at the moment, none where there is no such group, and whether the group is
// at rest: while it is not, its members are about to change.
func (c *Client) Members(ctx context.Context, group string) (members []GroupMember, stable bool, err error) {
	need := "operation Describe, resource Group " + group
	all, err := c.admin.DescribeGroups(ctx, group)
	if err == nil {
		err = all[group].Err
	}
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, c.fault(ctx, "describe group", group, need, err)
	}
	g := all[group]
	for _, m := range g.Members {
		one := GroupMember{ID: m.MemberID, Host: strings.TrimPrefix(m.ClientHost, "/")}
		if m.InstanceID != nil {
			one.Instance = *m.InstanceID
		}
		if a, ok := m.Assigned.AsConsumer(); ok {
			one.Assigned = Partitions{}
			for _, t := range a.Topics {
				one.Assigned[t.Topic] = append(one.Assigned[t.Topic], t.Partitions...)
			}
		}
		if c, ok := m.Join.AsConsumer(); ok {
			one.Address = addressIn(c.UserData)
		}
		members = append(members, one)
	}
	return members, g.State == "Stable" || len(members) == 0, nil
}

// MaxAddress is how long the address of a member may be: that of one that tells a longer one is passed over.
const MaxAddress = 2048

// maxUserData is how much a member may tell to be listened to: anyone who may join the group can tell anything.
const maxUserData = 1 << 20

// addressIn returns the address that a member tells of itself, and "" where it tells none, or is of another program or version.
func addressIn(data []byte) string {
	var said struct {
		Address string `json:"address"`
	}
	if len(data) > maxUserData || json.Unmarshal(data, &said) != nil || len(said.Address) > MaxAddress {
		return ""
	}
	return said.Address
}
