package stream

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// looped is a topology whose tasks, one for each sub-topology, read what they write.
type looped struct {
	tb      testing.TB
	program *task.Program
	tasks   []*task.Task
	states  []*store.Task
	topics  map[string]*raws
	sent    int
}

// Send appends to the topic.
func (l *looped) Send(m *task.Message) *record.Problem {
	if to := l.topics[m.Topic]; to != nil {
		to.list = append(to.list, record.Raw{Topic: m.Topic, Key: bytes.Clone(m.Key), Value: bytes.Clone(m.Value), Timestamp: m.Timestamp})
		l.sent++
	}
	return nil
}

// Change does nothing.
func (*looped) Change(string, []byte, []byte) error { return nil }

// Drop fails the test.
func (l *looped) Drop(_ *record.Raw, d task.Drop) { l.tb.Errorf("dropped: %v", d) }

func loop(tb testing.TB, top *Topology) *looped {
	tb.Helper()
	p, err := top.Program()
	noError(tb, err)
	l := &looped{tb: tb, program: p, topics: map[string]*raws{}}
	db, err := store.Open(tb.TempDir(), store.Options{})
	noError(tb, err)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, sub := range p.Subs {
		id := task.ID{Sub: sub.ID}
		state, err := db.Task(id.String())
		noError(tb, err)
		x, err := task.New(p, id, task.Env{
			Context: tb.Context(), Output: l, State: state, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler), Wake: func() {},
		})
		noError(tb, err)
		noError(tb, x.Start())
		l.tasks, l.states = append(l.tasks, x), append(l.states, state)
		for _, s := range sub.Sources {
			l.topics[s.Topic] = &raws{}
		}
	}
	tb.Cleanup(func() {
		for i, x := range l.tasks {
			x.Close()
			noError(tb, l.states[i].Close())
		}
		noError(tb, db.Close())
	})
	return l
}

// run has everything processed, and commits.
func (l *looped) run() {
	l.tb.Helper()
	for more := true; more; {
		more = false
		for i, sub := range l.program.Subs {
			for j, s := range sub.Sources {
				list := l.topics[s.Topic].list
				l.topics[s.Topic].list = nil
				l.tasks[i].Add(j, &raws{list})
				more = more || len(list) > 0
			}
			_, err := l.tasks[i].Process(1 << 30)
			noError(l.tb, err)
		}
	}
	for i, x := range l.tasks {
		noError(l.tb, x.Flush())
		l.states[i].Seal()
		noError(l.tb, l.states[i].Commit(nil))
	}
}

func foreignLoop(tb testing.TB, results *int) *looped {
	tb.Helper()
	top := New("foreign")
	left, right := TableFrom(top, "left", "left", String(), String()), TableFrom(top, "right", "right", String(), String())
	JoinForeignKey(left, right, "join", func(_, v string) (string, bool) { return v[:6], true }, func(l, r string) string { return l + r }).
		ToStream().Foreach(func(*Record[string, string]) { *results++ })
	l := loop(tb, top)
	for i := range 1000 {
		l.topics["right"].list = append(l.topics["right"].list, record.Raw{Topic: "right", Key: fmt.Appendf(nil, "f%05d", i), Value: []byte("a right row of some length")})
	}
	l.run()
	return l
}

// BenchmarkJoinForeignKey takes the time of an update, with a commit for each ten thousand: of a new left row, of one that keeps its
// foreign key, of one that gets another, and of a right row for each of its hundred left rows.
func BenchmarkJoinForeignKey(b *testing.B) {
	leftRow := func(key, foreign, i int) record.Raw {
		return record.Raw{Topic: "left", Key: fmt.Appendf(nil, "order-%07d", key), Value: fmt.Appendf(nil, "f%05d an order of some length %d", foreign, i), Timestamp: int64(i)}
	}
	for name, of := range map[string]func(i int) record.Raw{
		"new":   func(i int) record.Raw { return leftRow(i, i%1000, i) },
		"keeps": func(i int) record.Raw { return leftRow(i%10_000, i%1000, i) },
		"other": func(i int) record.Raw { return leftRow(i%10_000, (i+i/10_000)%1000, i) },
	} {
		b.Run(name, func(b *testing.B) {
			results := 0
			l := foreignLoop(b, &results)
			in := l.topics["left"]
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				in.list = append(in.list, of(i))
				if i++; i%10_000 == 0 {
					l.run()
				}
			}
			l.run()
			b.ReportMetric(float64(results)/float64(i), "results/op")
			b.ReportMetric(float64(l.sent)/float64(i), "through/op")
		})
	}
	b.Run("right", func(b *testing.B) {
		results := 0
		l := foreignLoop(b, &results)
		for i := range 100_000 {
			l.topics["left"].list = append(l.topics["left"].list, leftRow(i, i%1000, i))
		}
		l.run()
		results = 0
		in := l.topics["right"]
		i := 0
		b.ReportAllocs()
		for b.Loop() {
			in.list = append(in.list, record.Raw{Topic: "right", Key: fmt.Appendf(nil, "f%05d", i%1000), Value: []byte("a right row of some length")})
			if i++; i%100 == 0 {
				l.run()
			}
		}
		l.run()
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(max(1, results)), "ns/result")
	})
}
