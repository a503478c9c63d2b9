package app

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// TestPartitionedTimes holds which row of a partitioned table a record finds by its event time, where that of a versioned
// store would be another: each was lost once.
func TestPartitionedTimes(t *testing.T) {
	t.Parallel()
	a, p := badPipeline(t, strings.Replace(badTables, "join: global", "join: partitioned, history: 24h", 1))
	m, err := a.ModelOf(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewScoring(p, m, ScoringOptions{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	d := streamtest.New(t, Topology(p, m.Bundle.Plan, s))
	const day = int64(86_400_000)
	change := func(op, zip string, income int, us int64) {
		row := fmt.Sprintf(`{"zip":%q,"income":%d}`, zip, income)
		d.PipeRaw("ref.zips", record.Raw{
			Key: fmt.Appendf(nil, `{"zip":%q}`, zip), Timestamp: 200 * day,
			Value: fmt.Appendf(nil, `{"op":%q,"before":%s,"after":%s,"source":{"ts_us":%d}}`, op, row, map[bool]string{true: "null", false: row}[op == "d"], us),
		})
	}
	in := streamtest.NewInput(d, "in", stream.String(), stream.String())
	for _, c := range []struct {
		name, at, city string
		before         func()
		want           float64 // -1 is missing
	}{
		{"the row of a key whose change is older than another's by more than the history", strconv.FormatInt(101*day, 10), "old", func() {
			change("c", "new", 1, 100*day*1000)
			change("c", "old", 2, day*1000)
		}, 2},
		{"a snapshot after changes of others", strconv.FormatInt(101*day, 10), "snap", func() { change("r", "snap", 3, 99*day*1000) }, 3},
		{"a row that came back before the tombstone was written", strconv.FormatInt(101*day, 10), "back", func() {
			change("c", "back", 4, 100*day*1000)
			change("d", "back", 4, 100*day*1000+10_000)
			d.PipeRaw("ref.zips", record.Raw{Key: []byte(`{"zip":"back"}`), Timestamp: 100*day + 5000})
			change("c", "back", 5, 100*day*1000+20_000)
		}, 5},
		{"a change within the millisecond of the record, after it", strconv.FormatInt(100*day, 10), "micro", func() {
			change("c", "micro", 6, 100*day*1000-5000)
			change("u", "micro", 7, 100*day*1000+500)
		}, 6},
		{"a record without an event time finds the latest row", "null", "micro", nil, 7},
		{"a record of a clock that is ahead by decades", strconv.FormatInt(60_000*day, 10), "micro", nil, 7},
		{"a record before 1970", "-5", "micro", nil, -1},
	} {
		if c.before != nil {
			c.before()
		}
		in.Pipe("k", fmt.Sprintf(`{"x":1,"city":%q,"at":%s}`, c.city, c.at), 150*day)
		got := -1.0
		for _, col := range s.Workers[0].Frame().Columns {
			if col.Name == "income" && col.Numbers[0] == col.Numbers[0] {
				got = col.Numbers[0]
			}
		}
		if got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if n := len(d.Raw("dlq", 0)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}
