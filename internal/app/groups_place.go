package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"

	"millrace.dev/internal/assign"
	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/rollout"
	"millrace.dev/record"
)

// startGroups begins an experiment with groups: it has the arms' groups begin where production's is, and the merge behind what is in the
// arms' topics, and marks production's offsets. Production must be stopped. All of it can be done again if it fails halfway: what the
// control topic says comes last. Where the experiment runs already the weights of the pipeline file are taken over, with as few keys as possible moved.
func (a *App) startGroups(ctx context.Context, p *config.Pipeline, reg *registry.Registry, o *ABOptions) (*ABStarted, error) {
	const op = "ab start"
	if err := withGroups(p, op, o.File); err != nil {
		return nil, err
	}
	client, err := a.groupsClient(p)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, groupsTimeout)
	defer cancel()
	if err := needTopics(ctx, client, true, controlTopics(p)...); err != nil {
		return nil, err
	}
	w := &groupsChange{app: a, p: p, registry: reg, client: client, o: o}
	g, err := readGroups(ctx, client, p)
	if err != nil {
		return nil, err
	}
	if g.Split != nil {
		return w.reweigh(ctx)
	}
	return w.start(ctx)
}

// groupsChange begins an experiment with groups, or gives it other weights.
type groupsChange struct {
	app      *App
	p        *config.Pipeline
	registry *registry.Registry
	client   *kafka.Client
	o        *ABOptions
}

func (w *groupsChange) start(ctx context.Context) (*ABStarted, error) {
	const op = "ab start"
	control, err := w.app.readControl(ctx, w.client, w.p)
	if err != nil {
		return nil, err
	}
	if now := control.Current; now != nil && now.Split != nil {
		return nil, &Error{
			Code: Usage, Op: op, Where: w.p.Group, Err: fmt.Errorf("the experiment %s is running in the instances of the pipeline", now.Split.Experiment),
			Hint: "end it first: millrace ab stop",
		}
	}
	split, err := w.app.groupsSplit(ctx, w.p, nil)
	if err != nil {
		return nil, err
	}
	if err := settled(ctx, w.client, op, "stop millrace run, and the arms and the merge of an experiment before, first", allGroups(w.p, split)); err != nil {
		return nil, err
	}
	if err := createArmTopics(ctx, w.client, w.p, split.Arms); err != nil {
		return nil, err
	}
	begin, err := whereProductionIs(ctx, w.client, w.p)
	if err != nil {
		return nil, err
	}
	from := begin.Offsets(w.p.Source.Topic)
	if err := placeArms(ctx, w.client, w.p, split, from); err != nil {
		return nil, err
	}
	if err := markProduction(ctx, w.client, w.p, begin, split.Experiment); err != nil {
		return nil, err
	}
	return &ABStarted{Group: w.p.Group, Split: split, Changed: true, Groups: true, From: from}, w.tell(ctx, split, nil)
}

// tell notes in the registry, and says in the control topic, which arms there are.
func (w *groupsChange) tell(ctx context.Context, split, was *rollout.Split) error {
	at := w.app.Now().UnixMilli()
	to := &rollout.Deployment{Epoch: at, Model: split.Arms[0].Model, Digest: split.Arms[0].Digest, Split: split, By: w.o.By, Reason: w.o.Reason, At: at}
	if err := noteArms(ctx, w.registry, w.p, to, was, 0); err != nil {
		return err
	}
	return writeGroups(ctx, w.client, w.p, &rollout.Groups{Split: split, By: w.o.By, Reason: w.o.Reason, At: at})
}

func (a *App) groupsClient(p *config.Pipeline) (*kafka.Client, error) {
	cluster, err := a.cluster(p)
	if err != nil {
		return nil, err
	}
	return kafka.New(cluster)
}

// allGroups returns the groups of production and of an experiment.
func allGroups(p *config.Pipeline, split *rollout.Split) []string {
	groups := []string{p.Group, groupOf(p, mergeName)}
	for i := range split.Arms {
		groups = append(groups, groupOf(p, split.Arms[i].Name))
	}
	return groups
}

