package streamtest

import (
	"bytes"
	"slices"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// restore reads the changelog of a store into it.
func (d *Driver) restore(state *store.Task, s task.StoreSpec, partition int32) error {
	log := d.changelogs[changelog{s.Name, partition}]
	if log == nil || !s.Logged {
		return nil
	}
	var list []store.Entry
	for k, v := range log.byKey {
		list = append(list, store.Entry{Key: []byte(k), Value: v})
	}
	slices.SortFunc(list, func(a, b store.Entry) int { return bytes.Compare(a.Key, b.Key) })
	return state.Restore(s.Name, list, log.next)
}

// committed returns how many records of a topic's partition a task has processed for good.
func (d *Driver) committed(id task.ID, name string) int {
	return d.offsets[position{name, id.Partition}]
}

// position is a partition of a topic.
type position struct {
	topic     string
	partition int32
}

// Send writes a record.
func (r *running) Send(m *task.Message) *record.Problem {
	t := r.driver.topic(m.Topic)
	raw := record.Raw{
		Key: bytes.Clone(m.Key), Value: bytes.Clone(m.Value), Headers: slices.Clone(m.Headers), Topic: m.Topic, Timestamp: m.Timestamp,
	}
	raw.Partition = m.Partition
	if m.Partition == task.AnyPartition {
		raw.Partition = t.place(m.Key, r.id.Partition)
	}
	r.out = append(r.out, raw)
	return nil
}

// Change writes a change of a store.
func (r *running) Change(name string, key, value []byte) error {
	r.changes[name] = append(r.changes[name], store.Entry{Key: bytes.Clone(key), Value: bytes.Clone(value)})
	return nil
}

// Drop notes a record that was dropped.
func (r *running) Drop(source *record.Raw, d task.Drop) {
	drop := Drop{Node: r.driver.program.Nodes[d.Node].Name, Problem: d.Problem}
	if source != nil {
		drop.Record = *source
	}
	r.drops = append(r.drops, drop)
}

// tasksInOrder returns the tasks by sub-topology and partition.
func (d *Driver) tasksInOrder() []*running {
	list := make([]*running, 0, len(d.tasks))
	for _, r := range d.tasks {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *running) int {
		if a.id.Sub != b.id.Sub {
			return a.id.Sub - b.id.Sub
		}
		return int(a.id.Partition - b.id.Partition)
	})
	return list
}

// feed gives a task the records that are there for it, and tells whether there were any.
func (r *running) feed() bool {
	any := false
	for i, s := range r.driver.program.Subs[r.id.Sub].Sources {
		t := r.driver.topic(s.Topic)
		if int(r.id.Partition) >= len(t.partitions) {
			continue
		}
		log := t.partitions[r.id.Partition]
		if n := len(log); n > r.fed[i] {
			r.task.Add(i, run(slices.Clone(log[r.fed[i]:n])))
			r.fed[i] = n
			any = true
		}
	}
	return any
}

// work processes what is there.
func (d *Driver) work() {
	d.t.Helper()
	d.applyGlobals()
	for _, r := range d.tasksInOrder() {
		r.feed()
		for {
			n, err := r.task.Process(batch)
			if err != nil {
				d.t.Fatalf("streamtest: %v", err)
			}
			if n < batch {
				break
			}
		}
	}
}

// batch is how many records a task processes in a call.
const batch = 1000

// applyGlobals reads what is new for global tables.
func (d *Driver) applyGlobals() {
	for _, g := range d.program.Globals {
		t := d.topic(g.Topic)
		read := d.globalRead[g.Name]
		for p, log := range t.partitions {
			for _, r := range log[read[p]:] {
				if problem := d.globals[g.Name].Apply(&r); problem != nil {
					d.drops = append(d.drops, Drop{Node: g.Name, Record: r, Problem: *problem})
				}
			}
			read[p] = len(log)
		}
	}
}

// settle processes and commits until nothing moves any more.
func (d *Driver) settle() {
	d.t.Helper()
	for {
		d.work()
		if d.byHand {
			return
		}
		if !d.commit() {
			return
		}
	}
}

