package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"millrace.dev/feature"
	"millrace.dev/model"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// Check is a rule that each record has to keep.
type Check struct {
	Name string
	Rule string // the condition: see [feature.Rule]
	// Otherwise is what becomes of a record that breaks it. Default: Warn
	Otherwise Outcome
}

// Outcome is what becomes of a record that breaks a rule.
type Outcome uint8

// The outcomes.
const (
	Warn   Outcome = iota // it is predicted, and marked
	Reject                // it gets no prediction
	Fail                  // it ends the run, and is not processed
)

// String returns the outcome as the pipeline file has it.
func (o Outcome) String() string { return [...]string{"warn", "dead_letter", "fail"}[o] }

// CheckError says that a record breaks a rule whose outcome is Fail.
type CheckError struct {
	Check

	Where string // the record: TOPIC/PARTITION/OFFSET, or the data and the record's number
}

// ErrCheck is what a [CheckError] matches.
var ErrCheck = errors.New("a record breaks a rule")

// Is tells whether the target is ErrCheck.
func (e *CheckError) Is(target error) bool { return target == ErrCheck }

// Error names the record and the rule, and no value of the record.
func (e *CheckError) Error() string {
	where := ""
	if e.Where != "" {
		where = " " + e.Where
	}
	return fmt.Sprintf("record%s breaks the rule %s (%s), whose outcome is to fail", where, e.Name, shortRule(e.Rule))
}

// shortRule returns a rule for a message.
func shortRule(rule string) string {
	const most = 200
	rule = strings.Join(strings.Fields(rule), " ")
	if len(rule) > most {
		rule = strings.ToValidUTF8(rule[:most], "") + "..."
	}
	return rule
}

// CompileChecks compiles checks for the model in b, with what its training rows were like. The errors are those of
// [feature.Plan.CompileRules].
func CompileChecks(b *model.Bundle, checks []Check) (*feature.Rules, error) {
	rules := make([]feature.Rule, len(checks))
	for i, c := range checks {
		rules[i] = feature.Rule{Name: c.Name, Expr: c.Rule}
	}
	return b.Plan.CompileRules(b.Manifest.Label, rules, trainingRanges(b))
}

// trainingRanges returns what the training rows had of numeric fields and inputs.
func trainingRanges(b *model.Bundle) []feature.TrainingRange {
	if b.Profile == nil { // of a model that is not sealed yet
		return nil
	}
	var ranges []feature.TrainingRange
	for i := range b.Profile.Columns {
		c := &b.Profile.Columns[i]
		if c.Kind == profile.Number && (c.Role == profile.Field || c.Role == profile.Feature) {
			ranges = append(ranges, feature.TrainingRange{Name: c.Name, Min: c.Min, Max: c.Max})
		}
	}
	return ranges
}

// checker applies checks to the records of a worker.
type checker struct {
	checks   []Check
	problems []record.Problem // by check
	broken   []atomic.Uint64  // by check
	marks    []Mark
	failures []failure // of the last batch, by row
	names    map[string]string
}

// Mark names the rules that a record has broken that is predicted all the same.
type Mark struct {
	Row   int
	Rules string // the names, with commas between, in the order of the checks
}

// failure is a record that ends the run, and the check that says so.
type failure struct{ row, check int }

// maxMarks bounds the combinations of rules whose names are kept.
const maxMarks = 256

func newChecker(checks []Check, rules *feature.Rules) *checker {
	c := &checker{checks: checks, names: map[string]string{}, broken: make([]atomic.Uint64, len(checks))}
	for i := range checks {
		p := record.Problem{Stage: record.StageCheck, Class: checks[i].Name, Reason: "the record breaks the rule " + shortRule(checks[i].Rule)}
		if columns := rules.Columns(i); len(columns) == 1 {
			p.Field = columns[0]
		}
		c.problems = append(c.problems, p)
	}
	return c
}

// apply counts what rules the records of b break, and rejects or marks them.
func (c *checker) apply(b *record.Batch, broken []feature.Broken) {
	c.marks, c.failures = c.marks[:0], c.failures[:0]
	for len(broken) > 0 {
		n := 1
		for n < len(broken) && broken[n].Row == broken[0].Row {
			n++
		}
		if row := int(broken[0].Row); b.Problem(row) == nil { // a table that is required may have rejected it meanwhile
			c.row(b, row, broken[:n])
		}
		broken = broken[n:]
	}
}

// row deals with a record. The gravest outcome of the rules that it breaks is its own.
func (c *checker) row(b *record.Batch, row int, broken []feature.Broken) {
	worst := broken[0].Rule
	for _, x := range broken {
		c.broken[x.Rule].Add(1)
		if c.checks[x.Rule].Otherwise > c.checks[worst].Otherwise {
			worst = x.Rule
		}
	}
	if c.checks[worst].Otherwise == Warn {
		c.marks = append(c.marks, Mark{row, c.list(broken)})
		return
	}
	b.Reject(row, c.problems[worst])
	if c.checks[worst].Otherwise == Fail {
		c.failures = append(c.failures, failure{row, int(worst)})
	}
}

// list returns the names of rules, with commas between.
func (c *checker) list(broken []feature.Broken) string {
	if len(broken) == 1 {
		return c.checks[broken[0].Rule].Name
	}
	key := make([]byte, 0, 2*len(broken))
	for _, x := range broken {
		key = append(key, byte(x.Rule), byte(x.Rule>>8))
	}
	if names, ok := c.names[string(key)]; ok {
		return names
	}
	all := make([]string, len(broken))
	for i, x := range broken {
		all[i] = c.checks[x.Rule].Name
	}
	names := strings.Join(all, ",")
	if len(c.names) < maxMarks {
		c.names[string(key)] = names
	}
	return names
}

// Marks returns the records of the last batch that break rules and are predicted all the same, in order. The slice is the
// worker's, and valid until the next Process.
func (w *Worker) Marks() []Mark {
	if w.checker == nil {
		return nil
	}
	return w.checker.marks
}

// Failure returns the first record of the last batch that ends the run, and why; nil if there is none. That record, and
// those after it, have not been processed, whatever the batch says of them.
func (w *Worker) Failure() (row int, err *CheckError) {
	if w.checker == nil || len(w.checker.failures) == 0 {
		return -1, nil
	}
	row = w.checker.failures[0].row
	return row, w.FailureAt(row)
}

// FailureAt returns why a record of the last batch ends the run; nil if it does not.
func (w *Worker) FailureAt(row int) *CheckError {
	if w.checker == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(w.checker.failures, row, func(f failure, row int) int { return f.row - row })
	if !ok {
		return nil
	}
	return &CheckError{Check: w.checker.checks[w.checker.failures[i].check]}
}

// CheckCounts returns the records that break each check, over all that w has processed; those of a transaction that was
// undone count, too. It is safe for concurrent use.
func (w *Worker) CheckCounts() []uint64 {
	if w.checker == nil {
		return nil
	}
	counts := make([]uint64, len(w.checker.broken))
	for i := range counts {
		counts[i] = w.checker.broken[i].Load()
	}
	return counts
}
