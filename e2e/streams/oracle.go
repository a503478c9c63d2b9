//go:build unix

// Package streams tests stream applications on real brokers, while their instances and brokers are killed, stopped and robbed
// of their state: one with a join, a count and a window, and one with a join by a foreign key and sessions.
package streams

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"millrace.dev/e2e/streams/topology"
)

// Event is a record of the topic of events.
type Event struct {
	Partition int32
	Offset    int64
	User      string
	Group     string
	Number    int
	Timestamp int64
	Undecoded string // the value, if it is none of an event
}

// Value returns the value of the record.
func (e *Event) Value() string {
	if e.Undecoded != "" {
		return e.Undecoded
	}
	return e.Group + "," + strconv.Itoa(e.Number)
}

// refused tells whether the application should refuse the event.
func (e *Event) refused() bool { return e.Undecoded != "" || e.Number%topology.Poison == 0 }

func (e *Event) source() string {
	return fmt.Sprintf("%s/%d/%d", topology.Events, e.Partition, e.Offset)
}

// Output is a committed record of one of the application's topics.
type Output struct {
	Partition int32
	Offset    int64
	Key       string
	Value     string
	Count     int64  // of the counting topics
	Window    int64  // the start of the window
	Source    string // topic/partition/offset of the event
}

// Outputs are what the application has written, in the order of each partition.
type Outputs struct {
	Joined, Counts, Windows, Letters []Output
	// CountState and WindowState are what the changelogs hold: the counts by key, and by GROUP@START.
	CountState, WindowState map[string]int64
}

// Judge compares what an application has written with what follows from the events alone. users are the names by user.
// It returns every kind of violation, with an example and their number.
func Judge(events []Event, users map[string]string, out *Outputs) []string {
	j := &judge{bySource: map[string]*Event{}, count: map[string]int{}, example: map[string]string{}}
	for i := range events {
		j.bySource[events[i].source()] = &events[i]
	}
	j.joined(events, users, out)
	j.counts(events, out)
	j.windows(events, out)
	return j.list()
}

// list returns every kind of violation, with an example and their number.
func (j *judge) list() []string {
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(j.count)) {
		list = append(list, fmt.Sprintf("%s: %d, for example %s", kind, j.count[kind], j.example[kind]))
	}
	return list
}

type judge struct {
	bySource map[string]*Event // of an application of events
	count    map[string]int
	example  map[string]string
}

func (j *judge) violation(kind, format string, args ...any) {
	if j.count[kind]++; j.count[kind] == 1 {
		j.example[kind] = fmt.Sprintf(format, args...)
	}
}

// event returns the event of an output.
func (j *judge) event(topic string, o *Output) *Event {
	e := j.bySource[o.Source]
	if e == nil {
		j.violation("an output of no event", "%s/%d/%d has the source %q", topic, o.Partition, o.Offset, o.Source)
	}
	return e
}

// joined checks that each event has one result: a joined record or a dead letter; and the order of each partition.
func (j *judge) joined(events []Event, users map[string]string, out *Outputs) {
	seen := map[string]int{}
	order := map[string]int64{}
	for i := range out.Joined {
		o := &out.Joined[i]
		e := j.event(topology.Joined, o)
		if e == nil {
			continue
		}
		seen[o.Source]++
		name, ok := users[e.User]
		if !ok {
			name = "nobody"
		}
		if want := name + ":" + e.Value(); o.Value != want || o.Key != e.User || e.refused() {
			j.violation("a wrong join", "%s: %s=%q, want %s=%q", o.Source, o.Key, o.Value, e.User, want)
		}
		if last, ok := order[e.User]; ok && e.Offset <= last {
			j.violation("a key out of order", "%s, offset %d after %d", e.User, e.Offset, last)
		}
		order[e.User] = e.Offset
	}
	for i := range out.Letters {
		o := &out.Letters[i]
		if e := j.event(topology.Letters, o); e != nil {
			seen[o.Source]++
			if !e.refused() {
				j.violation("a dead letter for a good event", "%s", o.Source)
			}
		}
	}
	for i := range events {
		switch n := seen[events[i].source()]; {
		case n == 0:
			j.violation("an event without a result", "%s", events[i].source())
		case n > 1:
			j.violation("an event with several results", "%s has %d", events[i].source(), n)
		}
	}
}

// counts checks that the count of each key went up by one with each of its events, and what the state holds.
func (j *judge) counts(events []Event, out *Outputs) {
	want := map[string]int64{} // by source
	state := map[string]int64{}
	ordered := slices.Clone(events)
	slices.SortFunc(ordered, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	for i := range ordered {
		if e := &ordered[i]; !e.refused() {
			state[e.User]++
			want[e.source()] = state[e.User]
		}
	}
	seen := map[string]int{}
	for i := range out.Counts {
		o := &out.Counts[i]
		if j.event(topology.Counts, o) == nil {
			continue
		}
		if seen[o.Source]++; seen[o.Source] > 1 {
			j.violation("a count twice", "%s", o.Source)
		}
		if o.Count != want[o.Source] {
			j.violation("a wrong count", "%s: %s is %d, want %d", o.Source, o.Key, o.Count, want[o.Source])
		}
	}
	for s := range want {
		if seen[s] == 0 {
			j.violation("a count is missing", "%s", s)
		}
	}
	j.state("count", state, out.CountState)
}

// windows checks that the count of each window went up by one, to its number of events, and what the state holds.
func (j *judge) windows(events []Event, out *Outputs) {
	want := map[string]int64{}
	for i := range events {
		if e := &events[i]; !e.refused() {
			want[windowKey(e.Group, e.Timestamp-e.Timestamp%topology.Window.Milliseconds())]++
		}
	}
	at := map[string]int64{}
	for i := range out.Windows {
		o := &out.Windows[i]
		k := windowKey(o.Key, o.Window)
		if o.Count != at[k]+1 {
			j.violation("a window did not go up by one", "%s went from %d to %d", k, at[k], o.Count)
		}
		at[k] = o.Count
	}
	for k, n := range want {
		if at[k] != n {
			j.violation("a window's last count", "%s is %d, want %d", k, at[k], n)
		}
	}
	for k := range at {
		if want[k] == 0 {
			j.violation("a window of no event", "%s", k)
		}
	}
	j.state("window", want, out.WindowState)
}

func windowKey(group string, start int64) string { return group + "@" + strconv.FormatInt(start, 10) }

// state compares what a changelog holds.
func (j *judge) state(store string, want, got map[string]int64) {
	for k, n := range want {
		if got[k] != n {
			j.violation("the state of "+store, "%s is %d, want %d", k, got[k], n)
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			j.violation("the state of "+store, "%s is there", strings.ToValidUTF8(k, "?"))
		}
	}
}