// Commit ends the round: what was processed counts, and what was written can be read.
func (d *Driver) Commit() {
	d.t.Helper()
	for d.commit() {
		d.work()
	}
}

// commit ends a round, and tells whether it has written to a topic that the application reads.
func (d *Driver) commit() bool {
	d.t.Helper()
	again := false
	for _, r := range d.tasksInOrder() {
		if err := r.task.Flush(); err != nil {
			d.t.Fatalf("streamtest: %v", err)
		}
	}
	for _, r := range d.tasksInOrder() {
		again = r.commit() || again
	}
	return again
}

// commit makes what a task has done since the last commit count.
func (r *running) commit() bool {
	d := r.driver
	d.t.Helper()
	next := map[string]int64{}
	for name, list := range r.changes {
		next[name] = d.log(changelog{name, r.id.Partition}, list)
	}
	r.state.Seal()
	if err := r.state.Commit(next); err != nil {
		d.t.Fatalf("streamtest: %v", err)
	}
	again := false
	for _, raw := range r.out {
		d.topic(raw.Topic).append(raw)
		again = again || d.isSource(raw.Topic)
	}
	d.drops = append(d.drops, r.drops...)
	r.task.Positions(func(source int, next int64) {
		name := d.program.Subs[r.id.Sub].Sources[source].Topic
		d.offsets[position{name, r.id.Partition}] = int(next)
	})
	r.out, r.drops = nil, nil
	clear(r.changes)
	return again
}

// log appends to a changelog and returns its end.
func (d *Driver) log(c changelog, list []store.Entry) int64 {
	log := d.changelogs[c]
	if log == nil {
		log = &entries{byKey: map[string][]byte{}}
		d.changelogs[c] = log
	}
	for _, e := range list {
		if e.Value == nil {
			delete(log.byKey, string(e.Key))
		} else {
			log.byKey[string(e.Key)] = e.Value
		}
		log.next++
	}
	return log.next
}

func (d *Driver) isSource(name string) bool {
	for _, s := range d.program.Subs {
		if slices.ContainsFunc(s.Sources, func(s task.Source) bool { return s.Topic == name }) {
			return true
		}
	}
	return slices.ContainsFunc(d.program.Globals, func(g *task.Global) bool { return g.Topic == name })
}

// Advance moves the clock, and has done what is due by it.
func (d *Driver) Advance(by time.Duration) {
	d.t.Helper()
	target := d.now.Add(by)
	for {
		next := target
		for _, r := range d.tasks {
			if at := r.task.Next(); !at.IsZero() && at.After(d.now) && at.Before(next) {
				next = at
			}
		}
		d.now = next
		d.settle()
		if !d.now.Before(target) {
			return
		}
	}
}

// Now returns the time of the clock.
func (d *Driver) Now() time.Time { return d.now }

// Crash ends the application without a commit, and starts it again: what was not committed is done again.
func (d *Driver) Crash() {
	d.t.Helper()
	for _, r := range d.tasksInOrder() {
		r.stop()
	}
	clear(d.tasks)
	d.open()
	d.settle()
}

// stop ends a task; what it has not committed is gone.
func (r *running) stop() {
	r.task.Close()
	r.state.Rollback()
	if err := r.state.Close(); err != nil {
		r.driver.t.Errorf("streamtest: close task %s: %v", r.id, err)
	}
}

// Rebalance moves a task to another instance, which has none of its state: what was not committed is done again, and
// the stores are restored from their changelogs.
func (d *Driver) Rebalance(subtopology int, partition int32) {
	d.t.Helper()
	id := task.ID{Sub: subtopology, Partition: partition}
	r := d.tasks[id]
	if r == nil {
		d.t.Fatalf("streamtest: there is no task %s", id)
	}
	r.stop()
	delete(d.tasks, id)
	if err := d.db.Remove(id.String()); err != nil {
		d.t.Fatalf("streamtest: %v", err)
	}
	d.open()
	d.settle()
}
