package lint

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// layers lists every package of the module, lowest layer first. A package may import only packages of lower
// layers; those of one layer are siblings and do not import one another. A name that ends in /... stands for a
// tree whose packages are above everything else.
var layers = [][]string{
	{"internal/detmath", "internal/lint", "internal/testenv"},
	{"record"},
	{"feature", "gbm", "codec"},
	{"model"},
	{"internal/pipeline"},
	{"internal/kafka"},
	{"internal/engine", "internal/batch"},
	{"internal/config", "internal/registry", "internal/house", "internal/devbroker"},
	{"internal/app"},
	{"internal/cli"},
	{"cmd/millrace"},
	{"e2e/...", "bench/..."},
}

// only lists the dependencies that some packages hide from all others. The client library is open to the packages
// under e2e and bench as well: a test with real brokers must not see them through the code that it tests.
var only = map[string]struct{ by, why string }{
	client:                      {"internal/kafka", "the rest of millrace speaks of records and offsets, not of a client library"},
	client + "/pkg/kmsg":        {"internal/kafka internal/devbroker", "requests as they are on the wire are for the two ends of the wire"},
	client + "/pkg/kerr":        {"internal/kafka internal/devbroker", "error codes as they are on the wire are for the two ends of the wire"},
	client + "/pkg/kfake":       {"internal/devbroker", "nothing but the development broker may know that it is not real"},
	"go.yaml.in/yaml/v4":        {"internal/config", "one place decides how a file is read and how its errors look"},
	"github.com/expr-lang/expr": {"feature", "expressions are compiled once; the plan in the bundle does not depend on the parser"},
	"github.com/spf13/cobra":    {"internal/cli", "commands are a skin over internal/app"},
}

const (
	module = "millrace.dev"
	client = "github.com/twmb/franz-go"
	kfake  = client + "/pkg/kfake"
)

// outside tells whether pkg looks at the product from outside.
func outside(pkg string) bool {
	return strings.HasPrefix(pkg, module+"/e2e/") || strings.HasPrefix(pkg, module+"/bench/")
}

// longest returns the dependency of the table that decides about an import: the one with the longest name.
func longest(imp string) (dep string, ok bool) {
	for d := range only {
		if (imp == d || strings.HasPrefix(imp, d+"/")) && len(d) > len(dep) {
			dep, ok = d, true
		}
	}
	return dep, ok
}

func TestImports(t *testing.T) {
	t.Parallel()
	level, tree := map[string]int{}, map[string]int{}
	for i, l := range layers {
		for _, p := range l {
			if dir, ok := strings.CutSuffix(p, "/..."); ok {
				tree[dir] = i
			} else {
				level[path.Join(module, p)] = i
			}
		}
	}
	at := func(pkg string) (int, bool) {
		if l, ok := level[pkg]; ok {
			return l, true
		}
		for dir, l := range tree {
			if d := path.Join(module, dir); pkg == d || strings.HasPrefix(pkg, d+"/") {
				return l, true
			}
		}
		return 0, false
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}}|{{join .Imports " "}}`, module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), "|")
		mine, ok := at(pkg)
		if !ok {
			t.Errorf("%s has no layer: give it one in internal/lint, and in DESIGN.md", pkg)
			continue
		}
		for imp := range strings.FieldsSeq(imports) {
			if theirs, ok := at(imp); ok && theirs >= mine {
				t.Errorf("%s (layer %d) must not import %s (layer %d)", pkg, mine, imp, theirs)
			}
			dep, ok := longest(imp)
			if !ok || strings.HasPrefix(dep, client) && dep != kfake && outside(pkg) {
				continue
			}
			if rule := only[dep]; !slices.Contains(strings.Fields(rule.by), strings.TrimPrefix(pkg, module+"/")) {
				t.Errorf("%s imports %s: only %s may: %s", pkg, imp, rule.by, rule.why)
			}
		}
	}
}
