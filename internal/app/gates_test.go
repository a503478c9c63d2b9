package app

import (
	"strings"
	"testing"

	"millrace.dev/internal/batch"
	"millrace.dev/internal/registry"
)

// TestRefusalHints: the hint is one that gets the model past all gates that refuse it.
func TestRefusalHints(t *testing.T) {
	t.Parallel()
	gate := func(name string, passed bool, c *batch.Contest) GateResult {
		return GateResult{Gate: registry.Gate{Name: name, Passed: passed, Words: "words"}, Contest: c}
	}
	for name, tc := range map[string]struct {
		gates []GateResult
		want  string
	}{
		"metric":         {[]GateResult{gate("metrics.rmse", false, nil), gate(gateChampion, true, nil)}, "mend model.accept, and train again"},
		"worse":          {[]GateResult{gate(gateChampion, false, &batch.Contest{})}, "mend model.accept, and train again"},
		"not comparable": {[]GateResult{gate(gateChampion, false, nil), gate(gateProfile, true, nil)}, "take model.accept.champion out of the file"},
		"profile":        {[]GateResult{gate(gateChampion, true, nil), gate(gateProfile, false, nil)}, "--set model.accept.profile="},
		"both":           {[]GateResult{gate(gateChampion, false, nil), gate(gateSkew, true, nil), gate(gateProfile, false, nil)}, "take champion and profile out of model.accept"},
	} {
		if e := refusalOf(tc.gates); e == nil || e.Code != Refused || !strings.Contains(e.Hint, tc.want) {
			t.Errorf("%s: %+v, want %q", name, e, tc.want)
		}
	}
	if e := refusalOf([]GateResult{gate(gateChampion, true, nil)}); e != nil {
		t.Error(e)
	}
}
