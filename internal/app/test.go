package app

import (
	"context"
	"fmt"
	"regexp"

	"millrace.dev/feature"
	"millrace.dev/internal/cdc"
	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/table"
	"millrace.dev/record"
)

// TestOptions say which tests of a pipeline file to run.
type TestOptions struct {
	File  string   // the pipeline file
	Set   []string // overrides of it
	Model string   // NAME@VERSION, NAME@ALIAS, @ALIAS or the path of a bundle; "" is none
	Run   string   // a regular expression that the names of tests match; "" matches all
}

// Tested is the outcome of tests.
type Tested struct {
	Model  string       `json:"model,omitempty"`
	Passed int          `json:"passed"`
	Failed int          `json:"failed"`
	Tests  []TestResult `json:"tests"`
}

// TestResult is the outcome of a test.
type TestResult struct {
	Name     string        `json:"name"`
	Line     int           `json:"line"` // of the pipeline file
	OK       bool          `json:"ok"`
	Failures []TestFailure `json:"failures,omitempty"`
}

// TestFailure is a value that is not what the test wants.
type TestFailure struct {
	What string `json:"what"` // a feature or an element of one, prediction, dead letter
	Want string `json:"want"`
	Got  string `json:"got"`
}

// Test runs the tests of a pipeline file. Tests that fail are no error.
func (a *App) Test(ctx context.Context, o TestOptions) (*Tested, error) {
	p, err := a.Load(o.File, o.Set)
	if err != nil {
		return nil, err
	}
	tests, err := chosen(p, o)
	if err != nil {
		return nil, err
	}
	n, err := a.inspect(ctx, "test", p, o.Model)
	if err != nil {
		return nil, err
	}
	out := &Tested{Tests: []TestResult{}}
	if n.model != nil {
		out.Model = n.model.Ref
	}
	for _, t := range tests {
		r, err := n.test(t)
		if err != nil {
			return nil, fmt.Errorf("test %q: %w", t.Name, err)
		}
		if out.Tests = append(out.Tests, r); r.OK {
			out.Passed++
		} else {
			out.Failed++
		}
	}
	return out, nil
}

// chosen returns the tests that are to run.
func chosen(p *config.Pipeline, o TestOptions) ([]*config.Test, error) {
	pattern, err := regexp.Compile(o.Run)
	if err != nil {
		return nil, &Error{Code: Usage, Op: "test", Err: fmt.Errorf("--run %q: %w", o.Run, err), Hint: "--run takes a regular expression that the names of the tests match"}
	}
	var tests []*config.Test
	for i := range p.Tests {
		t := &p.Tests[i]
		if !pattern.MatchString(t.Name) {
			continue
		}
		tests = append(tests, t)
		if what, needed := t.NeedsModel(); needed && o.Model == "" {
			return nil, &Error{
				Code: Usage, Op: "test", Where: fmt.Sprintf("%s:%d", p.File, t.Line), Err: fmt.Errorf("%s needs a model", what),
				Hint: "name one, such as --model @candidate, or choose the tests without with --run",
			}
		}
	}
	if len(tests) == 0 && o.Run != "" {
		return nil, &Error{Code: Usage, Op: "test", Err: fmt.Errorf("no test of %s is called like %q", p.File, o.Run), Hint: "--run takes a regular expression that the names of the tests match"}
	}
	return tests, nil
}

// test runs a test.
func (n *inspection) test(t *config.Test) (TestResult, error) {
	r := TestResult{Name: t.Name, Line: t.Line}
	rows, err := givenRows(n.p, t.Given.Tables)
	if err != nil {
		return r, err
	}
	n.Forget()
	for i := range t.Given.Before {
		problem, err := n.Remember(t.Given.Before[i], nil)
		if err != nil {
			return r, err
		}
		if problem != nil {
			r.Failures = append(r.Failures, TestFailure{
				What: fmt.Sprintf("before[%d]", i), Want: "a record that windows see", Got: "dead letter " + showProblem(problem) + ": " + problem.Reason,
			})
		}
	}
	seen, err := n.Inspect(t.Given.Record, pipeline.Given{Find: findIn(rows), Observe: t.Given.Windows == nil, Windows: t.Given.Windows})
	if err != nil {
		return r, err
	}
	r.Failures = append(r.Failures, compare(t, seen)...)
	r.OK = len(r.Failures) == 0
	return r, nil
}

// givenRows returns tables that hold the rows of a test.
func givenRows(p *config.Pipeline, given map[string][]config.GivenRow) (map[string]table.Rows, error) {
	tables := map[string]table.Rows{}
	for name, rows := range given {
		of := p.Table(name)
		history := table.Forever
		if of.History == 0 {
			history = 0
		}
		t, err := table.New(table.Options{Schema: of.Schema, History: history})
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", name, err)
		}
		for _, r := range rows {
			t.Apply(&cdc.Change{Op: cdc.Upsert, Key: r.Key, Row: r.Row, At: r.From, Snapshot: r.From == record.MissingTime})
		}
		tables[name] = t
	}
	return tables, nil
}

// compare returns what is not as a test wants it.
func compare(t *config.Test, seen *pipeline.Seen) []TestFailure {
	if t.DeadLetter != nil || seen.Problem != nil {
		return compareRejection(t.DeadLetter, seen)
	}
	var out []TestFailure
	values := map[string]feature.Value{}
	for _, f := range seen.Features {
		for _, e := range f.Elements {
			if e.Known {
				values[e.Name] = e.Value
			}
		}
	}
	for i := range t.Expect {
		e := &t.Expect[i]
		got, ok := values[e.Name]
		switch {
		case !ok:
			out = append(out, TestFailure{e.Name, showWanted(e), "nothing: the model has no such input"})
		case !e.Accepts(got):
			out = append(out, TestFailure{e.Name, showWanted(e), showValue(got)})
		}
	}
	if t.Prediction != nil {
		if got := (feature.Value{Kind: feature.KindNumber, Number: seen.Prediction}); !t.Prediction.Accepts(got) {
			out = append(out, TestFailure{"prediction", showWanted(t.Prediction), showValue(got)})
		}
	}
	return out
}

func showWanted(e *config.Expectation) string {
	text := showValue(e.Want)
	if e.Within.Text != "" {
		text += " within " + e.Within.Text
	}
	return text
}

// compareRejection compares why a record has to be a dead letter, or nil if it is to be none, with why it is one.
func compareRejection(want *config.Rejection, seen *pipeline.Seen) []TestFailure {
	f := TestFailure{What: "dead letter", Want: "none", Got: "none"}
	if p := seen.Problem; p != nil {
		f.Got = showProblem(p) + ": " + p.Reason
	}
	if want == nil {
		return []TestFailure{f}
	}
	matches := func(want, got string) bool { return want == "" || want == got }
	if p := seen.Problem; p != nil && matches(want.Stage, p.Stage) && matches(want.Class, p.Class) && matches(want.Field, p.Field) {
		return nil
	}
	orAny := func(s string) string {
		if s == "" {
			return "*"
		}
		return s
	}
	f.Want = orAny(want.Stage) + "/" + orAny(want.Class)
	if want.Field != "" {
		f.Want += " " + want.Field
	}
	return []TestFailure{f}
}
