package engine

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

// rounds makes outcomes: of each rune a record, x a dead letter, and of each word a round.
func rounds(text string) [][]outcome {
	var all [][]outcome
	o, offset, bad := outcome{}, int64(0), Kind{record.StageDecode, "invalid_json"}
	for word := range strings.FieldsSeq(text) {
		o.next()
		for _, c := range word {
			o.rows++
			if offset++; c == 'x' {
				o.letter(offset, bad)
				o.letter(offset, bad) // the same record
			} else {
				o.result()
			}
		}
		all = append(all, []outcome{o})
	}
	return all
}

func TestBreakerOpens(t *testing.T) {
	t.Parallel()
	good, worse := strings.Repeat(".", 95), strings.Repeat(".", 94)
	for name, c := range map[string]struct {
		breaker Breaker
		rounds  string
		every   time.Duration // between rounds
		open    int           // after how many rounds; 0 is never
		reason  string
	}{
		"off":                        {Breaker{}, strings.Repeat("x ", 1000), time.Millisecond, 0, ""},
		"rate":                       {Breaker{Rate: 0.05, Records: 100}, good + " xxxxx", time.Second, 2, "5 of 100 records of the last 1m0s became dead letters: decode invalid_json 5"},
		"below the rate":             {Breaker{Rate: 0.05, Records: 100}, good + " xxxx. " + worse, time.Second, 0, ""},
		"too few records":            {Breaker{Rate: 0.05, Records: 200}, good + "xxxxx xxxx", time.Second, 0, ""},
		"too long ago":               {Breaker{Rate: 0.05, Records: 100, Over: time.Minute}, strings.Repeat("x", 99) + " . .", time.Minute + 1, 0, ""},
		"in time":                    {Breaker{Rate: 0.05, Records: 100, Over: time.Minute}, strings.Repeat("x", 99) + " .", 59 * time.Second, 2, "99 of 100 records"},
		"in a row":                   {Breaker{Consecutive: 5}, "xxxx.xxxx ..xx xx x", time.Hour, 4, "5 records in a row became dead letters: decode invalid_json"},
		"in a row inside of a round": {Breaker{Consecutive: 5}, "..xxxxxx..", time.Second, 1, "6 records in a row"},
		"not in a row":               {Breaker{Consecutive: 5}, "xxxx. .xxxx .xx xx .x xxx .", time.Second, 0, ""},
		"both, in a row first":       {Breaker{Rate: 0.5, Records: 10, Consecutive: 3}, ".xxx", time.Second, 1, "3 records in a row"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.breaker.setDefaults()
			b, now := newBreaker(&c.breaker, 1), time.Unix(1000, 0)
			opened := 0
			for i, round := range rounds(c.rounds) {
				if now = now.Add(c.every); b.committed(round, now) {
					opened = i + 1
					break
				}
			}
			if opened != c.open {
				t.Fatalf("open after %d rounds, want %d", opened, c.open)
			}
			if opened == 0 {
				return
			}
			if b.state != open || !strings.HasPrefix(b.held.reason, c.reason) || b.until.Sub(now) != time.Minute {
				t.Errorf("state %d, until %s, %q", b.state, b.until, b.held.reason)
			}
		})
	}
}

// TestBreakerTrials follows a breaker through trials.
func TestBreakerTrials(t *testing.T) {
	t.Parallel()
	config := Breaker{Rate: 0.05, Records: 100, Consecutive: 50, Retry: time.Minute}
	config.setDefaults()
	b, now := newBreaker(&config, 1), time.Unix(1000, 0)
	round := func(text string) bool { return b.committed(rounds(text)[0], now) }
	if !round(strings.Repeat("x", 50)) {
		t.Fatal("it is not open")
	}
	for i, want := range []float64{1, 2, 4, 8, 10, 10} {
		if d := b.until.Sub(now); d.Minutes() != want {
			t.Fatalf("pause %d is %s", i, d)
		}
		if round("...."); b.state != open || b.due(b.until.Add(-1)) {
			t.Fatal("it closes by itself")
		}
		if now = b.until; !b.due(now) || b.state != trial || b.allowance() != 5 {
			t.Fatalf("state %d, allowance %d", b.state, b.allowance())
		}
		if round("xx.x"); b.state != trial || b.allowance() != 2 {
			t.Fatalf("state %d, allowance %d", b.state, b.allowance())
		}
		if !round("xx") || b.state != open || b.allowance() != 0 {
			t.Fatalf("state %d after a trial that failed", b.state)
		}
	}
	now = b.until
	b.due(now)
	if round("x" + strings.Repeat(".", 98)); b.state != trial {
		t.Fatalf("state %d", b.state)
	}
	if !round(".") || b.state != closed || b.allowance() != unlimited || b.held != nil {
		t.Fatalf("state %d after a trial that was passed", b.state)
	}
	if now = now.Add(time.Second); !round(strings.Repeat("x", 50)) || b.until.Sub(now) != 10*time.Minute {
		t.Errorf("after a short while the pause is %s", b.until.Sub(now))
	}
	now = b.until
	b.due(now)
	round(strings.Repeat(".", 100))
	if now = now.Add(time.Hour); !round(strings.Repeat("x", 50)) || b.until.Sub(now) != time.Minute {
		t.Errorf("after a long while the pause is %s", b.until.Sub(now))
	}
}

