//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/bench/internal/rig"
)

// figures are what a contestant did over some records.
type figures struct {
	perSecond float64 // records
	cpu       float64 // microseconds of processor time for a record
}

// sample is one measurement of a contestant.
type sample struct {
	warm     figures       // of the second half of the records
	whole    figures       // of all, with the start of the process
	resident float64       // the most memory held, in MiB
	first    time.Duration // from the start of the process to its first committed output
	outputs  int
}

func (s sample) String() string {
	return fmt.Sprintf("warm %.0f records/s, %.2f us; whole %.0f records/s, %.2f us; %.0f MiB, first output after %s, %d outputs",
		s.warm.perSecond, s.warm.cpu, s.whole.perSecond, s.whole.cpu, s.resident, s.first.Round(time.Millisecond), s.outputs)
}

// mark says when a contestant had taken in so many records, and how much processor time it had used by then.
type mark struct {
	records int
	at      time.Time
	cpu     time.Duration
	err     error
}

// stopwatch is how far a contestant got, and when.
type stopwatch struct {
	half, all mark          // of the records taken in
	end       mark          // all committed
	first     time.Duration // zero as long as there is no output
	resident  float64
	stopped   bool // it was told to end, since it had taken in all
}

const (
	tick  = 10 * time.Millisecond
	stuck = 3 * rig.Patience // a contestant that does nothing for so long
)

// one lets a contestant work through the stream once.
func (b *bench) one(ctx context.Context, c *rig.Cluster, who *contestant, r row) (s sample, err error) {
	application := c.Name("application")
	job := run{
		row: r, load: b.load(r.topology), broker: c.Address(), application: application, sink: c.Name("sink"), state: filepath.Join(b.dir, application),
	}
	job.marks = fmt.Sprintf("%d,%d", job.records/2, job.records)
	if job.followed() {
		job.marks = "0" // it has none to make
	}
	if err := errors.Join(c.Create(ctx, job.sink), os.Mkdir(job.state, 0o755)); err != nil {
		return s, err
	}
	marks := make(chan mark, 4)
	p, err := rig.Start(ctx, rig.Command{
		Args: who.args(job), Env: who.env, Dir: b.dir, Name: application,
		Line: func(p *rig.Process, line string) { marks <- newMark(p, line) },
	})
	if err != nil {
		return s, err
	}
	stop := func() {}
	if job.followed() {
		stop = b.follow(ctx, c, p, job, marks)
	}
	w, err := b.watch(ctx, c, who, p, job, marks)
	stop()
	if err := errors.Join(err, p.Stop()); err != nil {
		return s, err
	}
	n := float64(job.records)
	half := float64(w.all.records - w.half.records)
	s = sample{
		warm:     figures{half / w.all.at.Sub(w.half.at).Seconds(), float64((w.all.cpu - w.half.cpu).Microseconds()) / half},
		whole:    figures{n / w.end.at.Sub(p.Started()).Seconds(), float64(w.end.cpu.Microseconds()) / n},
		resident: w.resident, first: w.first,
	}
	if s.outputs, err = b.verify(ctx, c, job, who.windowed); err != nil {
		return s, err
	}
	return s, errors.Join(c.Remove(ctx, job.sink), c.RemoveAll(ctx, application+"-"), os.RemoveAll(job.state))
}

// newMark reads a line that a contestant wrote.
func newMark(p *rig.Process, line string) mark {
	m := mark{at: time.Now()}
	m.cpu, m.err = p.CPU()
	if _, err := fmt.Sscanf(line, "mark %d", &m.records); err != nil {
		m.err = fmt.Errorf("it wrote %q: %w", line, err)
	}
	return m
}

// followed tells whether a contestant is through when the last results are there, and not when it has taken in all records: what
// it has taken in still goes through topics of its own.
func (r row) followed() bool { return r.topology == "foreign-key" }

// follow reads the output of a contestant as it is written, and makes its marks: when half of the updates have a result or were overtaken, and
// when each key has its last one. stop ends it.
func (b *bench) follow(ctx context.Context, c *rig.Cluster, p *rig.Process, r run, marks chan<- mark) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		check := newForeignCheck(r.guarantee == exactlyOnce, b.records)
		half := false
		err := c.Follow(ctx, r.sink, func(out *kgo.Record) (bool, error) {
			if err := check.see(out); err != nil {
				return false, err
			}
			if !half && check.half() {
				half = true
				marks <- newMark(p, fmt.Sprintf("mark %d", r.records/2))
			}
			return check.all(), nil
		})
		if ctx.Err() != nil {
			return
		}
		m := newMark(p, fmt.Sprintf("mark %d", r.records))
		m.err = errors.Join(m.err, err)
		marks <- m
	}()
	return func() {
		cancel()
		<-ended
	}
}

// watch watches a contestant until its group has committed all records. When it has taken in all it is told to end, so
// that it commits at once.
func (b *bench) watch(ctx context.Context, c *rig.Cluster, who *contestant, p *rig.Process, r run, marks <-chan mark) (w stopwatch, err error) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	moved := time.Now()
	for w.end.records == 0 {
		select {
		case <-ctx.Done():
			return w, ctx.Err()
		case m := <-marks:
			moved = m.at
			switch {
			case m.err != nil:
				return w, m.err
			case m.records < r.records:
				w.half = m
			default:
				w.all, w.stopped = m, true
				if err := p.Terminate(); err != nil {
					return w, err
				}
			}
		case <-ticker.C:
			if time.Since(moved) > stuck {
				_, err := b.verify(ctx, c, r, who.windowed)
				return w, errors.Join(errors.New("it does not go on"), err)
			}
			if err := b.look(ctx, c, p, r, &w); err != nil {
				return w, err
			}
		}
	}
	return w, nil
}

// look asks the broker, and the system, once.
func (b *bench) look(ctx context.Context, c *rig.Cluster, p *rig.Process, r run, w *stopwatch) error {
	ended := p.Alive()
	if ended != nil && !w.stopped {
		return ended
	}
	if m, err := p.Resident(rig.ResidentMost); err == nil { // it may just have ended
		w.resident = m
	}
	if w.first == 0 {
		n, err := c.Stable(ctx, r.sink)
		if err != nil {
			return err
		}
		if n > 0 {
			w.first = time.Since(p.Started())
		}
	}
	if !w.stopped {
		return nil
	}
	n, err := c.Committed(ctx, r.application, r.counted...)
	if err != nil {
		return err
	}
	switch {
	case n >= int64(r.records) && w.first > 0:
		w.end = mark{records: r.records, at: time.Now()}
		w.end.cpu, err = p.CPU()
		return err
	case ended != nil:
		return fmt.Errorf("it has committed %d records of %d: %w", n, r.records, ended)
	}
	return nil
}

// verify checks what a contestant wrote, and returns how much.
func (b *bench) verify(ctx context.Context, c *rig.Cluster, r run, windowed splits) (outputs int, err error) {
	check, err := newCheck(r.row, b.records, windowed)
	if err != nil {
		return 0, err
	}
	err = c.Read(ctx, r.sink, func(r *kgo.Record) error {
		outputs++
		return check.see(r)
	})
	return outputs, errors.Join(err, check.finish())
}