// reweigh takes the weights of the pipeline file over into an experiment that runs.
func (w *groupsChange) reweigh(ctx context.Context) (*ABStarted, error) {
	was, err := runningGroups(ctx, w.client, w.p, "ab start")
	if err != nil {
		return nil, err
	}
	split, err := w.app.groupsSplit(ctx, w.p, was)
	if err != nil {
		return nil, err
	}
	same := len(split.Arms) == len(was.Arms)
	for i := range split.Arms {
		same = same && split.Arms[i].Name == was.Arms[i].Name
	}
	if !same || split.Salt != was.Salt || split.Key != was.Key {
		return nil, &Error{
			Code: Usage, Op: "ab start", Where: w.o.File, Err: errors.New("the experiment runs with other arms, another key or another salt"),
			Hint: "weights and the override can be changed while it runs; for the rest stop the arms and the merge, and then millrace ab stop and millrace ab start",
		}
	}
	out := &ABStarted{Group: w.p.Group, Split: split, Groups: true, Changed: !reflect.DeepEqual(was, split), Moved: moved(was, split, 0)}
	if !out.Changed {
		return out, nil
	}
	return out, w.tell(ctx, split, was)
}

// whereProductionIs returns where production goes on in all partitions of its source: at what it has committed, or where the topic begins
// by now, or by source.start.
func whereProductionIs(ctx context.Context, client *kafka.Client, p *config.Pipeline) (kafka.Positions, error) {
	committed, err := client.Committed(ctx, p.Group)
	if err != nil {
		return nil, err
	}
	start, err := client.StartOffsets(ctx, p.Source.Topic)
	if err != nil {
		return nil, err
	}
	end, err := client.EndOffsets(ctx, p.Source.Topic, false)
	if err != nil {
		return nil, err
	}
	at := kafka.Positions{}
	for partition := range end {
		pos, ok := committed[p.Source.Topic][partition]
		switch {
		case !ok && p.Source.Start == "latest":
			pos.Offset = end[partition]
		default:
			pos.Offset = min(max(pos.Offset, start[partition]), end[partition])
		}
		at.Set(p.Source.Topic, partition, pos)
	}
	return at, nil
}

// placeArms has the arms begin at offsets of the source, and the merge behind what the arms' topics hold: that is of an experiment before.
func placeArms(ctx context.Context, client *kafka.Client, p *config.Pipeline, split *rollout.Split, at kafka.Offsets) error {
	merge := kafka.Positions{}
	for i := range split.Arms {
		arm := split.Arms[i].Name
		if err := client.Place(ctx, groupOf(p, arm), kafka.PositionsOf(p.Source.Topic, at)); err != nil {
			return err
		}
		// What an open transaction of a dead instance has written stands below this end. It cannot be committed any more: the group does not
		// know the instance.
		end, err := client.EndOffsets(ctx, topicOf(p, arm), false)
		if err != nil {
			return err
		}
		for partition, offset := range end {
			merge.Set(topicOf(p, arm), partition, kafka.Position{Offset: offset})
		}
	}
	return client.Place(ctx, groupOf(p, mergeName), merge)
}

// markProduction sets production's offsets, and says by their metadata which experiment the records go to; "" is none.
func markProduction(ctx context.Context, client *kafka.Client, p *config.Pipeline, at kafka.Positions, experiment string) error {
	to := kafka.Positions{}
	for partition, pos := range at[p.Source.Topic] {
		pos.Metadata = marked(pos.Metadata, experiment)
		to.Set(p.Source.Topic, partition, pos)
	}
	return client.Place(ctx, p.Group, to)
}

