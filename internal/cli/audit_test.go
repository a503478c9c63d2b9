package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/registry"
)

// TestLogAtWhereClocksDiffer: an event from a clock that was far ahead hides those behind it, and is not to do so unseen.
func TestLogAtWhereClocksDiffer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, models := filepath.Join(dir, "p.yaml"), filepath.Join(dir, "models")
	var rows strings.Builder
	for i := range 60 {
		fmt.Fprintf(&rows, "%d,%d\n", i%7, 10*(i%7))
	}
	for path, text := range map[string]string{
		file: `
version: 1
name: x
schema: {numeric: [a, y]}
source: {topic: t}
train: {data: d.csv, label: y, gbm: {ntrees: 1, min_rows: 1}}
sink: {topic: p}
dead_letter: {topic: q}
model: {registry: models}
`,
		filepath.Join(dir, "d.csv"): "a,y\n" + rows.String(),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, stderr := run("train", file, "--by", "ada"); code != 0 {
		t.Fatal(stderr)
	}
	r, err := registry.Open(models, registry.Options{Now: func() time.Time { return time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Approve(t.Context(), "x@1", "", registry.Decision{By: "eve", Reason: "by a clock that is ahead"}); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := run("model", "retire", "x@1", "--registry", models, "--by", "bob", "--reason", "done"); code != 0 {
		t.Fatal(stderr)
	}
	code, stdout, stderr := run("model", "log", "--registry", models, "--at", "2998-01-01", "--json")
	if want := "clocks differ: event 2 is dated after that time, and 1 event behind it not: if its clock was ahead, they count too; see millrace model log\n"; code != 0 || stderr != want {
		t.Errorf("%d, %s", code, stderr)
	}
	if !strings.Contains(stdout, `"events":1,`) || !strings.Contains(stdout, `"later":1,`) {
		t.Error(stdout)
	}
	if code, _, stderr := run("model", "log", "--registry", models, "--at", "2999-01-02"); code != 0 || stderr != "" {
		t.Errorf("%d, %s", code, stderr)
	}
}
