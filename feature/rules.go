package feature

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"millrace.dev/record"
)

// Rule is a condition that records have to keep, over the columns of the schema and over features. It can say `x in training`:
// a text that the training rows had, or a number from their smallest to their largest. A record for which the condition is
// missing keeps it, as in SQL: is_missing(x) is what finds gaps.
type Rule struct {
	Name string
	Expr string
}

// TrainingRange is what the training rows had of a numeric column or feature. NaN stands for no value: then none is in
// training.
type TrainingRange struct {
	Name     string
	Min, Max float64
}

// Rules are rules compiled for a plan. They are immutable and safe for concurrent use.
type Rules struct {
	plan  *Plan
	rules []compiledRule
	all   *layout // the plan's inputs, then the rules; nil as long as the plan waits for being fitted
	alone *layout // the rules that do not wait
	which []int   // by result of alone: the rule
}

type compiledRule struct {
	Rule

	columns []string
	trained bool
	result  int32 // of the builder
}

// Broken says that a row does not keep a rule.
type Broken struct{ Row, Rule int32 }

// CompileRules compiles rules for the records of p, in which label names what the model predicts. A rule can use every
// column but the label, every input of the model by its name, and features that are no inputs as long as they are made of
// columns and inputs alone, and learn nothing. ranges are for `x in training`.
//
// Of a plan that waits for being fitted, or has no levels yet, what only training knows is taken on trust: rules that
// need it cannot be evaluated.
//
// A rule that says the same of every record is at fault in such a plan, and not in a fitted one. The error joins an [*Error] for
// every fault, whose Feature is the name of the rule.
func (p *Plan) CompileRules(label string, rules []Rule, ranges []TrainingRange) (*Rules, error) {
	c, inputs, err := p.ruleChecker(label, ranges)
	if err != nil {
		return nil, err
	}
	r := &Rules{plan: p}
	for _, rule := range rules {
		c.rules.columns, c.rules.trained = nil, false
		out := c.expression(rule.Name, rule.Expr)
		r.rules = append(r.rules, compiledRule{rule, c.rules.columns, c.rules.trained || out.ok() && c.build.waits(out.id), out.id})
		c.checkRule(rule, out)
	}
	if len(c.errs) > 0 {
		return nil, join(c.errs)
	}
	return r, r.lay(c, inputs)
}

// ruleScope is what a checker of rules knows of the model.
type ruleScope struct {
	plan   *Plan
	ranges map[string]TrainingRange
	levels map[string][]string
	inputs map[string]bool
	number int // a column, for numbers that only a fitted plan has

	columns []string // what the present rule names
	trained bool     // the present rule needs what only training knows
}

// fitted tells whether training knows all that it will.
func (r *ruleScope) fitted() bool { return r.plan.Fitted() }

// waits tells whether name is an element of a vector that is not fitted yet: a number.
func (r *ruleScope) waits(name string) bool {
	for _, in := range r.plan.inputs {
		if in.kind == kindVector && strings.HasPrefix(name, in.name+"_") {
			r.trained = true
			return true
		}
	}
	return false
}

// ruleChecker returns a checker whose builder holds the values of the plan, and where these have its inputs.
func (p *Plan) ruleChecker(label string, ranges []TrainingRange) (c *checker, inputs []int32, err error) {
	c = newChecker(p.schema)
	c.labelName = label
	functions := p.given
	if p.declared != nil {
		functions = p.declared.Functions
	}
	addUserFunctions(c.functions, functions)
	c.rules = &ruleScope{plan: p, ranges: map[string]TrainingRange{}, levels: p.Levels(), inputs: map[string]bool{}}
	for _, r := range ranges {
		c.rules.ranges[r.Name] = r
	}
	for i := range p.schema.Len() {
		if p.schema.Field(i).Type == record.Numeric {
			c.rules.number = i
		}
	}
	moved := make([]int32, len(p.prog.values))
	maps.Copy(c.build.zones, p.prog.zones)
	for i, v := range p.prog.values {
		v.args = slices.Clone(v.args)
		for k, a := range v.args {
			v.args[k] = moved[a]
		}
		r, err := c.build.add(v)
		if err != nil {
			return nil, nil, fmt.Errorf("feature: %w", err)
		}
		moved[i] = r.id
	}
	for k, in := range p.inputs {
		id := moved[p.prog.results[k]]
		inputs = append(inputs, id)
		c.rules.inputs[in.name] = true
		if in.levels != nil {
			c.rules.levels[in.name] = in.levels
		}
		if _, column := p.schema.Index(in.name); !column && in.kind != kindVector {
			c.known(Spec{Name: in.name}, ref{id, in.kind})
		}
	}
	for _, s := range p.source {
		if c.byName[s.Name] == nil {
			d := &declared{Spec: s}
			c.features, c.byName[s.Name] = append(c.features, d), d
		}
	}
	c.tables = p.prog.tables
	for i := range p.prog.windows {
		w := p.prog.windows[i]
		w.args = slices.Clone(w.args)
		if w.key = moved[w.key]; w.where >= 0 {
			w.where = moved[w.where]
		}
		for k := range w.args {
			w.args[k] = moved[w.args[k]]
		}
		c.windows = append(c.windows, w)
	}
	return c, inputs, nil
}

