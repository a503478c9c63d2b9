//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/bench/internal/rig"
)

// sample is what was seen at a moment.
type sample struct {
	at                       float64 // seconds since the start
	resident, heap, disk     float64 // MiB
	descriptors, goroutines  float64
	tables, windowChangelogs float64 // MiB on the broker
	lag                      float64 // offsets
	p99                      float64 // ms from the event time of a result of the join of streams until it can be read, of those since the last sample
	records                  float64 // that the application has taken in since the last sample, a second
}

// column is a figure of a sample.
type column struct {
	name  string // in the file
	title string
	unit  string // "": it is in the title
	of    func(*sample) float64
	least float64 // a growth that does not matter
	// free is why it need not be flat. "": it has to be.
	free string
}

func columns() []column {
	const rate = "it is what the load is"
	return []column{
		{"rss_mib", "Resident memory", "MiB", func(s *sample) float64 { return s.resident }, 4, ""},
		{"heap_mib", "Heap", "MiB", func(s *sample) float64 { return s.heap }, 4, ""},
		{"state_mib", "State on disk", "MiB", func(s *sample) float64 { return s.disk }, 4, ""},
		{"descriptors", "Open descriptors", "", func(s *sample) float64 { return s.descriptors }, 4, ""},
		{"goroutines", "Goroutines", "", func(s *sample) float64 { return s.goroutines }, 4, ""},
		{"lag_offsets", "Lag", "offsets", func(s *sample) float64 { return s.lag }, 1000, ""},
		{"result_p99_ms", "From event to result, 99th percentile", "ms", func(s *sample) float64 { return s.p99 }, 50, ""},
		{"table_changelogs_mib", "Changelogs of tables", "MiB", func(s *sample) float64 { return s.tables }, 16, ""},
		{"window_changelogs_mib", "Changelogs of windows", "MiB", func(s *sample) float64 { return s.windowChangelogs }, 16, ""},
		{"records_per_second", "Records", "a second", func(s *sample) float64 { return s.records }, 0, rate},
	}
}

// label returns the title with the unit.
func (c *column) label() string {
	if c.unit == "" {
		return c.title
	}
	return c.title + " (" + c.unit + ")"
}

// points returns the values that there are from a time on.
func (c *column) points(samples []sample, from time.Duration) (series []point) {
	for i := range samples {
		if v := c.of(&samples[i]); samples[i].at >= from.Seconds() && !math.IsNaN(v) {
			series = append(series, point{samples[i].at, v})
		}
	}
	return series
}

// watcher takes samples of a process.
type watcher struct {
	p       *rig.Process
	c       *rig.Cluster
	state   string
	kept    time.Duration // retention of the windows
	metrics string        // where the process answers for them
	start   time.Time
	short   map[string]bool    // changelogs whose settings were changed
	last    map[string]float64 // metrics at the last sample
	lastAt  float64
	delays  delays
}

func (w *watcher) sample(ctx context.Context) (s sample, err error) {
	m, err := w.scrape(ctx)
	if err != nil {
		return s, err
	}
	s.at = time.Since(w.start).Seconds()
	const mib = 1 << 20
	s.heap, s.goroutines, s.descriptors = m["go_memstats_heap_alloc_bytes"]/mib, m["go_goroutines"], m["process_open_fds"]
	s.lag, s.p99 = sum(m, "millrace_lag_offsets"), w.delays.take()
	s.records = math.NaN()
	if w.last != nil {
		s.records = (m["millrace_records_total"] - w.last["millrace_records_total"]) / (s.at - w.lastAt)
	}
	w.last, w.lastAt = m, s.at
	if s.resident, err = w.p.Resident(rig.ResidentNow); err != nil {
		return s, err
	}
	if s.disk, err = size(w.state); err != nil {
		return s, err
	}
	sizes, err := w.c.Sizes(ctx)
	for topic, bytes := range sizes {
		name, ok := strings.CutSuffix(topic, "-changelog")
		store, own := strings.CutPrefix(name, application+"-")
		if !ok || !own {
			continue
		}
		if err := w.shorten(ctx, topic, ofWindows(store)); err != nil {
			return s, err
		}
		if ofWindows(store) {
			s.windowChangelogs += float64(bytes) / mib
		} else {
			s.tables += float64(bytes) / mib
		}
	}
	return s, err
}

// shorten makes the broker keep rows of windows and tombstones for a fifth of the retention longer than they are needed. A changelog is
// made with a day: that would be all that is seen in half an hour.
func (w *watcher) shorten(ctx context.Context, topic string, windows bool) error {
	if w.short[topic] {
		return nil
	}
	longer := w.kept / 5
	settings := map[string]string{"delete.retention.ms": strconv.FormatInt(longer.Milliseconds(), 10)}
	if windows {
		settings["retention.ms"] = strconv.FormatInt((w.kept + longer).Milliseconds(), 10)
	}
	if err := w.c.Configure(ctx, topic, settings); err != nil {
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	w.short[topic] = true
	return nil
}

// ofWindows tells whether a store has rows that are deleted because of their age.
func ofWindows(store string) bool {
	return store == sessions || store == windows || store == sliding || strings.HasPrefix(store, matches+"-")
}

// size returns the bytes of a folder, in MiB. Files may go meanwhile.
func size(dir string) (float64, error) {
	var bytes int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return float64(bytes) / (1 << 20), err
}

// scrape returns the metrics of the process, by name and labels.
func (w *watcher) scrape(ctx context.Context) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, rig.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.metrics+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	all := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, text, ok := cutLast(lines.Text())
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if all[name], err = strconv.ParseFloat(text, 64); err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
	}
	return all, lines.Err()
}

// cutLast cuts a line at its last space.
func cutLast(line string) (name, text string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 || strings.HasPrefix(line, "#") {
		return "", "", false
	}
	return line[:i], line[i+1:], true
}

// sum adds the values of a metric, whatever its labels are.
func sum(m map[string]float64, metric string) float64 {
	var sum float64
	for name, v := range m {
		if name == metric || strings.HasPrefix(name, metric+"{") {
			sum += v
		}
	}
	return sum
}

// delays is how long after its time each result could be read. It is safe for concurrent use.
type delays struct {
	mu  sync.Mutex
	all []float64 // ms, since they were taken
}

// follow reads results as they are committed, until ctx ends.
func (d *delays) follow(ctx context.Context, c *rig.Cluster, topic string) error {
	err := c.Follow(ctx, topic, func(r *kgo.Record) (bool, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.all = append(d.all, float64(time.Since(r.Timestamp).Microseconds())/1000)
		return false, nil
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was to end
	}
	return err
}

// take returns the 99th percentile since the last call, NaN if there are none.
func (d *delays) take() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.all
	d.all = nil
	if len(all) == 0 {
		return math.NaN()
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}
