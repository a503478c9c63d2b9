package remote

import (
	"slices"
	"testing"

	"millrace.dev/record"
)

// TestMissingLevel has a level that is the empty text, as a missing one is otherwise: the two have to differ.
func TestMissingLevel(t *testing.T) {
	t.Parallel()
	for _, levels := range [][]string{{"a", "b"}, {"", "a"}, {"", "\x00", "a"}} {
		c := &record.Column{Name: "city", Type: record.Enum, Codes: []int32{record.MissingCode, 0}, Levels: levels}
		got := texts(c, []int{0, 1})
		if string(got[1]) != levels[0] || slices.Contains(levels, string(got[0])) || got[0] == nil {
			t.Errorf("levels %q: missing is %q, the first is %q", levels, got[0], got[1])
		}
	}
}
