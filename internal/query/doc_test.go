package query

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"millrace.dev/internal/auth"
	"millrace.dev/internal/testenv"
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
	testenv.Documented(t, "docs/queries.md", "<!-- routes: go test ./internal/query -run TestRoutesDoc -update -->", "<!-- end of routes -->", table.String(), *updateDocs)
}
