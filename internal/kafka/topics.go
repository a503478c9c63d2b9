package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topic is what the cluster says about a topic.
type Topic struct {
	Name       string
	ID         [16]byte // changes when the topic is deleted and made anew; zero before Kafka 2.8
	Partitions []int32  // ascending
	Replicas   int      // of the partition that has the fewest
	CanRead    bool     // an ACL allows reading, or the cluster did not say
	CanWrite   bool     // an ACL allows writing, or the cluster did not say
}

// Topics returns the named topics in the given order. If some do not exist it returns the others, and one error of
// code [CodeUnknownTopic] that names all that are missing: see [Missing]. One that may not be described is an error of
// code [CodeUnauthorized].
func (c *Client) Topics(ctx context.Context, names ...string) ([]Topic, error) {
	// Asking for the operations that the ACLs allow also goes past the library's cache.
	details, err := c.admin.ListTopicsWithInternal(kadm.WithAuthorizedOps(ctx), names...)
	if err != nil && len(names) > 1 && codeOf(err) == CodeUnauthorized { // one of them, and the library does not say which
		for _, name := range names {
			if _, err := c.Topics(ctx, name); err != nil {
				return nil, err
			}
		}
	}
	if err != nil {
		return nil, c.fault(ctx, "describe topic", strings.Join(names, " "), needTopic("Describe", strings.Join(names, ", ")), err)
	}
	topics, missing := make([]Topic, 0, len(names)), []string(nil)
	for _, name := range names {
		d, ok := details[name]
		if !ok {
			d.Err = kerr.UnknownTopicOrPartition
		}
		if errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			missing = append(missing, name)
			continue
		}
		if d.Err != nil {
			return nil, c.fault(ctx, "describe topic", name, needTopic("Describe", name), d.Err)
		}
		t := Topic{Name: name, ID: d.ID, CanRead: true, CanWrite: true, Replicas: d.Partitions.NumReplicas()}
		for p := range d.Partitions {
			t.Partitions = append(t.Partitions, p)
		}
		slices.Sort(t.Partitions)
		if ops := d.AuthorizedOperations; len(ops) > 0 {
			all := slices.Contains(ops, kmsg.ACLOperationAll)
			t.CanRead = all || slices.Contains(ops, kmsg.ACLOperationRead)
			t.CanWrite = all || slices.Contains(ops, kmsg.ACLOperationWrite)
		}
		topics = append(topics, t)
	}
	if len(missing) > 0 {
		return topics, unknownTopics(missing)
	}
	return topics, nil
}

// MissingTopics is the cause of an error about topics that do not exist.
type MissingTopics struct {
	Names []string // in the order in which they were asked for
}

// Error says that the topics do not exist, without their names.
func (m *MissingTopics) Error() string {
	if len(m.Names) == 1 {
		return "it does not exist"
	}
	return "they do not exist"
}

// Unwrap returns the brokers' error for a topic that does not exist.
func (m *MissingTopics) Unwrap() error { return kerr.UnknownTopicOrPartition }

// Missing returns the names of the topics that err says do not exist.
func Missing(err error) []string {
	if m, ok := errors.AsType[*MissingTopics](err); ok {
		return m.Names
	}
	return nil
}

func unknownTopics(names []string) error {
	hint := "create the topic first, or mend its name"
	if len(names) > 1 {
		hint = "create the topics first, or mend their names"
	}
	return &Error{Code: CodeUnknownTopic, Op: "describe topic", Where: strings.Join(names, " "), Err: &MissingTopics{names}, Hint: hint}
}

// Unlearned returns the error for a topic of which a broker says that it does not exist though it does: it was just made,
// or the broker has just started.
func Unlearned(topic string, cause error) error {
	return &Error{
		Code: CodeUnavailable, Op: "describe topic", Where: topic, Err: cause,
		Hint: "wait: brokers learn of new topics, and of all when they start, one after the other",
	}
}

// NewTopic says how to make a topic.
type NewTopic struct {
	Name       string
	Partitions int               // Default: the brokers' num.partitions
	Replicas   int               // Default: the brokers' default.replication.factor
	Configs    map[string]string // of the topic. Default: none
}

// CreateTopics makes topics. Those that exist already are an error of code [CodeTopicExists], given after the
// others were made.
func (c *Client) CreateTopics(ctx context.Context, topics ...NewTopic) error {
	var errs []error
	for _, t := range topics {
		n, r := int32(t.Partitions), int16(t.Replicas)
		if n == 0 {
			n = -1
		}
		if r == 0 {
			r = -1
		}
		configs := make(map[string]*string, len(t.Configs))
		for _, k := range slices.Sorted(maps.Keys(t.Configs)) {
			configs[k] = new(t.Configs[k])
		}
		resp, err := c.admin.CreateTopic(ctx, n, r, configs, t.Name)
		if err != nil {
			if resp.ErrMessage != "" {
				err = fmt.Errorf("%w: %s", err, resp.ErrMessage)
			}
			errs = append(errs, c.fault(ctx, "create topic", t.Name, needTopic("Create", t.Name), err))
		}
	}
	return errors.Join(errs...)
}

// How often to ask for a topic that was just made, since not every broker knows it at once, and the pause between.
const madeTries = 50

// EnsureTopics makes the topics that do not exist yet, and returns once brokers know all of them; when that takes longer
// than some seconds, with an error of code [CodeUnavailable]. One that is there, because it was or because another
// process was faster, must have the number of partitions that is asked for, if one is: else it is an error of code
// [CodeConfig]. Its configuration and its replicas stay as they are.
func (c *Client) EnsureTopics(ctx context.Context, topics ...NewTopic) error {
	var errs []error
	for _, t := range topics {
		errs = append(errs, c.ensure(ctx, t))
	}
	return errors.Join(errs...)
}

func (c *Client) ensure(ctx context.Context, t NewTopic) error {
	err := c.CreateTopics(ctx, t)
	if err != nil && codeOf(err) != CodeTopicExists {
		return err
	}
	pauses := Backoff{Min: 20 * time.Millisecond, Max: 200 * time.Millisecond}
	var found []Topic
	for try := 1; ; try++ {
		found, err = c.Topics(ctx, t.Name)
		if err == nil || codeOf(err) != CodeUnknownTopic || try == madeTries {
			break
		}
		select {
		case <-time.After(pauses.Pause(try)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if codeOf(err) == CodeUnknownTopic {
		return Unlearned(t.Name, err)
	}
	if err != nil {
		return err
	}
	if n := len(found[0].Partitions); t.Partitions > 0 && n != t.Partitions {
		return &Error{
			Code: CodeConfig, Op: "use topic", Where: t.Name, Err: fmt.Errorf("it has %d partitions, where %d are needed", n, t.Partitions),
			Hint: "delete the topic if nothing in it is needed any more, or go back to what it was made for",
		}
	}
	return nil
}

// DeleteRecords deletes the records of a topic before the given offsets, for good. The brokers refuse to do so with
// topics that are compacted and nothing else.
func (c *Client) DeleteRecords(ctx context.Context, topic string, before Offsets) error {
	offsets := kadm.Offsets{}
	for p, at := range before {
		offsets.Add(kadm.Offset{Topic: topic, Partition: p, At: at})
	}
	need := needTopic("Delete", topic)
	rs, err := c.admin.DeleteRecords(ctx, offsets)
	if err != nil {
		return c.fault(ctx, "delete records of topic", topic, need, err)
	}
	if err := rs.Error(); err != nil {
		return c.fault(ctx, "delete records of topic", topic, need, err)
	}
	return nil
}
