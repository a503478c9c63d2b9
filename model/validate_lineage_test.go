package model

import (
	"strings"
	"testing"
)

// TestLineageOfTables refuses tables that do not say where their rows came from.
func TestLineageOfTables(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		table TableSource
		ok    bool
	}{
		"whole":     {TableSource{Name: "zips", DataName: "zips.csv", DataDigest: digest}, true},
		"no name":   {TableSource{DataName: "zips.csv", DataDigest: digest}, false},
		"no data":   {TableSource{Name: "zips", DataDigest: digest}, false},
		"no digest": {TableSource{Name: "zips", DataName: "zips.csv"}, false},
		"no text":   {TableSource{Name: "zips", DataName: "\xff", DataDigest: digest}, false},
	} {
		l := Lineage{DataName: "sales.csv", DataDigest: digest, Params: []byte("{}"), Split: Split{Train: 0.7, Validation: 0.2, Test: 0.1}, Tables: []TableSource{c.table}}
		if err := l.validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
