package streamtest

import (
	"bytes"
	"slices"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// position is a partition of a topic.
type position struct {
	topic     string
	partition int32
}

// Send writes a record.
func (r *running) Send(m *task.Message) *record.Problem {
	place, problem := m.Place(len(r.driver.topic(m.Topic).partitions))
	if problem != nil {
		return problem
	}
	raw := record.Raw{
		Key: bytes.Clone(m.Key), Value: bytes.Clone(m.Value), Headers: slices.Clone(m.Headers), Topic: m.Topic, Timestamp: m.Timestamp,
	}
	to := r.id.Partition
	if m.Source != nil {
		origin := r.driver.program.Origin(m.Source, new(record.Raw))
		if origin != m.Source {
			to = origin.Partition
		}
		if m.Provenance {
			raw.Headers = append(raw.Headers, source(origin))
		}
		if m.CarryOrigin {
			raw.Headers = append(raw.Headers, record.Header{Key: task.OriginHeader, Value: task.AppendOrigin(nil, m, origin)})
		}
	}
	raw.Partition = place
	if place == task.AnyPartition {
		raw.Partition = r.driver.topic(m.Topic).place(m.Key, to)
	}
	r.out = append(r.out, raw)
	return nil
}

// Change writes a change of a store.
func (r *running) Change(name string, key, value []byte) error {
	r.changes[name] = append(r.changes[name], store.Entry{Key: bytes.Clone(key), Value: bytes.Clone(value)})
	return nil
}

// Drop notes a record that was dropped, and writes its dead letter; as on Kafka there is none where no record led to it.
func (r *running) Drop(source *record.Raw, x task.Drop) {
	p := r.driver.program
	if source != nil {
		source = p.Origin(source, new(record.Raw))
	}
	drop := Drop{Node: p.Nodes[x.Node].Name, Problem: x.Problem, Count: x.Count}
	if source != nil {
		drop.Record = *source
	}
	r.drops = append(r.drops, drop)
	if p.DeadLetters != "" && source != nil && !x.NoLetter {
		r.out = append(r.out, r.driver.letter(source, x))
	}
}

// letter returns a dead letter with its partition.
func (d *Driver) letter(source *record.Raw, x task.Drop) record.Raw {
	l := d.program.Letter(source, x)
	l.Partition = d.topic(l.Topic).place(l.Key, source.Partition)
	if l.Timestamp < 0 {
		l.Timestamp = d.now.UnixMilli()
	}
	return l
}

// feed gives a task the records that are there for it. It also tells of sources that have none, so that the task does
// not wait for them.
func (r *running) feed() {
	for i, s := range r.sources() {
		var log []record.Raw
		if t := r.driver.topics[s.Topic]; int(r.id.Partition) < len(t.partitions) {
			log = t.partitions[r.id.Partition]
		}
		r.task.Add(i, run(slices.Clone(log[r.fed[i]:])))
		r.fed[i] = len(log)
	}
}

// batch is how many records a task processes in a call.
const batch = 1000

// work processes what is there. It is not done when the application has crashed in between.
func (d *Driver) work() (done bool, err error) {
	if err := d.applyGlobals(true); err != nil {
		return false, err
	}
	for _, r := range d.inOrder() {
		r.feed()
		for {
			limit := d.limit()
			n, err := r.task.Process(limit)
			if err != nil {
				return false, err
			}
			d.idle = d.idle && n == 0
			if crashed, err := d.processed(n); crashed || err != nil {
				return false, err
			}
			if n < limit {
				break
			}
		}
		// What runs beside the task comes back when it is processed again: see task.Env.
		if _, err := r.task.Process(0); err != nil {
			return false, err
		}
	}
	return true, nil
}

// applyGlobals reads what is new for global tables. What they drop is noted the first time only.
func (d *Driver) applyGlobals(first bool) error {
	for _, g := range d.program.Globals {
		t := d.topic(g.Topic)
		read := d.globalRead[g.Name]
		for p, log := range t.partitions {
			for _, r := range log[read[p]:] {
				problem := d.globals[g.Name].Apply(&r)
				if problem == nil || !first {
					continue
				}
				d.drops = append(d.drops, Drop{Node: g.Name, Record: r, Problem: *problem, Count: 1})
				if d.program.DeadLetters != "" {
					l := d.letter(&r, task.Drop{Node: g.Node, Problem: *problem})
					d.topic(l.Topic).append(l)
				}
			}
			read[p] = len(log)
		}
	}
	return nil
}

// settle processes and commits until nothing moves any more.
func (d *Driver) settle() error {
	for {
		done, err := d.work()
		if err != nil {
			return err
		}
		if !done { // it has crashed, and is to do its work again
			continue
		}
		if d.o.byHand {
			return nil
		}
		if again, err := d.commit(); err != nil || !again {
			return err
		}
	}
}

// Commit ends the round: what was processed counts, and what was written can be read. What that leads to is processed
// and committed too.
func (d *Driver) Commit() {
	d.t.Helper()
	d.do(func() error {
		for {
			again, err := d.commit()
			if err != nil || !again {
				return err
			}
			for done := false; !done; {
				if done, err = d.work(); err != nil {
					return err
				}
			}
		}
	})
}

// commit ends a round, and tells whether there is more to do.
func (d *Driver) commit() (again bool, err error) {
	if hit, err := d.hit(BeforeFlush); hit || err != nil {
		return true, err
	}
	tasks := d.inOrder()
	for _, r := range tasks {
		if err := r.task.Flush(); err != nil {
			return false, err
		}
		r.state.Seal()
	}
	if hit, err := d.hit(BeforeCommit); hit || err != nil {
		return true, err
	}
	ends := make([]map[string]int64, len(tasks))
	for i, r := range tasks {
		ends[i] = r.publish()
		again = r.send() || again
	}
	if hit, err := d.hit(AfterCommit); hit || err != nil {
		return true, err
	}
	for i, r := range tasks {
		if err := r.state.Commit(ends[i]); err != nil {
			return false, err
		}
	}
	d.takeUp()
	d.idle = true
	return again, nil
}

// publish makes the changes of a task's stores and its positions count. It returns the ends of the changelogs.
func (r *running) publish() map[string]int64 {
	d := r.driver
	ends := map[string]int64{}
	for name, list := range r.changes {
		ends[name] = d.log(changelog{name, r.id.Partition}).append(list, r.task.StreamTime())
	}
	clear(r.changes)
	r.task.Positions(func(source int, next int64) {
		d.offsets[position{r.sources()[source].Topic, r.id.Partition}] = int(next)
	})
	return ends
}

// send makes the records count that a task has written, and tells whether the application itself reads any of them.
func (r *running) send() (again bool) {
	d := r.driver
	for _, raw := range r.out {
		d.topic(raw.Topic).append(raw)
		again = again || d.isSource(raw.Topic)
	}
	d.drops = append(d.drops, r.drops...)
	r.out, r.drops = nil, nil
	return again
}

func (d *Driver) isSource(name string) bool {
	for _, s := range d.program.Subs {
		if slices.ContainsFunc(s.Sources, func(s task.Source) bool { return s.Topic == name }) {
			return true
		}
	}
	return slices.ContainsFunc(d.program.Globals, func(g *task.Global) bool { return g.Topic == name })
}

// Jump moves the clock at once, as when the machine has slept: what was due several times is done once, as Kafka Streams'
// TopologyTestDriver does.
func (d *Driver) Jump(by time.Duration) {
	d.t.Helper()
	d.now = d.now.Add(by)
	d.do(d.settle)
}

// Advance moves the clock, and has done what is due by it on the way, each at its time.
func (d *Driver) Advance(by time.Duration) {
	d.t.Helper()
	d.do(func() error {
		for target := d.now.Add(by); ; {
			next := target
			for _, r := range d.tasks {
				if at := r.task.Next(); !at.IsZero() && at.After(d.now) && at.Before(next) {
					next = at
				}
			}
			d.now = next
			if err := d.settle(); err != nil {
				return err
			}
			if !d.now.Before(target) {
				return nil
			}
		}
	})
}
