package app_test

import (
	"encoding/csv"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/app"
	"millrace.dev/internal/drift"
	"millrace.dev/internal/house"
	"millrace.dev/internal/testenv"
)

const housesPipeline = `
version: 1
name: houses
schema:
  time: [date]
  numeric: [price, bedrooms, bathrooms, sqft_living, sqft_lot, floors, sqft_above, sqft_basement, yr_built, yr_renovated]
  enum: [waterfront, view, condition, city, statezip]
  string: [street, country]
source: {topic: housing, event_time: date}
features:
  age: year(date) - yr_built
  renovated: yr_renovated > 0
  living_share: sqft_living / sqft_lot
train:
  data: train.csv
  where: price > 0 and price < 5000000
  label: price
  ignore: [date, street, country]
  gbm: {ntrees: 60, learn_rate: 0.1, label_transform: log}
sink: {topic: predictions}
dead_letter: {topic: housing.dlq}
`

// sales are rows of the houses' CSV.
type sales struct {
	header []string
	rows   [][]string
}

func parseSales(t *testing.T, text string) *sales {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return &sales{all[0], all[1:]}
}

// cell is a value of a row that can be changed.
type cell struct {
	row []string
	s   *sales
}

func (c cell) text(column string) *string { return &c.row[slices.Index(c.s.header, column)] }

func (c cell) times(column string, factor float64) {
	p := c.text(column)
	if x, err := strconv.ParseFloat(*p, 64); err == nil {
		*p = strconv.FormatFloat(x*factor, 'f', 4, 64)
	}
}

