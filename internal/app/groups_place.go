package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"millrace.dev/internal/assign"
	"millrace.dev/internal/config"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/rollout"
)

// StartGroups begins an experiment with groups: it has the arms' groups begin where production's is, and the merge behind what is in the
// arms' topics, and marks production's offsets. Production must be stopped. All of it can be done again if it fails halfway: the mark comes
// last. Where the experiment runs already the weights of the pipeline file are taken over, with as few keys as possible moved.
func (a *App) StartGroups(ctx context.Context, o GroupsOptions) (*GroupsPlaced, error) {
	const op = "ab start"
	p, err := a.groupsPipeline(op, o.File, o.Set)
	if err != nil {
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
	name, err := markOf(ctx, client, p)
	if err != nil {
		return nil, err
	}
	if name != "" {
		return a.reweigh(ctx, client, p, &o)
	}
	split, err := a.groupsSplit(ctx, p, nil)
	if err != nil {
		return nil, err
	}
	placed := &GroupsPlaced{Experiment: split.Experiment, Group: p.Group, Topic: p.Source.Topic, Arms: split.Arms}
	if err := atRest(ctx, client, op, "stop millrace run, and what else reads the topic for this pipeline, first", allGroups(p, split, p.Group)...); err != nil {
		return nil, err
	}
	if err := createArmTopics(ctx, client, p, split.Arms); err != nil {
		return nil, err
	}
	begin, err := whereProductionIs(ctx, client, p)
	if err != nil {
		return nil, err
	}
	placed.At = begin.Offsets(p.Source.Topic)
	if err := placeArms(ctx, client, p, split, placed.At); err != nil {
		return nil, err
	}
	g := &rollout.Groups{Split: split, By: a.actor(o.By), Reason: o.Reason, At: a.Now().UnixMilli()}
	if err := writeGroups(ctx, client, p, g); err != nil {
		return nil, err
	}
	return placed, markProduction(ctx, client, p, begin, split.Experiment)
}

func (a *App) groupsClient(p *config.Pipeline) (*kafka.Client, error) {
	cluster, err := a.cluster(p)
	if err != nil {
		return nil, err
	}
	return kafka.New(cluster)
}

// allGroups returns the groups of an experiment, and more.
func allGroups(p *config.Pipeline, split *rollout.Split, more ...string) []string {
	groups := append(slices.Clone(more), groupOf(p, mergeName))
	for i := range split.Arms {
		groups = append(groups, groupOf(p, split.Arms[i].Name))
	}
	return groups
}

// reweigh takes the weights of the pipeline file over into an experiment that runs.
func (a *App) reweigh(ctx context.Context, client *kafka.Client, p *config.Pipeline, o *GroupsOptions) (*GroupsPlaced, error) {
	was, err := runningGroups(ctx, client, p, "ab start")
	if err != nil {
		return nil, err
	}
	split, err := a.groupsSplit(ctx, p, was)
	if err != nil {
		return nil, err
	}
	same := len(split.Arms) == len(was.Arms)
	for i := range split.Arms {
		same = same && split.Arms[i].Name == was.Arms[i].Name
	}
	if !same || split.Salt != was.Salt || split.Key != was.Key {
		return nil, &Error{
			Code: Usage, Op: "ab start", Where: o.File, Err: errors.New("the experiment runs with other arms, another key or another salt"),
			Hint: "weights and the override can be changed while it runs; for the rest stop the arms and the merge, and then millrace ab stop and millrace ab start",
		}
	}
	moved, err := was.Allocation().Moved(split.Allocation())
	if err != nil {
		return nil, err
	}
	g := &rollout.Groups{Split: split, By: a.actor(o.By), Reason: o.Reason, At: a.Now().UnixMilli()}
	if err := writeGroups(ctx, client, p, g); err != nil {
		return nil, err
	}
	return &GroupsPlaced{
		Experiment: split.Experiment, Group: p.Group, Topic: p.Source.Topic, Arms: split.Arms, Already: true, Moved: float64(moved) / assign.Slots,
	}, nil
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
		source := kafka.Positions{}
		for partition, offset := range at {
			source.Set(p.Source.Topic, partition, kafka.Position{Offset: offset})
		}
		if err := client.Place(ctx, groupOf(p, arm), source); err != nil {
			return err
		}
		// What a transaction of a dead instance has written stands below the end as well. It will be aborted, as the instance's group has
		// moved on.
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

// StopGroups ends an experiment with groups: it has production go on behind what the merge has written, and takes away the mark. The arms
// and the merge must be stopped.
func (a *App) StopGroups(ctx context.Context, o GroupsOptions) (*GroupsPlaced, error) {
	const op = "ab stop"
	p, err := a.groupsPipeline(op, o.File, o.Set)
	if err != nil {
		return nil, err
	}
	client, err := a.groupsClient(p)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, groupsTimeout)
	defer cancel()
	split, err := runningGroups(ctx, client, p, op)
	if err != nil {
		return nil, err
	}
	if err := atRest(ctx, client, op, "stop the merge and then the arms first", allGroups(p, split, p.Group)...); err != nil {
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
	if err := markProduction(ctx, client, p, at, ""); err != nil {
		return nil, err
	}
	g := &rollout.Groups{By: a.actor(o.By), Reason: o.Reason, At: a.Now().UnixMilli()}
	placed := &GroupsPlaced{Experiment: split.Experiment, Group: p.Group, Topic: p.Source.Topic, Arms: split.Arms, At: merged}
	return placed, writeGroups(ctx, client, p, g)
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
		var r recordOf
		s.Read(0, &r.Raw)
		at, ok := r.offset()
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
	Merging    int   // instances of the merge
	Merged     int64 // records of the source that are still to be merged: offsets, markers of transactions included
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
	name, err := markOf(ctx, client, p)
	if err != nil || name == "" {
		return nil, err
	}
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
	least := int64(math.MaxInt64)
	sizes := g.Split.Allocation().Sizes()
	for i := range g.Split.Arms {
		arm := ArmProgress{Name: g.Split.Arms[i].Name, Model: g.Split.Arms[i].Model, Group: groupOf(p, g.Split.Arms[i].Name), Weight: float64(sizes[i]) / assign.Slots}
		if members, _, err = client.Members(ctx, arm.Group); err != nil {
			return nil, err
		}
		arm.Instances = len(members)
		if arm.Lag, err = sumLag(ctx, client, arm.Group, p.Source.Topic); err != nil {
			return nil, err
		}
		if arm.Ahead, err = sumLag(ctx, client, s.MergeGroup, topicOf(p, arm.Name)); err != nil {
			return nil, err
		}
		least = min(least, arm.Lag)
		s.Merged = max(s.Merged, arm.Lag)
		s.Arms = append(s.Arms, arm)
	}
	for i := range s.Arms {
		if arm := &s.Arms[i]; arm.Lag > least && arm.Ahead <= int64(len(g.Split.Arms)) {
			s.Waits = append(s.Waits, arm.Name)
		}
	}
	return s, nil
}

func sumLag(ctx context.Context, client *kafka.Client, group, topic string) (int64, error) {
	lag, err := client.Lag(ctx, group, topic)
	var n int64
	for _, l := range lag {
		n += l
	}
	return n, err
}
