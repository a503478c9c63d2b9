package drift

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"millrace.dev/feature"
	"millrace.dev/model"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// world makes windows of records with a number x, a skewed number y, a number u that is no input, and levels c; s is a feature of x.
type world struct {
	t         *testing.T
	rng       *rand.Rand
	schema    *record.Schema
	layout    profile.Layout
	reference *profile.Profile
	checker   *profile.Checker
	in        Input
}

// row is a record; NaN and "" are missing.
type row struct {
	x, y, u, s, prediction float64
	c                      string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, rng: rand.New(rand.NewPCG(11, 12))}
	var err error
	w.schema, err = record.NewSchema(
		record.Field{Name: "x", Type: record.Numeric}, record.Field{Name: "y", Type: record.Numeric}, record.Field{Name: "u", Type: record.Numeric},
		record.Field{Name: "c", Type: record.Enum},
	)
	if err != nil {
		t.Fatal(err)
	}
	inputs := []record.Column{{Name: "x", Type: record.Numeric}, {Name: "y", Type: record.Numeric}, {Name: "c", Type: record.Enum}, {Name: "s", Type: record.Numeric}}
	w.layout = profile.NewLayout(w.schema, inputs, "")
	survey := profile.NewSurvey(w.layout)
	rows := w.rows(3000, nil)
	survey.Add(0, rows)
	w.reference = survey.Profile()
	w.reference.Columns = append(w.reference.Columns, profile.Predictions(rows.Predictions))
	if w.checker, err = profile.NewChecker(w.reference, profile.Rules{}); err != nil {
		t.Fatal(err)
	}
	w.in = Input{
		Reference: w.reference, Test: model.Scores{RMSE: 2, MAE: 1, Rows: 300},
		Inputs: []model.Input{{Name: "x", Importance: 0.4}, {Name: "y", Importance: 0.1}, {Name: "c", Importance: 0.3}, {Name: "s", Importance: 0.2}},
		Uses:   []feature.Uses{{Fields: []string{"x"}}, {Fields: []string{"y"}}, {Fields: []string{"c"}}, {Fields: []string{"x"}}},
	}
	return w
}

// rows makes records, which change can change before the feature and the prediction are computed.
func (w *world) rows(n int, change func(i int, r *row)) *profile.Rows {
	b := record.NewBatch(w.schema, map[string][]string{"c": {"blue", "green", "red", "yellow"}})
	f := &record.Frame{Rows: n, Columns: make([]record.Column, 4)}
	out := &profile.Rows{Batch: b, Frame: f}
	for i := range n {
		r := row{x: 1000 + 200*w.rng.NormFloat64(), y: math.Exp(8 + w.rng.NormFloat64()), u: w.rng.Float64(), c: []string{"blue", "blue", "green", "red", "yellow"}[w.rng.IntN(5)]}
		if change != nil {
			change(i, &r)
		}
		r.s, r.prediction = math.Sqrt(max(0, r.x)), 3*r.x
		b.Append(record.Raw{})
		b.Numbers(0)[i], b.Numbers(1)[i], b.Numbers(2)[i] = r.x, r.y, r.u
		if r.c != "" {
			b.Codes(3)[i] = b.Dict(3).Code([]byte(r.c))
		}
		f.Columns[3].Numbers = append(f.Columns[3].Numbers, r.s)
		out.Predictions = append(out.Predictions, r.prediction)
	}
	return out
}

// window adds a window.
func (w *world) window(n int, change func(i int, r *row)) *Window {
	w.t.Helper()
	counter, err := profile.NewCounter(w.reference, w.layout)
	if err != nil {
		w.t.Fatal(err)
	}
	counter.Add(w.rows(n, change))
	p := counter.Profile()
	v, err := w.checker.Check(p)
	if err != nil {
		w.t.Fatal(err)
	}
	k := int64(len(w.in.Windows))
	from, to := k*3600_000, (k+1)*3600_000
	out := Window{From: &from, To: &to, Rows: p.Rows, Result: string(v.Severity), Findings: v.Findings, Columns: p.Columns}
	if v.Skipped != "" {
		out.Result = Skipped
	}
	w.in.Windows = append(w.in.Windows, out)
	return &w.in.Windows[k]
}