// write writes rows, changed, without some columns.
func (s *sales) write(t *testing.T, path string, rows [][]string, change func(i int, c cell), without ...string) {
	t.Helper()
	var b strings.Builder
	w := csv.NewWriter(&b)
	put := func(row []string) {
		var out []string
		for k, v := range row {
			if !slices.Contains(without, s.header[k]) {
				out = append(out, v)
			}
		}
		_ = w.Write(out) // to memory
	}
	put(s.header)
	for i, row := range rows {
		own := slices.Clone(row)
		if change != nil {
			change(i, cell{own, s})
		}
		put(own)
	}
	w.Flush()
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newHouses(t *testing.T, s *sales, training [][]string) (*app.App, string) {
	t.Helper()
	dir := t.TempDir()
	a := &app.App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Env: func(string) (string, bool) { return "", false }, Version: "test"}
	s.write(t, filepath.Join(dir, "train.csv"), training, nil)
	file := filepath.Join(dir, "pipeline.yaml")
	if err := os.WriteFile(file, []byte(housesPipeline), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Train(t.Context(), app.TrainOptions{File: file}); err != nil {
		t.Fatal(err)
	}
	return a, file
}

// driftCase is a way in which houses change, and what is to be said of it.
type driftCase struct {
	change func(i int, c cell)
	action drift.Action
	rule   string
	column string
	fault  drift.FaultKind
	labels drift.Outcome
}

func driftCases() map[string]driftCase {
	set := func(column, to string) func(int, cell) { return func(_ int, c cell) { *c.text(column) = to } }
	times := func(column string, factor float64) func(int, cell) {
		return func(_ int, c cell) { c.times(column, factor) }
	}
	return map[string]driftCase{
		"nothing":       {nil, drift.None, "ok", "", "", drift.NotConfirmed},
		"square metres": {times("sqft_living", 1/10.7639), drift.FixData, "fault", "sqft_living", drift.FaultUnit, drift.Confirmed},
		"thousands":     {times("sqft_lot", 0.001), drift.FixData, "fault", "sqft_lot", drift.FaultUnit, ""},
		"no bathrooms":  {set("bathrooms", ""), drift.FixData, "fault", "bathrooms", drift.FaultMissing, ""},
		"one year":      {set("yr_built", "2000"), drift.FixData, "fault", "yr_built", drift.FaultConstant, ""},
		"Seattle in capitals": {func(_ int, c cell) {
			p := c.text("city")
			*p = strings.Replace(*p, "Seattle", "SEATTLE", 1)
		}, drift.FixData, "fault", "city", drift.FaultRenamed, ""},
		"a new town": {func(i int, c cell) {
			if i%20 == 0 {
				*c.text("city") = "Atlantis"
			}
		}, drift.FixData, "fault", "city", drift.FaultUnseen, ""},
		"square metres of some": {func(i int, c cell) {
			if i%4 == 0 {
				c.times("sqft_living", 1/10.7639)
			}
		}, drift.FixData, "fault", "sqft_living", drift.FaultPart, ""},
		"dearer": {times("price", 1.5), drift.Retrain, "loss", "", "", drift.Confirmed},
	}
}

// briefly leaves few of the cases under -short. What runs at a time is the same in all of them, and the rest is arithmetic, for which
// the race detector needs ten times as long.
func briefly(cases map[string]driftCase) map[string]driftCase {
	if testing.Short() {
		maps.DeleteFunc(cases, func(name string, _ driftCase) bool { return name != "nothing" && name != "a new town" })
	}
	return cases
}

func checkDrift(t *testing.T, r *drift.Report, c *driftCase) {
	t.Helper()
	if r.Action != c.action || r.Rule != c.rule {
		t.Errorf("%q by %q, want %q by %q", r.Action, r.Rule, c.action, c.rule)
	}
	switch {
	case c.column == "":
		if len(r.Moved) > 0 {
			t.Errorf("%s has moved", r.Moved[0].Column)
		}
	case len(r.Moved) == 0 || r.Moved[0].Column != c.column || r.Moved[0].Fault == nil || r.Moved[0].Fault.Kind != c.fault || r.Moved[0].Effect == nil:
		t.Errorf("want %s with the fault %s and an effect", c.column, c.fault)
	}
	if c.labels != "" && (r.Labels == nil || r.Labels.Outcome != c.labels) {
		t.Errorf("labels: %+v, want %q", r.Labels, c.labels)
	}
	if t.Failed() {
		var b strings.Builder
		_ = r.Text(&b) // to memory
		t.Log("\n" + b.String())
	}
}

// TestDriftOfHouses holds reports of made-up sales to what was done to them.
func TestDriftOfHouses(t *testing.T) {
	t.Parallel()
	g, err := house.New(house.Options{Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	s := parseSales(t, string(g.CSV(5000)))
	training, later := slices.Clone(s.rows), [][]string(nil)
	r := rand.New(rand.NewPCG(1, 1))
	r.Shuffle(len(training), func(i, j int) { training[i], training[j] = training[j], training[i] })
	training, later = training[:3000], training[3000:]
	a, file := newHouses(t, s, training)
	for name, c := range briefly(driftCases()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "data.csv")
			s.write(t, data, later, c.change)
			r, err := a.Drift(t.Context(), app.DriftOptions{File: file, Data: data, Model: "@candidate"})
			if err != nil {
				t.Fatal(err)
			}
			checkDrift(t, r, &c)
		})
	}
	t.Run("a shift without labels", func(t *testing.T) {
		t.Parallel()
		data := filepath.Join(t.TempDir(), "data.csv")
		s.write(t, data, later, func(_ int, c cell) { c.times("sqft_living", 1.3) }, "price")
		r, err := a.Drift(t.Context(), app.DriftOptions{File: file, Data: data, Model: "@candidate", Fail: true})
		if code, _ := app.Explain(err); code != app.Refused || r == nil || r.Rule != "moved" || r.Labels != nil || r.Moved[0].Column != "sqft_living" {
			t.Errorf("%v: %+v", err, r)
		}
		if code, _ := app.Explain(fmt.Errorf("x: %w", err)); code != app.Refused {
			t.Error(code)
		}
	})
}

// TestDriftOfRealHouses holds reports of the second half of the real sales, by date, and of changed copies of it.
func TestDriftOfRealHouses(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(testenv.Data(t), "housedata.csv"))
	if err != nil {
		t.Fatal(err)
	}
	s := parseSales(t, string(text))
	slices.SortStableFunc(s.rows, func(x, y []string) int { return strings.Compare(x[0], y[0]) })
	half := len(s.rows) / 2
	a, file := newHouses(t, s, s.rows[:half])
	for name, c := range briefly(driftCases()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "data.csv")
			s.write(t, data, s.rows[half:], c.change)
			sizes := []string{""}
			if c.column == "" && !testing.Short() {
				sizes = append(sizes, "7d") // the thresholds of each size of windows take long to find
			}
			for _, every := range sizes {
				r, err := a.Drift(t.Context(), app.DriftOptions{File: file, Data: data, Model: "@candidate", Every: every})
				if err != nil {
					t.Fatal(err)
				}
				checkDrift(t, r, &c)
			}
		})
	}
}
