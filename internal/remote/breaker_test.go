package remote

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestBreakerOpens(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		calls string // . is success, x is failure
		want  State
	}{
		{"nothing", "", Closed},
		{"a few failures", "xxxx", Closed},
		{"failures in a row", "xxxxx", Open},
		{"not in a row", "xxxx.xxxx.", Closed},
		{"most of all", "xxx.xxx.xxx.xxx.xxx", Open},
		{"half of all", "x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.", Closed},
		{"well again", "xxxxx.", Closed},
		{"forgotten", "xxxxxxxxxx.xxx", Closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBreaker(time.Now, func() float64 { return 0 })
			for _, call := range c.calls {
				b.report(call == '.')
			}
			if got, _, _ := b.state(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestRecovery has many calls wait for a server that is down: few reach it while it is, and all go on within two seconds of its return,
// though not at once, whether it refuses connections or hangs.
func TestRecovery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		timeout time.Duration
		fault   error
	}{
		{"refuses connections", time.Second, errNotHTTP},
		{"hangs", time.Second, errTimeout},
		{"hangs with a long time-out", 7 * time.Second, errTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var up atomic.Bool
				up.Store(true)
				m, f := faked(t, Options{Retries: -1, Timeout: c.timeout}, func(int, []float64) *Error {
					if up.Load() {
						return nil
					}
					return &Error{Class: Unavailable, Err: c.fault}
				})
				if _, err := m.Score(t.Context(), numbers(0)); err != nil {
					t.Fatal(err)
				}
				up.Store(false)
				const callers = 50
				var mu sync.Mutex
				var ends []time.Time
				var group sync.WaitGroup
				for i := range callers {
					group.Go(func() {
						if _, err := m.Score(t.Context(), numbers(float64(i))); err != nil {
							t.Error(err)
						}
						mu.Lock()
						defer mu.Unlock()
						ends = append(ends, time.Now())
					})
				}
				time.Sleep(20 * time.Second)
				synctest.Wait()
				before := f.count()
				if s := m.Stats(); s.State == Closed || s.Opened != 1 {
					t.Fatalf("got %+v", s)
				}
				time.Sleep(60 * time.Second)
				synctest.Wait()
				if n := f.count() - before; n < 50 || n > 61 {
					t.Errorf("%d probes in a minute", n)
				}
				time.Sleep(300 * time.Millisecond)
				up.Store(true)
				back := time.Now()
				group.Wait()
				seen := map[time.Time]bool{}
				for _, end := range ends {
					// What was under way hangs on, where it was sent to a server that hung: only a new call finds that it is back.
					if d := end.Sub(back); d > 2*time.Second && c.timeout <= time.Second {
						t.Errorf("a call ends %v after the server is back", d)
					}
					seen[end] = true
				}
				if len(seen) < callers/2 {
					t.Errorf("%d calls end at %d times: they come all at once", callers, len(seen))
				}
				if s := m.Stats(); s.State != Closed {
					t.Errorf("got %+v", s)
				}
			})
		})
	}
}

// TestImpatient returns at once while the server is down, and finds out by itself that it is back.
func TestImpatient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		m, f := faked(t, Options{Retries: 2}, func(int, []float64) *Error {
			if up.Load() {
				return nil
			}
			return fails(Failed)
		})
		for range failuresInRow {
			if _, err := m.Score(t.Context(), numbers(1)); err == nil {
				t.Fatal("no error")
			}
		}
		calls, start := f.count(), time.Now()
		for range 100 {
			if _, err := m.Score(t.Context(), numbers(1)); !errors.Is(err, errOpen) {
				t.Fatalf("got %v", err)
			}
		}
		if f.count() != calls || time.Since(start) != 0 {
			t.Errorf("%d calls, %v", f.count()-calls, time.Since(start))
		}
		time.Sleep(probeInterval)
		if _, err := m.Score(t.Context(), numbers(1)); err == nil || errors.Is(err, errOpen) {
			t.Errorf("got %v, want that of a probe", err)
		}
		if f.count() != calls+1 {
			t.Errorf("%d probes", f.count()-calls)
		}
		up.Store(true)
		time.Sleep(probeInterval)
		if a, err := m.Score(t.Context(), numbers(8)); err != nil || a.Scores[0] != 8 {
			t.Errorf("got %+v, %v", a, err)
		}
	})
}

// TestPoisonOpensNothing has a batch at which the server fails for good: others go on.
func TestPoisonOpensNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, _ := faked(t, Options{Retries: 3}, refuses(Failed, 13))
		if _, err := m.Score(t.Context(), numbers(1)); err != nil {
			t.Fatal(err)
		}
		a, err := m.Score(t.Context(), numbers(11, 12, 13, 14))
		if err != nil || a.Problems[2] == nil || a.Problems[3] != nil {
			t.Fatalf("got %+v, %v", a, err)
		}
		if s := m.Stats(); s.Opened != 0 || s.State != Closed {
			t.Errorf("got %+v", s)
		}
	})
}

// TestFailsForSome has a server fail for some rows until it is well: who waits without end gets what it says of them then, and no
// row is given up.
func TestFailsForSome(t *testing.T) {
	t.Parallel()
	for _, class := range []Class{Failed, Invalid} {
		synctest.Test(t, func(t *testing.T) {
			well := time.Now().Add(time.Minute)
			m, _ := faked(t, Options{Retries: -1}, func(n int, have []float64) *Error {
				if time.Now().Before(well) {
					return refuses(class, 12, 13, 14)(n, have)
				}
				return nil
			})
			if _, err := m.Score(t.Context(), numbers(1)); err != nil {
				t.Fatal(err)
			}
			a, err := m.Score(t.Context(), numbers(11, 12, 13, 14))
			if err != nil || a.Problems != nil || a.Scores[2] != 13 {
				t.Errorf("%s: got %+v, %v", class, a, err)
			}
			if late := time.Since(well); late > 2*time.Second {
				t.Errorf("%s: it goes on %v after the server", class, late)
			}
		})
	}
}
