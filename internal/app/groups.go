package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"millrace.dev/internal/config"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/rollout"
	"millrace.dev/model"
	"millrace.dev/record"
)

// An experiment with split: groups has a consumer group for each arm, which predicts all records of the source into a topic of its own,
// and a group that merges these topics, in step, into what run would have written. It runs from when the last record of the control topic
// under rollout.GroupsKey says so until the last one says otherwise. Then nobody else is to predict the records. The offsets of the pipeline's own
// group say so too, by a mark, for whoever does not read that topic, or where it was lost; but brokers forget the offsets of a group without
// members after a week.

// mergeName is what the merge is called where arms are called by their names.
const mergeName = "merge"

// groupOf returns the consumer group of an arm, or of the merge, and topicOf the topic of an arm's results.
func groupOf(p *config.Pipeline, name string) string { return p.Group + "-ab-" + name }

func topicOf(p *config.Pipeline, arm string) string { return groupOf(p, arm) }

// markPrefix begins the word in the metadata of the offsets of a pipeline's group that says which experiment its records go to.
const markPrefix = "ab1:"

// groupsMark returns the name of the experiment that the offsets of a group say its records go to; "" is none.
func groupsMark(metadata string) string {
	for word := range strings.FieldsSeq(metadata) {
		if name, ok := strings.CutPrefix(word, markPrefix); ok {
			return name
		}
	}
	return ""
}

// marked returns metadata with the mark of an experiment, "" being without any. Its other words stay.
func marked(metadata, experiment string) string {
	var words []string
	for word := range strings.FieldsSeq(metadata) {
		if !strings.HasPrefix(word, markPrefix) {
			words = append(words, word)
		}
	}
	if experiment != "" {
		words = append(words, markPrefix+experiment)
	}
	return strings.Join(words, " ")
}

// markOf returns the name of the experiment that the offsets of a pipeline's group say its records go to; "" is none.
func markOf(ctx context.Context, client *kafka.Client, p *config.Pipeline) (string, error) {
	at, err := client.Committed(ctx, p.Group)
	if k, ok := errors.AsType[*kafka.Error](err); ok && k.Code == kafka.CodeUnauthorized {
		k.Hint = "the principal needs the ACL: operation Read, resource Group " + p.Group // which goes with the right to describe
	}
	if err != nil {
		return "", err
	}
	for _, pos := range at[p.Source.Topic] {
		if name := groupsMark(pos.Metadata); name != "" {
			return name, nil
		}
	}
	return "", nil
}

// outsideGroups is notInGroups as soon as the brokers answer. A cluster that has just begun knows of no groups for a moment, which is not
// worth a line in the log.
func (a *App) outsideGroups(ctx context.Context, client *kafka.Client, p *config.Pipeline, instance string, wait func()) error {
	const quiet, every = 2 * time.Second, 100 * time.Millisecond
	for began := time.Now(); ; {
		err := notInGroups(ctx, client, p, instance)
		if e, ok := errors.AsType[*kafka.Error](err); !ok || e.Code != kafka.CodeUnavailable {
			return err
		}
		if time.Since(began) > quiet {
			break
		}
		if err := pause(ctx, every); err != nil {
			return err
		}
	}
	return a.persist(ctx, wait, func() error { return notInGroups(ctx, client, p, instance) })
}

// notInGroups refuses to run a pipeline whose records go to an experiment with groups: each of them would be predicted twice.
func notInGroups(ctx context.Context, client *kafka.Client, p *config.Pipeline, instance string) error {
	if p.AB != nil && p.AB.Split == config.SplitGroups && strings.HasPrefix(instance, "ab-") {
		return &Error{
			Code: Usage, Op: "run", Where: "--instance-id " + instance, Err: fmt.Errorf("with the group %s before it, it is taken for an instance of an arm", p.Group),
			Hint: "choose an id that does not begin with ab-",
		}
	}
	name, err := markOf(ctx, client, p)
	if err == nil && name == "" && p.Controlled() {
		var g *rollout.Groups
		if g, err = readGroups(ctx, client, p); err == nil && g.Split != nil {
			name = g.Split.Experiment
		}
	}
	if err != nil || name == "" {
		return err
	}
	return &Error{
		Code: Refused, Op: "run", Where: "group " + p.Group, Err: fmt.Errorf("the arms of the experiment %s predict the records of topic %s: each would be predicted twice", name, p.Source.Topic),
		Hint: "end the experiment first: stop its arms and the merge, and then millrace ab stop",
	}
}

