package query

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace.dev/internal/auth"
)

var updateDocs = flag.Bool("update", false, "write the table of routes into docs/queries.md") //nolint:gochecknoglobals // a flag of the test binary

// TestRoutesDoc holds the table of docs/queries.md to the routes.
func TestRoutesDoc(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	table.WriteString("| route | role | what it does |\n|---|---|---|\n")
	for _, r := range (&API{}).Routes() {
		if r.Role != auth.Reader {
			t.Errorf("%s %s needs the role %q", r.Method, r.Pattern, r.Role)
		}
		fmt.Fprintf(&table, "| `%s %s` | %s | %s |\n", r.Method, r.Pattern, r.Role, r.Summary)
	}
	path := filepath.Join("..", "..", "docs", "queries.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- routes: go test ./internal/query -run TestRoutesDoc -update -->\n", "<!-- end of routes -->\n"
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, also := strings.Cut(rest, end)
	if !ok || !also {
		t.Fatalf("%s has no place for the table", path)
	}
	want := before + begin + table.String() + end + after
	if *updateDocs {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	} else if want != string(b) {
		t.Errorf("the table of %s is not that of the routes: run the test with -update", path)
	}
}
