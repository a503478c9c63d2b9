package streamtest

import (
	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
)

// changelog names a partition of a store's changelog.
type changelog struct {
	store     string
	partition int32
}

// changes is a partition of a changelog.
type changes struct {
	list []logged
	last int64 // the highest stream time at which something was written
}

// logged is a record of a changelog.
type logged struct {
	store.Entry
	at int64 // the highest stream time of the task that was seen up to it
}

// log returns a partition of a changelog.
func (d *Driver) log(c changelog) *changes {
	l := d.changelogs[c]
	if l == nil {
		l = &changes{last: task.NoTime}
		d.changelogs[c] = l
	}
	return l
}

// append adds records and returns the offset that follows. A task that has just begun may not have seen stream time yet,
// but its records are not older than those before them.
func (c *changes) append(list []store.Entry, streamTime int64) int64 {
	c.last = max(c.last, streamTime)
	for _, e := range list {
		c.list = append(c.list, logged{e, c.last})
	}
	return int64(len(c.list))
}

// compacted returns what a changelog holds from an offset on, as late as Kafka may have cleaned it: the last record of
// each key, no deletions from before the offset, and nothing that has been there for longer than the retention, in
// stream time.
func (c *changes) compacted(from int64, s task.StoreSpec) []store.Entry {
	last := map[string]int{}
	for i, e := range c.list {
		last[string(e.Key)] = i
	}
	var list []store.Entry
	for i, e := range c.list {
		expired := s.Retention > 0 && c.last != task.NoTime && e.at < c.last-s.Retention.Milliseconds()
		if int64(i) < from || last[string(e.Key)] != i || expired || e.Value == nil && from == 0 {
			continue
		}
		list = append(list, e.Entry)
	}
	return list
}

// restore reads the changelog of a store into it, from where the store ends.
func (d *Driver) restore(state *store.Task, s task.StoreSpec, partition int32) error {
	c := d.changelogs[changelog{s.Name, partition}]
	if c == nil || !s.Logged {
		return nil
	}
	from, ok := state.Checkpoint(s.Name)
	if !ok {
		from = 0
	}
	return state.Restore(s.Name, c.compacted(from, s), int64(len(c.list)))
}
