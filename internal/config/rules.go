package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"millrace.dev/feature"
)

// RecordCheck is a rule that each record has to keep.
type RecordCheck struct {
	Name      string // of letters, digits and _; no two are the same
	Rule      string // an expression over fields and features
	Otherwise Outcome
	Line      int  // of the file, from 1
	Trained   bool // only a model can test it: it has `in training`, or a feature that is fitted
}

// Outcome is what becomes of a record that breaks a rule.
type Outcome string

// The outcomes.
const (
	Warn         Outcome = "warn"        // it is predicted, and marked
	RejectRecord Outcome = "dead_letter" // it is a dead letter
	FailPipeline Outcome = "fail"        // the pipeline stops before it
)

const (
	maxRules    = 100
	maxRuleName = 63
)

func ruleFields() []field {
	return []field{
		{
			key: "rule", kind: kindExpression, required: true, example: "sqft_living between 200 and 15000",
			doc: "A condition over fields and features; `x in training` holds for what the training rows had. A record for which it is missing keeps it",
		},
		{
			key: "otherwise", kind: kindText, def: string(Warn), allowed: []string{string(Warn), string(RejectRecord), string(FailPipeline)},
			doc: "What becomes of a record that breaks the rule: it is predicted with a header that names the rule; it gets no prediction; or the pipeline stops before it",
		},
		{
			key: "name", kind: kindText, defDoc: "made of the rule", check: checkRuleName, example: "living_area",
			doc: "The name in headers, dead letters and metrics: at most 63 letters, digits and _, no two the same",
		},
	}
}

func checkRuleName(s string) *fault {
	if variableName(s) && len(s) <= maxRuleName {
		return nil
	}
	return &fault{message: fmt.Sprintf("want a name of at most %d letters, digits and _", maxRuleName)}
}

// lintRules makes the rules of checks.record.
func (d *decoder) lintRules(rules value) {
	if len(rules.list) > maxRules {
		d.reportAt("checks.record", fmt.Sprintf("checks.record has %d rules, and at most %d are possible", len(rules.list), maxRules), "")
		return
	}
	names := map[string]bool{}
	d.ruleAt = map[string]string{}
	for i := range rules.list {
		v := &rules.list[i]
		path := fmt.Sprintf("checks.record[%d]", slices.Index(rules.node.items, v.node)) // one without a rule is not in the list
		c := RecordCheck{Name: v.fields["name"].text, Rule: v.fields["rule"].text, Otherwise: Outcome(v.fields["otherwise"].text)}
		c.Name = cmp.Or(c.Name, RuleName(c.Rule))
		c.Line, _ = v.node.src.position(v.node.start)
		if names[c.Name] {
			d.reportAt(path+".name", "another rule is called "+quote(c.Name), "give it a name of its own, such as name: "+shortRuleName(c.Name))
		}
		names[c.Name] = true
		d.p.Checks.Record = append(d.p.Checks.Record, c)
		d.ruleAt[c.Name] = path + ".rule"
	}
}

// lintConditions checks the conditions of the rules.
func (d *decoder) lintConditions(plan *feature.Plan) {
	rules, err := plan.CompileRules(d.p.Train.Label, d.p.Checks.Rules(), nil)
	if err != nil {
		d.expressionProblems("checks.record", err)
		return
	}
	for i := range d.p.Checks.Record {
		d.p.Checks.Record[i].Trained = rules.Trained(i)
	}
}

// Rules returns the rules of the record checks for package feature.
func (c *Checks) Rules() []feature.Rule {
	rules := make([]feature.Rule, len(c.Record))
	for i := range c.Record {
		rules[i] = feature.Rule{Name: c.Record[i].Name, Expr: c.Record[i].Rule}
	}
	return rules
}

// RuleName returns the name of a rule that has none of its own: its words, with words for comparisons.
func RuleName(rule string) string {
	words := strings.NewReplacer("==", " is ", "!=", " is_not ", "<=", " at_most ", ">=", " at_least ", "<", " below ", ">", " above ", "-", " minus ", "+", " plus ").Replace(rule)
	fields := strings.FieldsFunc(words, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	name := strings.Join(fields, "_")
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "rule_" + name
	}
	return strings.TrimRight(name[:min(len(name), maxRuleName)], "_")
}

// shortRuleName returns a name that resembles another.
func shortRuleName(name string) string { return name[:min(len(name), maxRuleName-2)] + "_2" }