// withGroups wants a pipeline whose experiment has groups.
func withGroups(p *config.Pipeline, op, file string) error {
	fault := func(text, hint string) error {
		return &Error{Code: Usage, Op: op, Where: file, Err: errors.New(text), Hint: hint}
	}
	switch {
	case p.AB == nil:
		return &Error{Code: Usage, Op: op, Where: file, Err: errNoAB, Hint: "add ab: with its arms: see docs/ab.md"}
	case p.AB.Split != config.SplitGroups:
		return fault("the arms of the experiment have no groups of their own", "millrace run has all arms in each instance; for groups set ab.split: groups")
	case p.Model.Serve != nil:
		return fault("with split: groups each arm predicts in its own process, and model.serve names another server", "set ab.split: key, or take model.serve out of the file of the arms")
	case p.Partitioned() != nil:
		return fault("with split: groups a pipeline can have no partitioned table: its records change their order on the way", "set ab.split: key, by which the arms share the table")
	}
	for _, arm := range p.AB.Arms {
		if arm.Name == mergeName {
			return fault("an arm is called "+mergeName+", as the group that merges the arms", "call it otherwise")
		}
	}
	return nil
}

// orderly wants a model with which records keep their order on the way to it.
func orderly(p *config.Pipeline, m *model.Loaded) error {
	if !carries(p, m.Bundle.Plan) {
		return nil
	}
	return &Error{
		Code: Usage, Op: "load model", Where: m.Ref,
		Err:  errors.New("with split: groups a pipeline can have no windows: records change their order on the way to them, and each arm would have windows of its own that begin empty"),
		Hint: "set ab.split: key, by which the arms share the windows",
	}
}

// groupsSplit returns the arms of a pipeline file with their models, all approved: those that they have now, or had in was, which may be
// nil. Keys keep their arms of was as far as the weights allow.
func (a *App) groupsSplit(ctx context.Context, p *config.Pipeline, was *rollout.Split) (*rollout.Split, error) {
	var models []*model.Loaded
	for _, arm := range p.AB.Arms {
		ref := arm.Model
		if was != nil && was.Arm(arm.Name) >= 0 {
			ref = was.Arms[was.Arm(arm.Name)].Model
		}
		m, err := a.approved(ctx, p, ref)
		if err != nil {
			return nil, err
		}
		if err := orderly(p, m); err != nil {
			return nil, err
		}
		models = append(models, m)
	}
	return splitOf(p.AB, models, was, 0)
}

// readGroups returns what the control topic says of an experiment with groups; without any its split is nil.
func readGroups(ctx context.Context, client *kafka.Client, p *config.Pipeline) (*rollout.Groups, error) {
	g := &rollout.Groups{}
	err := client.Tap(ctx, kafka.TapConfig{Topic: p.ControlTopic(), From: kafka.FromStart}, func(rs []record.Raw) error {
		for _, r := range rs {
			if string(r.Key) != rollout.GroupsKey {
				continue
			}
			of, err := rollout.DecodeGroups(r.Value)
			if err != nil {
				return &Error{
					Code: Usage, Op: "read control topic", Where: fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset), Err: err,
					Hint: "use the version of millrace that has started the experiment, or a later one",
				}
			}
			g = of
		}
		return ctx.Err()
	})
	if e, ok := errors.AsType[*kafka.Error](err); ok && e.Code == kafka.CodeUnknownTopic {
		return &rollout.Groups{}, nil
	}
	return g, err
}

// withoutGroups wants that no experiment with groups runs.
func (a *App) withoutGroups(ctx context.Context, c *controller, op string) error {
	g, err := readGroups(ctx, c.client, c.p)
	if err != nil || g.Split == nil {
		return err
	}
	return &Error{
		Code: Usage, Op: op, Where: c.p.Group, Err: fmt.Errorf("the experiment %s is running, whose arms have groups of their own", g.Split.Experiment),
		Hint: "end it first: stop its arms and the merge, and then millrace ab stop",
	}
}