// report concludes.
func (w *world) report() *Report {
	w.t.Helper()
	r, err := Analyze(&w.in)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Model, r.Data = "m@1", "data"
	r.Conclude()
	return r
}

// text returns what a person reads. It has to fit.
func (w *world) text(r *Report) string {
	w.t.Helper()
	var b strings.Builder
	if err := r.Text(&b); err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
			w.t.Errorf("%d characters: %s", n, line)
		}
	}
	if _, err := json.Marshal(r); err != nil {
		w.t.Error(err)
	}
	return b.String()
}

// TestKindsOfDrift holds the diagnosis of each way in which data can change.
func TestKindsOfDrift(t *testing.T) { //nolint:tparallel // its cases share a checker
	t.Parallel()
	nan := math.NaN()
	w := newWorld(t)
	for name, c := range map[string]struct {
		change func(i int, r *row)
		action Action
		rule   string
		column string // the first of the report
		fault  FaultKind
		words  []string // that the text has
	}{
		"none":             {nil, None, "ok", "", "", []string{"Nothing: no column has moved."}},
		"metres for feet":  {func(_ int, r *row) { r.x /= 3.28084 }, FixData, "fault", "x", FaultUnit, []string{"divided by 3.28", "metres in place of feet"}},
		"a decimal point":  {func(_ int, r *row) { r.x *= 10 }, FixData, "fault", "x", FaultUnit, []string{"multiplied by 10", "above"}},
		"a long tail":      {func(_ int, r *row) { r.y *= 1000 }, FixData, "fault", "y", FaultUnit, []string{"multiplied by 1,000"}},
		"cents":            {func(_ int, r *row) { r.y /= 100 }, FixData, "fault", "y", FaultUnit, []string{"divided by 100", "dollars in place of cents"}},
		"all missing":      {func(_ int, r *row) { r.x = nan }, FixData, "fault", "x", FaultMissing, []string{"no record has a value any more", "from 0 % to 100 %"}},
		"a tenth missing":  {func(i int, r *row) { r.c = map[bool]string{true: "", false: r.c}[i%10 == 0] }, FixData, "fault", "c", FaultMissing, []string{"10 % of the values are missing, 0 % in training"}},
		"a constant":       {func(_ int, r *row) { r.y = 7 }, FixData, "fault", "y", FaultConstant, []string{"every value is 7"}},
		"a constant level": {func(_ int, r *row) { r.c = "red" }, FixData, "fault", "c", FaultConstant, []string{`every value is "red"`}},
		"renamed":          {func(_ int, r *row) { r.c = strings.Replace(r.c, "blue", "navy", 1) }, FixData, "fault", "c", FaultRenamed, []string{"blue, which had", "is gone: renamed"}},
		"all upper case":   {func(_ int, r *row) { r.c = strings.ToUpper(r.c) }, FixData, "fault", "c", FaultRenamed, []string{"100 % of the records have a text", "are gone"}},
		"a new level":      {func(i int, r *row) { r.c = map[bool]string{true: "pink", false: r.c}[i%10 == 0] }, FixData, "fault", "c", FaultUnseen, []string{"Broken, or new: 10 % of the records", "if they are right, train"}},
		"a code":           {func(i int, r *row) { r.x = map[bool]float64{true: -999, false: r.x}[i%5 == 0] }, FixData, "fault", "x", FaultPart, []string{"down to -999", "the others are as in training"}},
		"a shift":          {func(_ int, r *row) { r.x += 200 }, Retrain, "moved", "x", "", []string{"Retrain: x has moved", "went from 1,0", "feeds s"}},
		"a wider spread":   {func(_ int, r *row) { r.x = 1000 + 2*(r.x-1000) }, Retrain, "moved", "x", "", []string{"standard deviation went from 199 to"}},
		"a share":          {func(_ int, r *row) { r.c = strings.Replace(r.c, "blue", "red", 1) }, Retrain, "moved", "c", "", []string{`"blue" went from 3`, `of "red" went from`}},
		"what is no input": {func(_ int, r *row) { r.u = nan }, Watch, "small", "u", FaultMissing, []string{"which the model does not use"}},
		"a little":         {func(_ int, r *row) { r.y *= 1.2 }, Watch, "small", "y", "", []string{"of its importance is affected"}},
	} {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // they share a checker, which takes long to make
			w.t, w.in.Windows, w.rng = t, nil, rand.New(rand.NewPCG(21, 22))
			w.window(2000, c.change)
			r := w.report()
			text := w.text(r)
			if r.Action != c.action || r.Rule != c.rule {
				t.Errorf("%q by %q, want %q by %q", r.Action, r.Rule, c.action, c.rule)
			}
			if c.column == "" {
				if len(r.Moved) > 0 {
					t.Errorf("%s has moved", r.Moved[0].Column)
				}
			} else if len(r.Moved) == 0 || r.Moved[0].Column != c.column {
				t.Errorf("%s is not the first to have moved", c.column)
			} else if f := r.Moved[0].Fault; (f == nil) != (c.fault == "") || f != nil && f.Kind != c.fault {
				t.Errorf("the fault is %+v, want %q", f, c.fault)
			}
			for _, words := range c.words {
				if !strings.Contains(strings.Join(strings.Fields(text), " "), words) {
					t.Errorf("the text does not have %q", words)
				}
			}
			if t.Failed() {
				t.Log("\n" + text)
			}
		})
	}
}