func TestBreakerConfig(t *testing.T) {
	t.Parallel()
	for _, b := range []Breaker{{Rate: -0.1}, {Rate: 1.1}, {Records: -1}, {Over: -1}, {Consecutive: -1}, {Retry: -1}} {
		if b.validate() == nil {
			t.Errorf("%+v is valid", b)
		}
	}
	if b := (Breaker{Consecutive: 7}); b.trial() != 7 || b.fatal() != 7 {
		t.Errorf("a trial of %d, %d of them fatal", b.trial(), b.fatal())
	}
}

// lettersOf counts the dead letters of a partition of the source.
func (w *world) lettersOf(partition int32) int {
	n := 0
	for _, r := range w.read(letters) {
		if header(&r, task.LetterPartition) == strconv.Itoa(int(partition)) {
			n++
		}
	}
	return n
}

// fill puts n records into partition p of the source, which are good or bad.
func (w *world) fill(p int32, n int, value string) {
	w.t.Helper()
	rs := make([]record.Raw, n)
	for i := range rs {
		rs[i] = record.Raw{Key: w.keyOf(p), Value: fmt.Appendf(nil, "%s %d", value, i), Timestamp: time.Now().UnixMilli()}
	}
	w.put(rs...)
}

// keyOf returns a key whose records go to a partition of the source.
func (w *world) keyOf(p int32) []byte {
	n := len(w.cluster.PartitionInfos(source))
	for i := 0; ; i++ {
		key := fmt.Appendf(nil, "key-%d", i)
		if task.Place(key, 0, n) == p {
			return key
		}
	}
}

func held(in *instance, p int32) *Hold {
	for _, h := range in.Stats().Held {
		if h.Partition == (Partition{source, p}) {
			return &h
		}
	}
	return nil
}

// TestBreaker lets one partition go bad: it is paused and tried again, the others go on, and when it is good again all of
// its records get their results.
func TestBreaker(t *testing.T) {
	t.Parallel()
	for name, guarantee := range map[string]Guarantee{"exactly once": ExactlyOnce, "at least once": AtLeastOnce} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, 3, func(t *testing.T, w *world) {
				in := w.run(func(s *setup) {
					s.Guarantee = guarantee
					s.Breaker = Breaker{Rate: 0.05, Records: 200, Consecutive: 50}
				})
				w.fill(1, 1000, "good")
				w.drained()
				w.fill(1, 60, "bad")
				w.until("the breaker to open", func() bool { return held(in, 1) != nil })
				w.fill(1, 5000, "bad")
				w.fill(0, 3000, "good")
				w.until("the other partitions to be done", func() bool {
					s := in.Stats()
					return s.Written == 4000 && s.Lag[Partition{source, 0}] <= 1
				})
				h, began := held(in, 1), time.Now()
				if h == nil || h.Trial || h.Until.Sub(h.Since) != time.Minute || !strings.Contains(h.Reason, "decode invalid_json") {
					t.Fatalf("held %+v", in.Stats().Held)
				}
				n := w.lettersOf(1)
				if n < 50 || n > 60 {
					t.Errorf("%d dead letters", n)
				}
				time.Sleep(h.Until.Sub(began) + time.Second)
				w.until("the trial to fail", func() bool { h := held(in, 1); return h != nil && !h.Trial && h.Until.After(began.Add(2*time.Minute)) })
				if more := w.lettersOf(1) - n; more != 10 {
					t.Errorf("the trial made %d dead letters", more)
				}
				if s := in.Stats(); s.BreakerOpened != 1 || s.State != Running {
					t.Errorf("%+v", s)
				}
				in.stop(t)
				in = w.run(func(s *setup) { s.Guarantee = guarantee }) // without a breaker
				w.drained()
				in.stop(t)
				w.verify()
			})
		})
	}
}