// writeGroups says in the control topic what an experiment with groups is.
func writeGroups(ctx context.Context, client *kafka.Client, p *config.Pipeline, g *rollout.Groups) error {
	value, err := g.Encode()
	if err != nil {
		return err
	}
	producer, err := client.NewProducer(kafka.ProducerConfig{Topic: p.ControlTopic()})
	if err != nil {
		return err
	}
	defer producer.Close()
	if err := producer.Send(ctx, &record.Raw{Key: []byte(rollout.GroupsKey), Value: value, Timestamp: g.At}); err != nil {
		return err
	}
	return producer.Flush(ctx)
}

// runningGroups returns the experiment that runs, or why the arms and the merge of a pipeline cannot begin.
func runningGroups(ctx context.Context, client *kafka.Client, p *config.Pipeline, op string) (*rollout.Split, error) {
	const hint = "stop millrace run, and begin the experiment with millrace ab start"
	g, err := readGroups(ctx, client, p)
	switch {
	case err != nil:
		return nil, err
	case g.Split == nil:
		return nil, &Error{Code: Usage, Op: op, Where: "group " + p.Group, Err: errors.New("the experiment has not begun: where its arms begin to read is not set"), Hint: hint}
	case g.Split.Experiment != p.AB.Name:
		return nil, &Error{
			Code: Usage, Op: op, Where: "group " + p.Group, Err: fmt.Errorf("another experiment runs, %s, and not %s", g.Split.Experiment, p.AB.Name),
			Hint: "end it first: stop its arms and the merge, and then millrace ab stop; or set ab.name back",
		}
	}
	return g.Split, nil
}

// armModel loads the model that an arm had when the experiment began.
func (a *App) armModel(ctx context.Context, p *config.Pipeline, arm *rollout.Arm) (*model.Loaded, error) {
	m, err := a.approved(ctx, p, arm.Model)
	if err != nil {
		return nil, err
	}
	if m.Digest != arm.Digest {
		return nil, &Error{
			Code: Refused, Op: "load model", Where: m.Ref, Err: fmt.Errorf("it has the digest %s, and had %s when the experiment began", m.Digest, arm.Digest),
			Hint: "the registry is another one: set model.registry to the one that the experiment was started with",
		}
	}
	return m, nil
}

// resultBytes is how large a record of an arm's topic may be: its prediction with the record that led to it.
func resultBytes(p *config.Pipeline, source, sink kafka.Limits) int {
	const overhead = 1 << 20 // headers that name the model, or hold the reason of a refusal, and the coordinates
	return source.MaxBytes + max(sink.MaxBytes, source.MaxBytes, p.Source.MaxRecordBytes) + overhead
}

// createArmTopics makes the topics of the arms, with the partitions of the source. Their records have the time at which they were written,
// so that no retention goes by what an arm predicts, and stay until the merge has read them.
func createArmTopics(ctx context.Context, client *kafka.Client, p *config.Pipeline, arms []rollout.Arm) error {
	source, err := client.Topics(ctx, p.Source.Topic)
	if err != nil {
		return err
	}
	from, err := client.Limits(ctx, p.Source.Topic)
	if err != nil {
		return err
	}
	to, err := client.Limits(ctx, p.Sink.Topic)
	if err != nil {
		return err
	}
	bytes := resultBytes(p, from, to)
	var topics []kafka.NewTopic
	for i := range arms {
		topics = append(topics, kafka.NewTopic{Name: topicOf(p, arms[i].Name), Partitions: len(source[0].Partitions), Configs: map[string]string{
			"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", "message.timestamp.type": "LogAppendTime",
			"max.message.bytes": strconv.Itoa(bytes),
		}})
	}
	if err := client.EnsureTopics(ctx, topics...); err != nil {
		return err
	}
	for _, t := range topics {
		l, err := client.Limits(ctx, t.Name)
		if err != nil {
			return err
		}
		if l.Compacted || l.Authoritative && l.MaxBytes < bytes {
			return &Error{
				Code: Usage, Op: "use topic", Where: t.Name, Err: fmt.Errorf("it is compacted, or takes records of %d bytes where %d are needed", l.MaxBytes, bytes),
				Hint: fmt.Sprintf("set its cleanup.policy to delete and its max.message.bytes to %d; or delete it, and it is made anew", bytes),
			}
		}
	}
	return nil
}

