package demo

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"millrace.dev/internal/app"
	"millrace.dev/internal/house"
	"millrace.dev/internal/kafka"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// Checks is what the window checks say of the stream.
type Checks struct {
	Houses Windows  `json:"houses"` // windows of the houses for sale
	Mock   Windows  `json:"mock"`   // windows of mock houses alone; one that has both is in neither
	Words  []string `json:"words"`  // what is wrong with the mock houses, a sentence for each column
}

// Windows counts windows by their result.
type Windows struct {
	Windows int `json:"windows"`
	OK      int `json:"ok"`
	Warn    int `json:"warn"`
	Fail    int `json:"fail"`
}

func (w *Windows) add(result string) {
	w.Windows++
	switch result {
	case string(profile.OK):
		w.OK++
	case string(profile.Warn):
		w.Warn++
	case string(profile.Fail):
		w.Fail++
	}
}

// windows collects the results of window checks.
type windows struct {
	mu   sync.Mutex
	list []app.WindowResult
	rows uint64
}

// take takes records of the topic of results.
func (w *windows) take(records []record.Raw) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range records {
		var r app.WindowResult
		if err := json.Unmarshal(records[i].Value, &r); err != nil {
			return err
		}
		w.list = append(w.list, r)
		w.rows += r.Rows
	}
	return nil
}

func (w *windows) seen() ([]app.WindowResult, uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clip(w.list), w.rows
}

// await waits until every window of so many records that can be over is judged, and returns all of them.
func (w *windows) await(ctx context.Context, every, records int64) ([]app.WindowResult, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; {
		list, rows := w.seen()
		if int64(rows)+every > records || time.Since(began) > verifyAfter {
			return list, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// mocks makes the houses of a mock producer.
func (d *demo) mocks(ctx context.Context) ([]listing, error) {
	g, err := house.New(house.Options{Seed: d.Seed, History: history})
	if err != nil {
		return nil, err
	}
	list := make([]listing, d.Mock)
	for i := range list {
		s, l := g.Mock(history+int64(i)), &list[i]
		s.ID = int64(len(d.sales) + i)
		l.times, l.key, l.value = 1, s.AppendKey(nil), s.AppendListing(nil)
	}
	_, err = d.predict(ctx, list, app.PredictOptions{Data: d.path("mock.jsonl"), Out: d.path("mock-predicted.jsonl")})
	return list, err
}

// mock sends mock houses, and shows what the checks say of windows of them, and said of those of the houses before.
func (d *demo) mock(ctx context.Context, producer *kafka.Producer, list []listing, check *checker, checked *windows) (*Checks, error) {
	d.Show.Step("checks")
	p, err := d.App.Load(d.file, d.set)
	if err != nil {
		return nil, err
	}
	every := int64(p.Checks.Window.Every.Records)
	c, before := &Checks{Words: []string{}}, check.predicted()
	results, err := checked.await(ctx, every, before)
	if err != nil {
		return nil, err
	}
	for i := range results {
		c.Houses.add(results[i].Result)
	}
	d.Show.Say("of windows of %v records and more, %v of %v are like the training data", int(every), c.Houses.OK, c.Houses.Windows)
	if c.Houses.OK < c.Houses.Windows {
		d.Show.Say("(a window of a short stream has the same few houses over and over)")
	}
	for i := range list {
		if err := produce(ctx, producer, &list[i], check); err != nil {
			return nil, err
		}
	}
	if err := finish(ctx, producer, check); err != nil {
		return nil, err
	}
	d.Show.Say("now %v houses of a mock producer, which draws each number evenly:", len(list))
	d.Show.Say("%v are predicted, since they are right in form", int(check.predicted()-before))
	if results, err = checked.await(ctx, every, check.predicted()); err != nil {
		return nil, err
	}
	last := c.count(results, before)
	if last == nil {
		d.Show.Say("no window has only such houses: that takes --mock %v, or more", 3*int(every))
		return c, nil
	}
	d.Show.Say("of windows of only such houses, %v of %v are like the training data:", c.Mock.OK, c.Mock.Windows)
	return c, d.explain(ctx, c, last)
}

// count counts the windows of mock houses alone, which come after so many records of others, and returns the last of them;
// nil if there is none.
func (c *Checks) count(results []app.WindowResult, before int64) (last *app.WindowResult) {
	rows := int64(0)
	for i := range results {
		if rows >= before {
			last = &results[i]
			c.Mock.add(last.Result)
		}
		rows += int64(results[i].Rows)
	}
	return last
}

// mostReasons is how many columns the demo shows.
const mostReasons = 6

// explain says what is the matter with a window.
func (d *demo) explain(ctx context.Context, c *Checks, r *app.WindowResult) error {
	m, err := d.App.Models(app.ModelsOptions{File: d.file})
	if err != nil {
		return err
	}
	shown, err := m.Show(ctx, d.model)
	if err != nil {
		return err
	}
	list := reasons(shown.Bundle.Profile, r)
	for i, w := range list {
		c.Words = append(c.Words, w.column+": "+w.words)
		if i < mostReasons {
			d.Show.Say("  %-10s  %s", w.column, w.words)
		}
	}
	if n := len(list) - mostReasons; n > 0 {
		d.Show.Say("  and %v columns more: millrace tap %s", n, checks)
	}
	return nil
}