// TestBreakerCloses lets a partition be good again after it was paused.
func TestBreakerCloses(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		in := w.run(func(s *setup) { s.Breaker = Breaker{Rate: 0.05, Records: 200, Consecutive: 50} })
		w.fill(0, 100, "bad")
		w.until("the breaker to open", func() bool { return held(in, 0) != nil })
		w.fill(0, 10, "good")
		w.until("the trial", func() bool { h := held(in, 0); return h != nil && h.Trial })
		time.Sleep(10 * time.Minute)
		if h := held(in, 0); h == nil || !h.Trial {
			t.Errorf("10 records end the trial: %+v", h)
		}
		w.fill(0, 1000, "good")
		w.drained()
		if s := in.Stats(); s.Held != nil || s.BreakerOpened != 1 {
			t.Errorf("in the end %+v", s.Held)
		}
		in.stop(t)
		w.verify()
		if log := in.log.String(); strings.Count(log, "level=WARN") != 1 || strings.Count(log, "read again on trial") != 1 || strings.Count(log, "read as before") != 1 {
			t.Error(log)
		}
	})
}

// TestBreakerMoves lets a paused partition go to another instance, where it begins closed.
func TestBreakerMoves(t *testing.T) {
	t.Parallel()
	bubble(t, 4, func(t *testing.T, w *world) {
		breaker := func(s *setup) { s.Breaker = Breaker{Consecutive: 50, Retry: time.Hour} }
		a := w.run(breaker)
		for p := range int32(4) {
			w.fill(p, 300, "bad")
		}
		w.until("the breaker to open everywhere", func() bool { return len(a.Stats().Held) == 4 })
		for p := range int32(4) {
			w.fill(p, 300, "bad")
		}
		time.Sleep(10 * time.Minute)
		if n := len(w.read(letters)); n != 4*300 {
			t.Errorf("%d dead letters", n)
		}
		b := w.run(breaker)
		w.until("the breaker to open there too", func() bool { return len(a.Stats().Held) == 2 && len(b.Stats().Held) == 2 })
		a.stop(t)
		if n := len(a.Stats().Held); n > 0 {
			t.Errorf("%d partitions are held by an instance that has ended", n)
		}
		w.until("the breaker to open for all", func() bool { return len(b.Stats().Held) == 4 })
		b.stop(t)
		c := w.run()
		w.drained()
		c.stop(t)
		w.verify()
	})
}

// TestBreakerOfState has the breaker of a task that reads a repartition topic and keeps state.
func TestBreakerOfState(t *testing.T) {
	t.Parallel()
	withMall(t, 4, func(t *testing.T, m *mall) {
		in := m.shop("", func(s *setup) { s.Breaker = Breaker{Rate: 0.05, Records: 200, Consecutive: 50} })
		m.sell(1000, seeded(t, 1))
		m.closed()
		rs := make([]record.Raw, 400)
		for i := range rs { // without a key: dead letters, of class null_key
			rs[i] = record.Raw{Value: fmt.Appendf(nil, "%d cat-1", m.n), Timestamp: time.Now().UnixMilli()}
			m.n++
		}
		m.put(rs...)
		m.until("the breaker to open", func() bool { return len(in.Stats().Held) > 0 })
		m.sell(2000, seeded(t, 2))
		in.works(m)
		time.Sleep(20 * time.Minute)
		in.stop(t)
		if s := in.Stats(); s.BreakerOpened == 0 || s.Aborts > 0 {
			t.Errorf("%+v", s)
		}
		in = m.shop("")
		m.closed()
		in.stop(t)
		m.audit()
	})
}

// TestBreakerForgetsAborts has rounds undone: their dead letters are none.
func TestBreakerForgetsAborts(t *testing.T) {
	t.Parallel()
	bubble(t, 1, func(t *testing.T, w *world) {
		w.fill(0, 100, "good")
		in := w.run(func(s *setup) { s.Breaker = Breaker{Rate: 0.3, Records: 100, Consecutive: 50} })
		w.drained()
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.IllegalGeneration, Count: 3})
		w.fill(0, 40, "bad")
		w.drained()
		if s := in.Stats(); s.BreakerOpened > 0 || s.Aborts == 0 {
			t.Errorf("opened %d times, %d rounds undone", s.BreakerOpened, s.Aborts)
		}
		w.fill(0, 20, "bad")
		w.drained()
		if s := in.Stats(); s.BreakerOpened != 1 {
			t.Errorf("opened %d times", s.BreakerOpened)
		}
		in.stop(t)
		w.verify()
	})
}