// stopGroups ends an experiment with groups: it has production go on behind what the merge has written, and takes away the mark. The arms
// and the merge must be stopped. It can be done again if it fails halfway.
func (a *App) stopGroups(ctx context.Context, p *config.Pipeline, reg *registry.Registry, o *ABOptions) (*ABStopped, error) {
	const op = "ab stop"
	client, err := a.groupsClient(p)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, groupsTimeout)
	defer cancel()
	g, err := readGroups(ctx, client, p)
	if err == nil && g.Split == nil {
		err = unmark(ctx, client, p)
	}
	if err != nil {
		return nil, err
	}
	split := g.Split
	if err := settled(ctx, client, op, "stop the merge and the arms first", allGroups(p, split)); err != nil {
		return nil, err
	}
	merged, err := whereMergeIs(ctx, client, p, split)
	if err != nil {
		return nil, err
	}
	committed, err := client.Committed(ctx, p.Group)
	if err != nil {
		return nil, err
	}
	at := kafka.Positions{}
	for partition, offset := range merged {
		at.Set(p.Source.Topic, partition, kafka.Position{Offset: offset, Metadata: committed[p.Source.Topic][partition].Metadata})
	}
	now := a.Now().UnixMilli()
	to := &rollout.Deployment{Epoch: now, By: o.By, Reason: o.Reason, At: now}
	for i := 1; i < len(split.Arms); i++ {
		if err := noteEnd(ctx, reg, p, to, split, &split.Arms[i]); err != nil {
			return nil, err
		}
	}
	if err := markProduction(ctx, client, p, at, ""); err != nil {
		return nil, err
	}
	if err := writeGroups(ctx, client, p, &rollout.Groups{By: o.By, Reason: o.Reason, At: now}); err != nil {
		return nil, err
	}
	a.emptyArmTopics(ctx, client, p, split)
	return &ABStopped{Group: p.Group, Experiment: split.Experiment, From: merged}, nil
}

// unmark takes away the mark of an experiment that has not begun, since its start failed: production goes on where it is. It returns the error
// that there was nothing to end.
func unmark(ctx context.Context, client *kafka.Client, p *config.Pipeline) error {
	name, err := markOf(ctx, client, p)
	if err != nil {
		return err
	}
	if name != "" {
		committed, err := client.Committed(ctx, p.Group)
		if err != nil {
			return err
		}
		if err := markProduction(ctx, client, p, committed, ""); err != nil {
			return err
		}
	}
	return &Error{Code: Nothing, Op: "ab stop", Where: p.Group, Err: errNoRunningAB}
}

// emptyArmTopics deletes what the arms have predicted: nobody reads it any more.
func (a *App) emptyArmTopics(ctx context.Context, client *kafka.Client, p *config.Pipeline, split *rollout.Split) {
	for i := range split.Arms {
		topic := topicOf(p, split.Arms[i].Name)
		end, err := client.EndOffsets(ctx, topic, false)
		if err == nil {
			err = client.DeleteRecords(ctx, topic, end)
		}
		if err != nil {
			a.Log.LogAttrs(ctx, slog.LevelWarn, "what an arm has predicted cannot be deleted: nobody reads it any more", slog.String("topic", topic), slog.Any("error", err),
				slog.String("hint", "delete the topic"))
		}
	}
}

// whereMergeIs returns the offsets of the source before which everything is merged, and from which on nothing is. That is the least, over
// the arms, of the record that led to the next result; or, where the merge has all results of an arm, of where the arm is.
func whereMergeIs(ctx context.Context, client *kafka.Client, p *config.Pipeline, split *rollout.Split) (kafka.Offsets, error) {
	merge, err := client.Committed(ctx, groupOf(p, mergeName))
	if err != nil {
		return nil, err
	}
	at := kafka.Offsets{}
	for i := range split.Arms {
		arm, topic := split.Arms[i].Name, topicOf(p, split.Arms[i].Name)
		next, err := nextResults(ctx, client, topic, merge.Offsets(topic))
		if err != nil {
			return nil, err
		}
		source, err := client.Committed(ctx, groupOf(p, arm))
		if err != nil {
			return nil, err
		}
		for partition, pos := range source[p.Source.Topic] {
			offset, ok := next[partition]
			if !ok {
				offset = pos.Offset
			}
			if was, ok := at[partition]; !ok || offset < was {
				at[partition] = offset
			}
		}
	}
	return at, nil
}