// known declares a feature whose value is there.
func (c *checker) known(s Spec, r ref) {
	d := &declared{Spec: s, state: done, result: r}
	c.features, c.byName[s.Name] = append(c.features, d), d
}

// checkRule reports a rule that is no condition, or, before training, none on a record.
func (c *checker) checkRule(rule Rule, r ref) {
	fault := func(msg, hint string) {
		c.errs = append(c.errs, &Error{Feature: rule.Name, Length: len(rule.Expr), Msg: msg, Hint: hint})
	}
	switch {
	case !r.ok():
	case r.kind != kindBool:
		fault(fmt.Sprintf("the rule is a %s, not a condition", r.kind), "compare it with something")
	case !c.build.values[r.id].isConst() || c.rules.fitted(): // training may have learned that a feature is always missing
	case c.build.values[r.id].lit.missing:
		fault("the rule is missing for every record, so that all keep it", "is_missing(x) tests for a missing value")
	default:
		fault(fmt.Sprintf("the rule is %t for every record", c.build.values[r.id].lit.flag), "use a field or a feature")
	}
}

// lay makes the layouts.
func (r *Rules) lay(c *checker, inputs []int32) error {
	var results []int32
	for i := range r.rules {
		if !r.rules[i].trained || r.plan.Fitted() {
			results = append(results, r.rules[i].result)
			r.which = append(r.which, i)
		}
	}
	use := append(slices.Clone(inputs), results...)
	p, err := c.build.program(use, use, c.tables, c.windows)
	if err != nil {
		return fmt.Errorf("feature: %w", err)
	}
	alone := p.results[len(inputs):]
	if r.alone, err = newLayoutOf(r.plan.schema, p, alone, 0, c.build.patterns); err != nil {
		return fmt.Errorf("feature: %w", err)
	}
	if !r.plan.Fitted() {
		return nil
	}
	if r.all, err = newLayoutOf(r.plan.schema, p, p.results, 0, map[string]*regexp.Regexp{}); err != nil {
		return fmt.Errorf("feature: %w", err)
	}
	return nil
}

// Plan returns the plan that the rules were compiled for.
func (r *Rules) Plan() *Plan { return r.plan }

// Len returns the number of rules.
func (r *Rules) Len() int { return len(r.rules) }

// Rule returns rule i.
func (r *Rules) Rule(i int) Rule { return r.rules[i].Rule }

// Columns returns the columns and features that rule i names, in the order in which they first come. It must not be changed.
func (r *Rules) Columns(i int) []string { return r.rules[i].columns }

// Trained tells whether rule i needs what only training knows.
func (r *Rules) Trained(i int) bool { return r.rules[i].trained }

// ruleFeature returns a feature for a rule: an input of the model, or what can be computed of columns and inputs.
func (s *scope) ruleFeature(node ast.Node, d *declared) ref {
	own := len(s.path) == 0 // in the rule itself, not in a feature that it uses
	if own {
		s.rules.name(d.Name)
	}
	if d.state == done || !own {
		return s.feature(d)
	}
	before := len(s.errs)
	r := s.feature(d)
	if len(s.errs) == before && r.ok() && r.kind != kindVector && r.kind != kindRow {
		return r
	}
	s.errs = s.errs[:before]
	d.result = ref{}
	if s.rules.vector(d.Name) {
		return s.fail(node, d.Name+" is a vector", "name an element of it, such as "+d.Name+"_0")
	}
	return s.fail(node, d.Name+" is no input of the model, and what it is made of is known to a model alone", "take it out of train.ignore, or write the rule over fields and inputs")
}

// vector tells whether inputs of the model are elements of a feature.
func (r *ruleScope) vector(name string) bool {
	for in := range r.inputs {
		if in == name || strings.HasPrefix(in, name+"_") {
			return true
		}
	}
	return false
}

// name notes what the present rule names.
func (r *ruleScope) name(column string) {
	if !slices.Contains(r.columns, column) {
		r.columns = append(r.columns, column)
	}
}

// trainingWord is what stands for the training rows in `x in training`.
const trainingWord = "training"

// inTraining checks x in training.
func (s *scope) inTraining(n *ast.BinaryNode) ref {
	if s.rules == nil {
		return s.fail(n.Right, "only the rules of checks.record know the training rows", `write x in ["a", "b"]`)
	}
	name, ok := columnName(n.Left)
	if !ok {
		return s.fail(n.Left, "in training needs a field or a feature", "make a feature of the expression, and use its name")
	}
	x := s.check(n.Left)
	if !x.ok() {
		return ref{}
	}
	s.rules.trained = true
	switch x.kind {
	case kindNumber:
		return s.inTrainingRange(n, name, x)
	case kindText:
		return s.inTrainingLevels(n, name, x)
	default:
		return s.fail(n.Left, fmt.Sprintf("in training takes a number or a text, not a %s", x.kind), "")
	}
}

