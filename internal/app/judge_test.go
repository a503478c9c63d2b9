package app

import (
	"fmt"
	"slices"
	"testing"

	"millrace.dev/profile"
)

// TestResultsFit holds the result of a window of many columns to what a topic takes: what is bad stays, the worst first.
func TestResultsFit(t *testing.T) {
	t.Parallel()
	r := &WindowResult{Version: 1, Digest: "d", Result: "fail", Verdict: &profile.Verdict{Severity: profile.Fail}}
	edges, counts := make([]float64, profile.Bins), make([]uint64, profile.Bins+1)
	for i := range edges {
		edges[i] = float64(i) / 3
	}
	add := func(name string, role profile.Role, s profile.Severity) {
		r.Columns = append(r.Columns, profile.Column{Name: name, Role: role, Kind: profile.Number, Edges: edges, Counts: counts})
		r.Findings = append(r.Findings, profile.Finding{Column: name, Check: profile.CheckDrift, Severity: s, Words: name + " is as it is"})
	}
	severities := []profile.Severity{profile.OK, profile.OK, profile.Warn, profile.Fail}
	for i := range 1000 {
		add(fmt.Sprintf("c%03d", i), profile.Field, severities[i%4])
	}
	add("prediction", profile.Prediction, profile.OK)
	for _, c := range []struct{ most, findings int }{{10 << 20, 1001}, {mostResult, 250}, {20 << 10, 7}, {1, 0}} {
		b, err := r.bytes(c.most)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeResult(b)
		if err != nil {
			t.Fatal(err)
		}
		columns := c.findings + 1
		if c.findings == 1001 {
			columns--
		}
		if len(b) > c.most && c.findings > 0 || len(back.Findings) != c.findings || len(back.Columns) != columns || back.Shortened != (c.findings < 1001) {
			t.Errorf("within %d bytes: %d bytes, %d findings, %d columns, shortened: %t", c.most, len(b), len(back.Findings), len(back.Columns), back.Shortened)
		}
		if bad := slices.ContainsFunc(back.Findings, func(f profile.Finding) bool { return f.Severity != profile.Fail }); bad && back.Shortened {
			t.Errorf("within %d bytes there is more than failures", c.most)
		}
	}
}