// nextResults returns the offsets of the source that led to the first results of an arm at or after given offsets. A partition without
// any is absent.
func nextResults(ctx context.Context, client *kafka.Client, topic string, from kafka.Offsets) (kafka.Offsets, error) {
	start, err := client.StartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	next := kafka.Offsets{}
	rc := kafka.ReadConfig{From: map[string]kafka.Offsets{topic: {}}}
	for partition, offset := range start {
		rc.From[topic][partition] = max(offset, from[partition])
	}
	// It waits until open transactions end: an arm that was killed may have committed its offsets already.
	err = client.Read(ctx, rc, func(s kafka.Step) error {
		if _, ok := next[s.Partition]; ok || s.Len() == 0 {
			return nil
		}
		var r record.Raw
		s.Read(0, &r)
		at, ok := offsetOf(r.Headers)
		if !ok {
			return &Error{
				Code: Failed, Op: "read topic", Where: fmt.Sprintf("%s/%d/%d", topic, s.Partition, r.Offset), Err: errNoResult,
				Hint: "something else has written to this topic: start the merge, which makes a dead letter of the record",
			}
		}
		next[s.Partition] = at
		return nil
	})
	return next, err
}

// GroupsStatus is how far an experiment with groups is.
type GroupsStatus struct {
	Experiment string
	Arms       []ArmProgress
	MergeGroup string
	Merging    int // instances of the merge
	// Waits are the names of the arms that the merge waits for: others have results that they have not.
	Waits []string
}

// ArmProgress is how far an arm is.
type ArmProgress struct {
	Name, Model, Group string
	Weight             float64 // the share of keys, from 0 to 1
	Instances          int
	Lag                int64 // offsets of the source that it has not predicted
	Ahead              int64 // results that wait for the merge: offsets, markers of transactions included
}

// GroupsStatus returns how far the experiment of a pipeline is; nil where no experiment with groups runs.
func (a *App) GroupsStatus(ctx context.Context, p *config.Pipeline, client *kafka.Client) (*GroupsStatus, error) {
	g, err := readGroups(ctx, client, p)
	if err != nil || g.Split == nil {
		return nil, err
	}
	s := &GroupsStatus{Experiment: g.Split.Experiment, MergeGroup: groupOf(p, mergeName)}
	members, _, err := client.Members(ctx, s.MergeGroup)
	if err != nil {
		return nil, err
	}
	s.Merging = len(members)
	least, partitions := int64(math.MaxInt64), 0
	sizes := g.Split.Allocation().Sizes()
	for i := range g.Split.Arms {
		arm := ArmProgress{Name: g.Split.Arms[i].Name, Model: g.Split.Arms[i].Model, Group: groupOf(p, g.Split.Arms[i].Name), Weight: float64(sizes[i]) / assign.Slots}
		if members, _, err = client.Members(ctx, arm.Group); err != nil {
			return nil, err
		}
		arm.Instances = len(members)
		if arm.Lag, partitions, err = sumLag(ctx, client, arm.Group, p.Source.Topic); err != nil {
			return nil, err
		}
		if arm.Ahead, _, err = sumLag(ctx, client, s.MergeGroup, topicOf(p, arm.Name)); err != nil {
			return nil, err
		}
		least = min(least, arm.Lag)
		s.Arms = append(s.Arms, arm)
	}
	for i := range s.Arms {
		if arm := &s.Arms[i]; arm.Lag > least && arm.Ahead <= int64(partitions) { // the rest are markers
			s.Waits = append(s.Waits, arm.Name)
		}
	}
	return s, nil
}

// sumLag returns the lag of all partitions of a topic, and how many there are.
func sumLag(ctx context.Context, client *kafka.Client, group, topic string) (n int64, partitions int, err error) {
	lag, err := client.Lag(ctx, group, topic)
	for _, l := range lag {
		n += l
	}
	return n, len(lag), err
}
