package app

import (
	"fmt"

	"millrace.dev/feature"
	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/model"
)

// headerChecks names the rules that a predicted record has broken.
const headerChecks = "millrace.checks"

// pipelineChecks returns the record checks of a pipeline file, as the path takes them.
func pipelineChecks(p *config.Pipeline) []pipeline.Check {
	checks := make([]pipeline.Check, len(p.Checks.Record))
	for i := range p.Checks.Record {
		c := &p.Checks.Record[i]
		checks[i] = pipeline.Check{Name: c.Name, Rule: c.Rule, Otherwise: map[config.Outcome]pipeline.Outcome{
			config.Warn: pipeline.Warn, config.RejectRecord: pipeline.Reject, config.FailPipeline: pipeline.Fail,
		}[c.Otherwise]}
	}
	return checks
}

// compileChecks compiles the record checks of a pipeline file for a model, which only then says what its training rows were
// like.
func compileChecks(op string, p *config.Pipeline, m *model.Loaded) (*feature.Rules, error) {
	rules, err := pipeline.CompileChecks(m.Bundle, pipelineChecks(p))
	if err != nil {
		return nil, rulesError(op, p, m.Ref, err)
	}
	return rules, nil
}

// rulesError returns the error of rules that cannot be tested with a model.
func rulesError(op string, p *config.Pipeline, ref string, err error) error {
	for _, e := range feature.Errors(err) {
		for i := range p.Checks.Record {
			if c := &p.Checks.Record[i]; c.Name == e.Feature {
				return &Error{
					Code: Usage, Op: op, Where: fmt.Sprintf("%s:%d", p.File, c.Line), Hint: e.Hint,
					Err: fmt.Errorf("the rule %s cannot be tested with %s: %s", c.Name, ref, e.Msg),
				}
			}
		}
	}
	return fmt.Errorf("%s: checks.record: %w", op, err)
}