// groupsEngine are the options that engines of an experiment with groups share.
func (a *App) groupsEngine(client *kafka.Client, p *config.Pipeline, name string, o *GroupOptions) engine.Options {
	return engine.Options{
		Client: client, Group: groupOf(p, name), Guarantee: engine.ExactlyOnce, InstanceID: o.InstanceID, Threads: o.Threads,
		CommitInterval: p.CommitInterval, Version: a.Version, Log: a.Log, Now: a.Now,
	}
}

// GroupOptions say which part of an experiment with groups to run.
type GroupOptions struct {
	File       string   // the pipeline file
	Set        []string // overrides of it
	Arm        string   // "" is the merge
	InstanceID string   // as in [RunOptions]
	Threads    int      // as in [RunOptions]
	HTTP       string   // as in [RunOptions]
	Started    func(*GroupRunning)
}

// GroupRunning is an arm, or the merge, at work.
type GroupRunning struct {
	Arm    string // "" is the merge
	Model  string // of the arm
	Digest string
	Group  string
	Topic  string // that it writes

	engine *engine.Engine
	merger *merger
}

// Stats returns what it has done so far. It is safe for concurrent use.
func (r *GroupRunning) Stats() *GroupRan {
	g := &GroupRan{Stats: r.engine.Stats(), Topic: r.Topic}
	if r.merger != nil {
		g.Incomplete = r.merger.incomplete.Load()
	}
	return g
}

// metrics returns those that the engine does not have.
func (r *GroupRunning) metrics() []prometheus.Collector {
	if r.merger == nil {
		return nil
	}
	return []prometheus.Collector{prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "millrace_ab_incomplete_total", Help: "Records that lack the result of an arm, those of rounds that were undone too.",
	}, func() float64 { return float64(r.merger.incomplete.Load()) })}
}

// GroupRan is what an arm, or the merge, has done.
type GroupRan struct {
	engine.Stats // of the merge, Records are those of the source topic

	Topic string // that it writes
	// Incomplete counts the records that lack the result of an arm, those of rounds that were undone too.
	Incomplete uint64
}

// RunArm has an arm of an experiment with groups predict all records of the source into the arm's topic, until ctx ends. It returns what
// was done; nil if it did not begin.
func (a *App) RunArm(ctx context.Context, o GroupOptions) (*GroupRan, error) {
	p, client, split, err := a.openGroups(ctx, "ab arm", &o)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	i := split.Arm(o.Arm)
	if i < 0 {
		var names []string
		for _, arm := range split.Arms {
			names = append(names, arm.Name)
		}
		return nil, &Error{Code: Usage, Op: "ab arm", Where: o.Arm, Err: errors.New("the experiment has no such arm"), Hint: "it has " + strings.Join(names, ", ")}
	}
	m, err := a.armModel(ctx, p, &split.Arms[i])
	if err != nil {
		return nil, err
	}
	static, err := a.staticRows(ctx, p, m.Bundle.Plan, client)
	if err != nil {
		return nil, err
	}
	if _, err := compileChecks("ab arm", p, m); err != nil {
		return nil, err
	}
	q := withoutNotes(p)
	scoring, err := NewScoring(q, m, ScoringOptions{Threads: o.Threads, Static: static, Now: a.Now})
	if err != nil {
		return nil, err
	}
	if err := a.persist(ctx, func() {}, func() error { return createArmTopics(ctx, client, p, split.Arms[i:i+1]) }); err != nil {
		return nil, err
	}
	eo := a.groupsEngine(client, p, o.Arm, &o)
	if eo.Program, err = armTopology(q, o.Arm, m.Bundle.Plan, scoring).Program(); err != nil {
		return nil, err
	}
	r := &GroupRunning{Arm: o.Arm, Model: m.Ref, Digest: m.Digest, Group: eo.Group, Topic: topicOf(p, o.Arm)}
	return a.runGroup(ctx, p, client, eo, r, &o)
}

