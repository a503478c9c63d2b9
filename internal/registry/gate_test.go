package registry

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGates keeps the outcomes of gates with the version, also for whoever opens the registry anew.
func TestGates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, r := newFactory(t), openDir(t, dir)
	x, limit := 12.5, 10.0
	gates := []Gate{{Name: "metrics.rmse", Passed: true, Value: &limit, Limit: &x, Words: "rmse is 10"}, {Name: "champion", Passed: true, Words: "there is no champion to compare with"}}
	v, err := r.Register(t.Context(), f.make(1), "ada", gates...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(gates, v.Gates); diff != "" {
		t.Error(diff)
	}
	again, err := openDir(t, dir).Resolve(t.Context(), v.Ref(), "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, again); diff != "" {
		t.Error(diff)
	}
	if _, err := r.Approve(t.Context(), v.Ref(), "", Decision{By: "grace", Reason: "fine"}); err != nil {
		t.Error(err)
	}
}

// TestGateRefused approves no version that a gate refused, though nothing came after its registration: training dies there.
func TestGateRefused(t *testing.T) {
	t.Parallel()
	f, r := newFactory(t), openDir(t, t.TempDir())
	x := 12.5
	v, err := r.Register(t.Context(), f.make(1), "ada", Gate{Name: "skew", Passed: true, Words: "fine"}, Gate{Name: "metrics.rmse", Value: &x, Words: "rmse is 12.5"})
	if err != nil {
		t.Fatal(err)
	}
	d := Decision{By: "grace", Reason: "I want it"}
	if _, err := r.Approve(t.Context(), v.Ref(), "", d); !errors.Is(err, ErrNotApproved) || !strings.Contains(err.Error(), "the gate metrics.rmse refused it in training: rmse is 12.5") {
		t.Error(err)
	}
	if _, err := r.Reject(t.Context(), v.Ref(), "", d); err != nil {
		t.Error(err)
	}
}

func TestGateInvalid(t *testing.T) {
	t.Parallel()
	f, r := newFactory(t), openDir(t, t.TempDir())
	data := f.make(1)
	nan := math.NaN()
	for name, gates := range map[string][]Gate{
		"no name":   {{Words: "x"}},
		"no words":  {{Name: "x"}},
		"two lines": {{Name: "x", Words: "a\nb"}},
		"an escape": {{Name: "x", Words: "a\x1b[31m"}},
		"no number": {{Name: "x", Words: "a", Value: &nan}},
		"too long":  {{Name: "x", Words: strings.Repeat("a", maxWords+1)}},
		"too many":  make([]Gate, maxGates+1),
	} {
		if v, err := r.Register(t.Context(), data, "ada", gates...); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	if versions, err := r.List(t.Context()); err != nil || len(versions) > 0 {
		t.Errorf("%v, %v", versions, err)
	}
}
