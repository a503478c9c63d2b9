package model

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestImported holds that a bundle keeps which file its trees came from, and refuses half of it.
func TestImported(t *testing.T) {
	t.Parallel()
	b := small(t)
	from := Imported{Format: "lightgbm", Version: "v4", Objective: "regression", Name: "model.txt", Digest: "sha256:" + strings.Repeat("0a", 32)}
	b.Lineage.Imported = &from
	back, err := Decode(encode(t, b))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&from, back.Lineage.Imported); diff != "" {
		t.Error(diff)
	}
	for name, change := range map[string]func(m *Imported){
		"format": func(m *Imported) { m.Format = "" },
		"name":   func(m *Imported) { m.Name = "" },
		"digest": func(m *Imported) { m.Digest = "sha256:0a" },
		"UTF-8":  func(m *Imported) { m.Objective = "\xff" },
	} {
		half := from
		change(&half)
		b.Lineage.Imported = &half
		if _, _, err := b.Encode(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want an error of the %s: %v", name, err)
		}
	}
}
