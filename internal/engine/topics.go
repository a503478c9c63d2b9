package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
)

// readTopics returns the topics that a program reads and does not make itself.
func readTopics(p *task.Program) []string {
	var names []string
	for _, sub := range p.Subs {
		for _, s := range sub.Sources {
			if !s.Internal {
				names = append(names, s.Topic)
			}
		}
	}
	return distinct(append(names, globalTopics(p)...))
}

func globalTopics(p *task.Program) []string {
	var names []string
	for _, g := range p.Globals {
		names = append(names, g.Topic)
	}
	return names
}

// writtenTopics returns the topics that a program writes and does not make itself, without the dead letters.
func writtenTopics(p *task.Program) []string {
	var names []string
	for _, sub := range p.Subs {
		for _, s := range sub.Sinks {
			if !s.Internal {
				names = append(names, s.Topic)
			}
		}
	}
	return distinct(names)
}

// repartitionTopics returns the topics that a program writes to read them again.
func repartitionTopics(p *task.Program) []string {
	var names []string
	for _, sub := range p.Subs {
		for _, s := range sub.Sinks {
			if s.Internal {
				names = append(names, s.Topic)
			}
		}
	}
	return names
}

func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// plan is what an engine knows of its topics.
type plan struct {
	limits     map[string]kafka.Limits // of the topics that are written
	tasks      []int                   // the number of each sub-topology's
	partitions map[string]int          // of topics, the number
	readers    map[string]int          // of topics, the sub-topology
	changelogs map[string]bool         // topics
}

// inspect checks that the topics are there, are the same as before, and may be used, and makes the internal ones.
func (e *Engine) inspect(ctx context.Context) (*plan, error) {
	err := e.checkTopics(ctx)
	for try := 1; try < unknownTries && unknown(err) && ctx.Err() == nil; try++ {
		select {
		case <-time.After(unknownPause):
		case <-ctx.Done():
		}
		err = e.checkTopics(ctx)
	}
	if err != nil {
		return nil, err
	}
	p := &plan{limits: map[string]kafka.Limits{}, partitions: map[string]int{}, readers: map[string]int{}, changelogs: map[string]bool{}}
	if err := e.makeInternal(ctx, p); err != nil {
		return nil, err
	}
	for _, sub := range e.program.Subs {
		for _, s := range sub.Sources {
			p.readers[s.Topic] = sub.ID
		}
		for _, s := range sub.Stores {
			p.changelogs[e.program.Changelog(s.Name)] = s.Logged
		}
	}
	names := e.writes()
	for _, t := range names {
		l, err := e.options.Client.Limits(ctx, t)
		if unknown(err) { // a broker that is busy has not learned of it yet; whether it is gone shows next time
			return nil, kafka.Unlearned(t, err)
		}
		if err != nil {
			return nil, err
		}
		if n, ok := e.shrunk[t]; ok {
			l.MaxBytes = min(l.MaxBytes, n)
		}
		p.limits[t] = l
	}
	return p, e.checkLetters(p)
}

// writes returns every topic that is written, changelogs too.
func (e *Engine) writes() []string {
	var names []string
	for _, sub := range e.program.Subs {
		for _, s := range sub.Sinks {
			names = append(names, s.Topic)
		}
		for _, s := range sub.Stores {
			if s.Logged {
				names = append(names, e.program.Changelog(s.Name))
			}
		}
	}
	if e.program.DeadLetters != "" {
		names = append(names, e.program.DeadLetters)
	}
	return distinct(names)
}

func (e *Engine) checkLetters(p *plan) error {
	name := e.program.DeadLetters
	if name == "" {
		return nil
	}
	fault := func(why, hint string) error {
		return &kafka.Error{Code: kafka.CodeConfig, Op: "use dead-letter topic", Where: name, Err: errors.New(why), Hint: hint}
	}
	d := p.limits[name]
	if d.Compacted {
		return fault("it is compacted", "set its cleanup.policy to delete: compaction loses dead letters, and refuses those without a key")
	}
	if d.MaxBytes < minLetterBytes {
		return fault(fmt.Sprintf("its max.message.bytes is %d", d.MaxBytes), fmt.Sprintf("set it to %d or more; best to that of the source topic and a little more", minLetterBytes))
	}
	return nil
}

