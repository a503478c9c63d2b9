package stream

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

// TestForeignKeyJoinAnswersRowsThatWait: an answer that comes while an update of the left row waits for the commit is joined with the row
// that was sent on, so that what follows is told of no result that it does not know.
func TestForeignKeyJoinAnswersRowsThatWait(t *testing.T) {
	t.Parallel()
	top := New("foreign")
	left := TableFrom(top, "left", "left", String(), String(), EmitOnCommit())
	right := TableFrom(top, "right", "right", String(), String())
	joined := JoinForeignKey(left, right, "join", func(_, v string) (string, bool) { return v[:2], true }, func(l, r string) string { return l + r })
	groups := GroupTable(joined.Values(String()), String(), String(), func(_, v string) (string, string) { return "all", v })
	var got []string
	AggregateTable(groups, "told", String(), func() string { return "" },
		func(_, v, _ string) string { return "+" + v }, func(_, v, _ string) string { got = append(got, "-"+v); return "" },
	).ToStream().Foreach(func(r *Record[string, string]) { got = append(got, r.Value) })
	l := loop(t, top)
	send := func(topic, key, value string, at int64) {
		l.topics[topic].list = append(l.topics[topic].list, record.Raw{Topic: topic, Key: []byte(key), Value: []byte(value), Timestamp: at})
	}
	send("right", "f1", "r1", 1)
	send("left", "k", "f1 a ", 1)
	for range 3 { // the row is sent on at a commit, then its answer, then the result
		l.run()
	}
	send("left", "k", "f1 b ", 2) // waits for the commit, which comes after the answer
	send("right", "f1", "r2", 2)
	for range 2 {
		l.run()
	}
	want := fmt.Sprint([]string{"+f1 a r1", "-f1 a r1", "+f1 a r2", "-f1 a r2", "+f1 b r2"})
	if diff := cmp.Diff(want, fmt.Sprint(got)); diff != "" {
		t.Error(diff)
	}
}