// RunMerge merges the topics of the arms of an experiment with groups into the sink and the dead letters of the pipeline, until ctx ends.
// It returns what was done; nil if it did not begin.
func (a *App) RunMerge(ctx context.Context, o GroupOptions) (*GroupRan, error) {
	p, client, split, err := a.openGroups(ctx, "ab merge", &o)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if err := a.persist(ctx, func() {}, func() error { return createArmTopics(ctx, client, p, split.Arms) }); err != nil {
		return nil, err
	}
	m, err := newMerger(p, split, a.Now, a.Log)
	if err != nil {
		return nil, err
	}
	eo := a.groupsEngine(client, p, mergeName, &o)
	eo.LetterGroup, eo.LetterHeaders = p.Group, m.letterHeaders
	eo.LetterCompat, eo.Breaker = engine.Compat(p.DeadLetter.Compat), engine.Breaker(p.DeadLetter.Breaker)
	if eo.Program, err = mergeTopology(p, m).Program(); err != nil {
		return nil, err
	}
	return a.runGroup(ctx, p, client, eo, &GroupRunning{Group: eo.Group, Topic: p.Sink.Topic, merger: m}, &o)
}

// openGroups reads the pipeline file and what the experiment is that has begun. The caller closes the client.
func (a *App) openGroups(ctx context.Context, op string, o *GroupOptions) (p *config.Pipeline, client *kafka.Client, split *rollout.Split, err error) {
	if p, err = a.Load(o.File, o.Set); err != nil {
		return nil, nil, nil, err
	}
	if err = withGroups(p, op, o.File); err != nil {
		return nil, nil, nil, err
	}
	if client, err = a.groupsClient(p); err != nil {
		return nil, nil, nil, err
	}
	err = a.persist(ctx, func() {}, func() (err error) {
		split, err = runningGroups(ctx, client, p, op)
		return err
	})
	if err != nil {
		client.Close()
		return nil, nil, nil, err
	}
	return p, client, split, nil
}

// runGroup runs the engine of an arm, or of the merge, which pauses and resumes as the pipeline does.
func (a *App) runGroup(ctx context.Context, p *config.Pipeline, client *kafka.Client, eo engine.Options, r *GroupRunning, o *GroupOptions) (*GroupRan, error) {
	e, err := engine.New(eo)
	if err != nil {
		return nil, err
	}
	r.engine = e
	if o.HTTP != "" {
		stop, err := a.serveEngine(ctx, o.HTTP, e, eo.Program, r.metrics()...)
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	if o.Started != nil {
		o.Started(r)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	followed, err := a.obey(ctx, client, p, func(rs []record.Raw) { a.apply(ctx, rs, e) }, e.Wait)
	if err != nil {
		return nil, err
	}
	err = e.Run(ctx)
	cancel()
	<-followed
	return r.Stats(), err
}

// settled wants groups without members, and waits for what transactions of theirs have under way: what they have committed is what counts
// then, and stays so. Else it says which group has members.
func settled(ctx context.Context, client *kafka.Client, op, hint string, groups []string) error {
	for _, g := range groups {
		members, _, err := client.Members(ctx, g)
		if err != nil {
			return err
		}
		if len(members) == 0 {
			if err := client.Settle(ctx, g); err != nil {
				return err
			}
			continue
		}
		var hosts []string
		for _, m := range members {
			hosts = append(hosts, m.Host)
		}
		slices.Sort(hosts)
		return &Error{
			Code: Usage, Op: op, Where: "group " + g, Err: fmt.Errorf("it has %d members, on %s", len(members), strings.Join(slices.Compact(hosts), ", ")),
			Hint: hint + "; one that was killed counts until its session has timed out, after some seconds",
		}
	}
	return nil
}

// groupsTimeout bounds the requests by which an experiment begins or ends.
const groupsTimeout = time.Minute
