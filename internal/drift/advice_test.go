package drift

import (
	"testing"

	"millrace.dev/profile"
)

// TestRules holds the recommendation to the table of docs/drift.md.
func TestRules(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		evidence

		action Action
		rule   string
	}{
		"all is well":                   {evidence{}, None, "ok"},
		"labels agree":                  {evidence{labels: NotConfirmed}, None, "ok"},
		"few labels":                    {evidence{labels: TooFew}, None, "ok"},
		"a warning":                     {evidence{warned: true}, Watch, "warning"},
		"a fault":                       {evidence{moved: true, lasting: true, fault: true, exposure: 0.5}, FixData, "fault"},
		"a fault with a loss":           {evidence{moved: true, lasting: true, fault: true, labels: Confirmed, worse: 1}, FixData, "fault"},
		"a fault that labels forgive":   {evidence{moved: true, fault: true, labels: NotConfirmed}, FixData, "fault"},
		"a loss":                        {evidence{moved: true, labels: Confirmed, worse: 0.05}, Retrain, "loss"},
		"a loss alone":                  {evidence{labels: Confirmed, worse: 0.4}, Retrain, "loss"},
		"a loss of little":              {evidence{moved: true, lasting: true, exposure: 1, labels: Confirmed, worse: 0.049}, Watch, "small_loss"},
		"no loss":                       {evidence{moved: true, lasting: true, exposure: 1, psi: 1, effect: 1, labels: NotConfirmed}, Watch, "no_loss"},
		"a large move":                  {evidence{moved: true, lasting: true, exposure: 0.1}, Retrain, "moved"},
		"a large move, few labels":      {evidence{moved: true, lasting: true, exposure: 0.1, labels: TooFew}, Retrain, "moved"},
		"predictions that moved":        {evidence{moved: true, lasting: true, psi: 0.25}, Retrain, "moved"},
		"an effect":                     {evidence{moved: true, lasting: true, effect: 0.1}, Retrain, "moved"},
		"a small move":                  {evidence{moved: true, lasting: true, exposure: 0.099, psi: 0.24, effect: 0.09}, Watch, "small"},
		"a large move in one window":    {evidence{moved: true, exposure: 0.5}, Watch, "once"},
		"a small move in one window":    {evidence{moved: true}, Watch, "small"},
		"a large move, with a warning":  {evidence{moved: true, warned: true, lasting: true, exposure: 0.5}, Retrain, "moved"},
		"a warning, and labels say bad": {evidence{warned: true, labels: Confirmed, worse: 0.2}, Retrain, "loss"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if action, rule := decide(&c.evidence); action != c.action || rule != c.rule {
				t.Errorf("%q by %q, want %q by %q", action, rule, c.action, c.rule)
			}
		})
	}
}

// TestEvidence holds what counts as lasting.
func TestEvidence(t *testing.T) {
	t.Parallel()
	fail := Moved{Shift: Shift{Column: "x", Severity: profile.Fail, Since: &Since{Windows: 1}}, Reach: 1}
	for _, c := range []struct {
		windows, run int
		lasting      bool
	}{{1, 1, true}, {5, 1, false}, {5, 2, true}} {
		fail.Since = &Since{Windows: c.run}
		r := &Report{Moved: []Moved{fail}, judged: make([]*Window, c.windows)}
		if e := r.evidence(); !e.moved || e.lasting != c.lasting {
			t.Errorf("%d of %d windows: %+v", c.run, c.windows, e)
		}
	}
}