// TestNoDrift holds reports to be silent, but for the declared rate of false alarms, and never to recommend anything.
func TestNoDrift(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	alarms := 0
	w := newWorld(t)
	w.rng = rand.New(rand.NewPCG(seed, 3))
	const windows = 300
	for range windows {
		w.in.Windows = nil
		w.window(300, nil)
		r := w.report()
		if r.Action != None {
			alarms++
		}
		if r.Action == Retrain || r.Action == FixData {
			t.Errorf("seed %d: %s", seed, w.text(r))
		}
	}
	if alarms > 12 { // 3 are expected
		t.Errorf("seed %d: %d alarms in %d windows", seed, alarms, windows)
	}
}

func TestSince(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shift := func(_ int, r *row) { r.x += 300 }
	for _, moved := range []bool{false, true, true, false, true} {
		if moved {
			w.window(1000, shift)
		} else {
			w.window(1000, nil)
		}
	}
	w.window(10, shift) // is not judged, and ends no run
	r := w.report()
	if s := r.Moved[0].Since; s.Windows != 1 || s.Failed != 3 || s.Window != 5 || *s.From != 4*3600_000 || s.Open || r.Rule != "once" {
		t.Errorf("%+v by %s", s, r.Rule)
	}
	if got := r.Moved[0].Words[0]; got != "Since 1970-01-01 04:00 UTC, in the last of 5 windows, and in 2 before." {
		t.Error(got)
	}
	w.window(1000, shift)
	if r = w.report(); r.Moved[0].Since.Windows != 2 || r.Rule != "moved" || r.Windows.Skipped != 1 || r.Windows.Failed != 4 {
		t.Errorf("%+v by %s, %+v", r.Moved[0].Since, r.Rule, r.Windows)
	}
	w.window(1000, nil)
	r = w.report()
	text := w.text(r)
	if r.Action != None || !slices.ContainsFunc(r.Back, func(m Moved) bool { return m.Column == "x" }) || !strings.Contains(text, "x: from 1970-01-01 04:00 UTC to 1970-01-01 07:00 UTC, in 2 windows; it is as in training again.") {
		t.Errorf("%q\n%s", r.Action, text)
	}
	w.in.Windows = slices.DeleteFunc(w.in.Windows, func(w Window) bool { return w.Result != "fail" })
	if r = w.report(); !r.Moved[0].Since.Open || !strings.HasPrefix(r.Moved[0].Words[0], "In all 4 windows") {
		t.Errorf("%+v: %s", r.Moved[0].Since, r.Moved[0].Words[0])
	}
}

