package registry

import (
	"errors"
	"testing"
)

// TestHint holds that what to do about an error can be had apart from what is wrong, and that both are in its text.
func TestHint(t *testing.T) {
	t.Parallel()
	err := Version{Model: "houses", Number: 1, State: StateCandidate}.CheckApproved()
	h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err)
	if !ok || !errors.Is(err, ErrNotApproved) {
		t.Fatalf("%v: no hint, or not ErrNotApproved", err)
	}
	const hint = "approve it: millrace model approve houses@1 --by NAME --reason TEXT"
	if h.Hint() != hint || err.Error() != errors.Unwrap(h).Error()+": "+hint {
		t.Errorf("error %q, hint %q", err, h.Hint())
	}
}