// columnName returns the name that a node is.
func columnName(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.IdentifierNode:
		return unmark(n.Value), true
	case *ast.CallNode:
		if callee, ok := n.Callee.(*ast.IdentifierNode); ok && callee.Value == "column" && len(n.Arguments) == 1 {
			if t, ok := n.Arguments[0].(*ast.StringNode); ok {
				return t.Value, true
			}
		}
	}
	return "", false
}

// inTrainingRange checks whether a number is in the range of the training rows.
func (s *scope) inTrainingRange(n *ast.BinaryNode, name string, x ref) ref {
	_, column := s.schema.Index(name)
	r, ok := s.rules.ranges[name]
	switch {
	case !column && !s.rules.inputs[name] && !s.rules.waits(name):
		return s.fail(n.Left, name+" is no input of the model: training knows nothing of it", "take it out of train.ignore, or write x between low and high")
	case !s.rules.fitted():
		r = TrainingRange{name, 0, 1}
	case !ok:
		return s.fail(n.Left, "the model has no range of "+name, "write x between low and high")
	case math.IsNaN(r.Min) || math.IsNaN(r.Max): // the training rows had no value: none is in them
		r = TrainingRange{name, 1, 0}
	}
	low, high := s.constant(n, opNumber, literal{number: r.Min}), s.constant(n, opNumber, literal{number: r.Max})
	return s.apply(n, "and", nil, s.apply(n, "at_most", nil, low, x), s.apply(n, "at_most", nil, x, high))
}

// inTrainingLevels checks whether a text is one that training has seen.
func (s *scope) inTrainingLevels(n *ast.BinaryNode, name string, x ref) ref {
	levels, ok := s.rules.levels[name]
	if i, column := s.schema.Index(name); !s.rules.fitted() {
		ok = s.rules.inputs[name] || column && s.schema.Field(i).Type == record.Enum && slices.Contains(s.rules.plan.Used(), name)
		levels = []string{""}
	}
	if !ok {
		return s.fail(n.Left, "training knows no levels of "+name, `it knows those of inputs, and of enum fields that features use; or write x in ["a", "b"]`)
	}
	return s.add(n, value{op: opInText, args: []int32{x.id}, texts: levels})
}

// NewEvaluator returns an evaluator of the plan that also tests the rules, in the same pass: see [Evaluator.Broken]. The
// plan must be fitted.
func (r *Rules) NewEvaluator() *Evaluator {
	e := r.plan.NewEvaluator()
	if r.all == nil {
		panic("feature: the plan is not fitted")
	}
	e.m = newMachine(r.all, tile)
	e.codes = make([][]int32, len(r.all.sources))
	return e
}

// Broken returns what rules the rows of the last Eval do not keep, by row and by rule, rejected rows aside. It is valid until
// the next Eval.
func (e *Evaluator) Broken() []Broken { return e.broken }

// rule notes the rows that break a rule.
func (e *Evaluator) rule(rule, offset int, v []uint8) {
	for i, x := range v {
		if x == no && e.m.batch.Problem(offset+i) == nil {
			e.broken = append(e.broken, Broken{int32(offset + i), int32(rule)})
		}
	}
}

func byRow(a, b Broken) int { return cmp.Or(cmp.Compare(a.Row, b.Row), cmp.Compare(a.Rule, b.Rule)) }

// Verdict is what a rule says of a record.
type Verdict uint8

// The verdicts.
const (
	VerdictUnknown Verdict = iota // only a model can tell
	VerdictKept
	VerdictMissing // the condition is missing, so that the record keeps the rule
	VerdictBroken
)

// RuleProbe tests single records. It is for one goroutine at a time.
type RuleProbe struct {
	rules    *Rules
	m        *machine
	verdicts []Verdict
}

// NewProbe returns a probe of r.
func (r *Rules) NewProbe() *RuleProbe {
	return &RuleProbe{r, newMachine(r.alone, tile), make([]Verdict, len(r.rules))}
}

// Eval returns what the rules say of the first row of b. The slice is the probe's, and valid until the next Eval.
func (p *RuleProbe) Eval(b *record.Batch, with Enrichment) []Verdict {
	clear(p.verdicts)
	p.m.run(b, with, p)
	return p.verdicts
}

func (p *RuleProbe) bools(k, offset int, v []uint8) {
	if offset > 0 || len(v) == 0 {
		return
	}
	p.verdicts[p.rules.which[k]] = map[uint8]Verdict{yes: VerdictKept, no: VerdictBroken, unknown: VerdictMissing}[v[0]]
}

func (p *RuleProbe) numbers(int, int, []float64) {}
func (p *RuleProbe) texts(int, int, []text)      {}
func (p *RuleProbe) times(int, int, []int64)     {}