// makeInternal makes the repartition and changelog topics that are not there, and notes numbers of partitions and tasks.
func (e *Engine) makeInternal(ctx context.Context, p *plan) error {
	if err := e.countPartitions(p); err != nil {
		return err
	}
	var topics []kafka.NewTopic
	for i, sub := range e.program.Subs {
		for _, s := range sub.Sources {
			if s.Internal {
				topics = append(topics, kafka.NewTopic{Name: s.Topic, Partitions: p.partitions[s.Topic], Configs: map[string]string{
					"cleanup.policy": "delete", "retention.ms": "-1", // emptied by the application, when it has read it
				}})
			}
		}
		for _, s := range sub.Stores {
			if s.Logged {
				topics = append(topics, changelogTopic(e.program, s, p.tasks[i]))
			}
		}
	}
	if len(topics) == 0 {
		return nil
	}
	if err := e.options.Client.EnsureTopics(ctx, topics...); err != nil {
		return err
	}
	e.lock.Lock()
	e.made = nil
	for _, t := range topics {
		e.made = append(e.made, t.Name)
	}
	e.lock.Unlock()
	return e.checkTopics(ctx)
}

// countPartitions notes the partitions of the topics that are read, and the tasks of each sub-topology.
func (e *Engine) countPartitions(p *plan) error {
	e.lock.Lock()
	defer e.lock.Unlock()
	var err error
	p.partitions, err = e.program.Partitions(func(topic string) int { return len(e.topics[topic].Partitions) })
	if err != nil {
		return &kafka.Error{
			Code: kafka.CodeConfig, Op: "use topics", Where: strings.Join(readTopics(e.program), ", "), Err: err,
			Hint: "make the partitions as many, or call Repartition on one of the streams",
		}
	}
	for name, t := range e.topics { // those that are only written too
		p.partitions[name] = len(t.Partitions)
	}
	p.tasks = make([]int, len(e.program.Subs))
	for i, sub := range e.program.Subs {
		for _, s := range sub.Sources {
			p.tasks[i] = max(p.tasks[i], p.partitions[s.Topic])
		}
	}
	return nil
}

// changelogSlack is how much longer than its store needs a changelog keeps records of windows: clocks differ.
const changelogSlack = 24 * time.Hour

// tombstonesFor is how long a changelog keeps tombstones after it has forgotten the rows that they delete. It is the brokers'
// own default.
const tombstonesFor = 24 * time.Hour

func changelogTopic(p *task.Program, s task.StoreSpec, n int) kafka.NewTopic {
	configs := map[string]string{"cleanup.policy": "compact", "delete.retention.ms": strconv.FormatInt(tombstonesFor.Milliseconds(), 10)}
	if s.Retention > 0 {
		configs["cleanup.policy"] = "compact,delete"
		configs["retention.ms"] = strconv.FormatInt((s.Retention + changelogSlack).Milliseconds(), 10)
	}
	return kafka.NewTopic{Name: p.Changelog(s.Name), Partitions: n, Configs: configs}
}

// A topic that was made a moment ago is not known to every broker yet: how often to ask, and the pause between.
const (
	unknownTries = 4
	unknownPause = 400 * time.Millisecond
)

func unknown(err error) bool {
	k, ok := errors.AsType[*kafka.Error](err)
	return ok && k.Code == kafka.CodeUnknownTopic
}

// topicGone is how often in a row a topic has to be missing, once it was there, to count as deleted: a broker
// that has just started may not know it yet.
const topicGone = 3