// TestLabels holds which windows' labels decide.
func TestLabels(t *testing.T) { //nolint:tparallel // its cases share a checker
	t.Parallel()
	errorsOf := func(w *Window, n int, scale float64) {
		rng := rand.New(rand.NewPCG(6, 6))
		for range n {
			x := 100 * rng.Float64()
			w.Errors.Add(x, x+scale*1.2533*rng.NormFloat64()) // whose mean absolute value is scale
		}
	}
	w := newWorld(t)
	for name, c := range map[string]struct {
		moved   []bool
		n       int
		scale   []float64
		outcome Outcome
		action  Action
		words   string
	}{
		"no loss":               {[]bool{false, false}, 500, []float64{1, 1}, NotConfirmed, None, "labels do not confirm a loss"},
		"a loss with a move":    {[]bool{false, true}, 500, []float64{1, 1.5}, Confirmed, Retrain, "x has moved. Train with data of the time since"},
		"a move without a loss": {[]bool{false, true}, 500, []float64{1, 1}, NotConfirmed, Watch, "labels do not confirm a loss"},
		"a loss alone":          {[]bool{false, false}, 500, []float64{1.5, 1.5}, Confirmed, Retrain, "while no column has moved"},
		"a loss of late":        {[]bool{false, false, false, false}, 400, []float64{1, 1, 1, 1.5}, Confirmed, Retrain, "the last window"},
		"few labels":            {[]bool{false, true}, 10, []float64{1, 2}, TooFew, Retrain, "too few labels to know"},
	} {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // they share a checker, which takes long to make
			w.t, w.in.Windows, w.rng = t, nil, rand.New(rand.NewPCG(21, 22))
			w.in.Labelled, w.in.Test = true, model.Scores{RMSE: 1.2533, MAE: 1, R2: 0.9, Rows: 400}
			for i, moved := range c.moved {
				var change func(int, *row)
				if moved {
					change = func(_ int, r *row) { r.x += 500 }
				}
				errorsOf(w.window(1000, change), c.n, c.scale[i])
			}
			if len(c.moved) == 2 && c.moved[1] {
				errorsOf(w.window(1000, func(_ int, r *row) { r.x += 500 }), c.n, c.scale[1])
			}
			r := w.report()
			text := w.text(r)
			if r.Labels.Outcome != c.outcome || r.Action != c.action || !strings.Contains(strings.Join(strings.Fields(text), " "), c.words) {
				t.Errorf("%s, %s\n%s", r.Labels.Outcome, r.Action, text)
			}
		})
	}
}

func TestAnalyzeRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := Analyze(&w.in); !errors.Is(err, ErrNothing) {
		t.Error(err)
	}
	w.window(10, nil)
	if _, err := Analyze(&w.in); !errors.Is(err, ErrNothing) {
		t.Error(err)
	}
	w.window(1000, nil).Columns[0].Counts = []uint64{1000}
	if _, err := Analyze(&w.in); err == nil || errors.Is(err, ErrNothing) {
		t.Errorf("another reference: %v", err)
	}
}

// TestShortened holds a report to say nothing of columns whose counts a result lacks, which it does if it was too large.
func TestShortened(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 3 {
		w.window(1000, func(_ int, r *row) {
			if i < 2 {
				r.x += 500
			}
		})
	}
	last := &w.in.Windows[2]
	last.Columns = slices.DeleteFunc(slices.Clone(last.Columns), func(c profile.Column) bool { return c.Name == "x" })
	r := w.report()
	i := slices.IndexFunc(r.Back, func(m Moved) bool { return m.Column == "x" })
	if i < 0 {
		t.Fatalf("x is not back: %+v", r.Back)
	}
	if after := r.Back[i].After; after.Rows != 0 || !math.IsNaN(float64(after.Mean)) || !math.IsNaN(float64(after.Missing)) {
		t.Errorf("%+v", after)
	}
	w.text(r)
}

// TestHostileNames holds texts of the data to do nothing to a terminal, and names to fit.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.window(1000, func(i int, r *row) { r.c = fmt.Sprint("\x1b[2J", strings.Repeat("long", 30), i%3) })
	w.in.Unseen = map[string][]profile.Frequent{"c": {{Text: "\x1b[2J" + strings.Repeat("long", 30), N: 1000}}}
	text := w.text(w.report())
	if strings.ContainsAny(text, "\x1b\u0007") || !strings.Contains(text, `\x1b[2J`) {
		t.Errorf("%q", text)
	}
}

// TestWhen holds how times are written.
func TestWhen(t *testing.T) {
	t.Parallel()
	at := time.Date(2014, 5, 2, 0, 0, 0, 0, time.UTC)
	if a, b := when(at.UnixMilli()), when(at.Add(90*time.Minute).UnixMilli()); a != "2014-05-02" || b != "2014-05-02 01:30 UTC" {
		t.Error(a, b)
	}
}