// checkTopics compares the topics with what they were at the start.
func (e *Engine) checkTopics(ctx context.Context) error {
	e.lock.Lock()
	names := e.uses()
	e.lock.Unlock()
	topics, err := e.options.Client.Topics(ctx, names...)
	e.lock.Lock()
	defer e.lock.Unlock()
	if err != nil {
		return e.lacking(err)
	}
	e.missing = 0
	seen := map[string]kafka.Topic{}
	for _, t := range topics {
		seen[t.Name] = t
		if before, ok := e.topics[t.Name]; ok && before.ID != t.ID {
			return changed(t.Name, "it was deleted and made anew while the application ran")
		}
	}
	e.topics = seen
	for _, t := range e.reads() {
		if s, ok := seen[t]; ok && !s.CanRead {
			return forbidden("read", t, "Read")
		}
	}
	for _, t := range e.writes() {
		if s, ok := seen[t]; ok && !s.CanWrite {
			return forbidden("write to", t, "Write")
		}
	}
	return nil
}

// checkGrown tells the loop where a topic that is read has got more partitions: the client library would find out in some
// minutes.
func (e *Engine) checkGrown() {
	l := e.loop.Load()
	if l == nil {
		return
	}
	e.lock.Lock()
	defer e.lock.Unlock()
	for topic := range l.plan.readers {
		if len(e.topics[topic].Partitions) > l.plan.partitions[topic] {
			e.grown.Store(true)
			e.waker.poke()
		}
	}
}

// lacking explains why the topics could not be described. The lock is held.
func (e *Engine) lacking(err error) error {
	k, ok := errors.AsType[*kafka.Error](err)
	if ok && k.Code == kafka.CodeUnauthorized { // the right to describe comes with the one that is needed anyway
		operation := "Write"
		if slices.Contains(e.reads(), k.Where) {
			operation = "Read"
		}
		k.Hint = needs(operation, k.Where)
	}
	if !ok || k.Code != kafka.CodeUnknownTopic {
		return err
	}
	missing := kafka.Missing(err)
	gone := slices.DeleteFunc(slices.Clone(missing), func(name string) bool { _, ok := e.topics[name]; return !ok })
	if len(gone) == 0 && slices.ContainsFunc(missing, func(name string) bool { return slices.Contains(e.made, name) }) {
		return kafka.Unlearned(k.Where, k.Err)
	}
	if len(gone) == 0 {
		k.Hint = "create it before the application runs: the brokers' defaults for partitions, replicas and retention are rarely what it needs"
		return err
	}
	where := strings.Join(gone, " ")
	if e.missing++; e.missing < topicGone {
		return kafka.Unlearned(where, k.Err)
	}
	return changed(where, "it was deleted while the application ran")
}

// uses returns the topics that are read or written, those of the application's own once they were there. The lock is
// held.
func (e *Engine) uses() []string {
	names := append(readTopics(e.program), writtenTopics(e.program)...)
	if l := e.program.DeadLetters; l != "" {
		names = append(names, l)
	}
	return distinct(append(names, e.made...))
}

// reads returns every topic that is read, those of the application's own too.
func (e *Engine) reads() []string {
	names := readTopics(e.program)
	for _, sub := range e.program.Subs {
		for _, s := range sub.Sources {
			names = append(names, s.Topic)
		}
		for _, s := range sub.Stores {
			if s.Logged {
				names = append(names, e.program.Changelog(s.Name))
			}
		}
	}
	return distinct(names)
}

func changed(topic, why string) error {
	return &kafka.Error{
		Code: kafka.CodeTopicChanged, Op: "use topic", Where: topic, Err: errors.New(why),
		Hint: "make sure that this was meant, delete the group's offsets or choose another group, and start the pipeline again",
	}
}

func forbidden(verb, topic, operation string) error {
	return &kafka.Error{
		Code: kafka.CodeUnauthorized, Op: verb + " topic", Where: topic, Err: errors.New("not authorized"),
		Hint: needs(operation, topic),
	}
}

func needs(operation, topic string) string {
	return "the principal needs the ACL: operation " + operation + ", resource Topic " + topic
}
