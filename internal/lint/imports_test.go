package lint

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "millrace.dev"

// layers lists every package of the module, lowest layer first. A package may import only packages of lower
// layers; those of one layer are siblings and do not import one another. A name that ends in /... stands for a
// tree of packages.
func layers() [][]string {
	return [][]string{
		{"gbm/internal/bitplane", "internal/assign", "internal/chart", "internal/detmath", "internal/durable", "internal/lint", "internal/oip/inference", "internal/reload", "internal/secret", "internal/spell", "internal/testenv", "internal/timetable", "internal/trust"},
		{"record", "internal/auth", "internal/stat", "internal/durable/errorfs", "internal/registry/objects", "internal/registry/objects/fakes3", "internal/trace"},
		{"feature", "gbm", "codec", "internal/window", "internal/experiment", "internal/server", "profile"},
		{"internal/oip"},
		{"internal/anomaly", "internal/canary", "internal/cdc", "internal/remote", "internal/outcome", "internal/rollout", "internal/watch"},
		{"internal/table"},
		{"model", "internal/mlflow"},
		{"internal/importer"},
		{"internal/importer/importertest", "internal/importer/lightgbm", "internal/importer/xgboost"},
		{"internal/pipeline", "internal/drift"},
		{"internal/kafka", "internal/store", "internal/sample", "internal/backtest", "internal/shadow", "internal/trial"},
		{"internal/task", "internal/source", "internal/report"},
		{"stream"},
		{"streamtest", "internal/engine", "internal/batch", "internal/serve"},
		{"internal/metrics", "internal/letter"},
		{"internal/api", "internal/query"},
		{"."},
		{"internal/config", "internal/registry", "internal/house", "internal/devbroker"},
		{"internal/app"},
		{"internal/demo"},
		{"internal/cli"},
		{"cmd/millrace"},
		{"examples/..."},
		{"e2e/leash", "e2e/pypi", "e2e/streams/topology"},
		{"e2e/..."},
		{"bench/internal/..."},
		{"bench/..."},
	}
}

// hidden lists the dependencies that few packages hide from all others. Packages below e2e and bench look at the
// product from outside, and may use the client library.
func hidden() map[string]struct{ by, why string } {
	return map[string]struct{ by, why string }{
		"github.com/twmb/franz-go":                {"internal/kafka", "the rest speaks of records and offsets, not of a client library"},
		"github.com/twmb/franz-go/pkg/kmsg":       {"internal/kafka internal/devbroker", "requests on the wire are for the two ends of the wire"},
		"github.com/twmb/franz-go/pkg/kerr":       {"internal/kafka internal/devbroker", "error codes on the wire are for the two ends of the wire"},
		"github.com/twmb/franz-go/pkg/kfake":      {"internal/devbroker", "nothing else may depend on a broker that is not real"},
		"github.com/parquet-go":                   {"internal/source", "the rest speaks of records, not of the files that they are in"},
		"github.com/klauspost/compress":           {"internal/source", "the rest reads what was uncompressed"},
		"github.com/pierrec/lz4":                  {"internal/source", "the rest reads what was uncompressed"},
		"go.yaml.in/yaml/v4":                      {"internal/config internal/mlflow", "one place decides how a pipeline file is read and how its errors look; an MLmodel file is YAML too"},
		"github.com/minio/minio-go/v7":            {"internal/registry/objects", "the rest speaks of objects by name, not of a server"},
		"github.com/expr-lang/expr":               {"feature", "the plan in a bundle does not depend on the parser"},
		"github.com/cockroachdb/pebble/v2":        {"internal/store", "the rest speaks of tasks and stores, not of a database"},
		"github.com/oschwald/maxminddb-golang/v2": {"internal/table", "the rest speaks of rows by key, not of a file format"},
		"github.com/spf13/cobra":                  {"internal/cli", "commands are a skin over internal/app"},
		"github.com/prometheus":                   {"internal/metrics internal/app", "the rest counts; few places say how the counts are read"},
		"github.com/netresearch/go-cron":          {"internal/timetable", "when something is due is decided in one place, by the clock on the wall"},
		"connectrpc.com/connect":                  {"internal/oip/inference internal/api internal/remote", "the two ends of gRPC; the rest speaks of requests and answers"},
		"google.golang.org/protobuf":              {"internal/oip/inference", "the rest speaks of messages by their generated types"},
		"github.com/go-jose/go-jose/v4":           {"internal/auth", "who sends a request is told in one place"},
		"golang.org/x/time":                       {"internal/server", "how often a client may ask is decided in one place"},
		"go.opentelemetry.io":                     {"internal/trace", "the rest speaks of spans without a library"},
		"golang.org/x/term":                       {"internal/cli", "what a person sees is decided in one place"},
		"golang.org/x/sys":                        {"gbm/internal/bitplane internal/cli internal/devbroker", "the standard library has what the others need"},
	}
}

// within tells whether package pkg is root or lies below it.
func within(pkg, root string) bool { return pkg == root || strings.HasPrefix(pkg, root+"/") }

// layerOf returns the layer of a package, and whether it has one.
func layerOf(pkg string) (int, bool) {
	for i, layer := range layers() {
		for _, name := range layer {
			dir, tree := strings.CutSuffix(name, "/...")
			if p := path.Join(module, dir); pkg == p || tree && within(pkg, p) {
				return i, true
			}
		}
	}
	return 0, false
}

// owner returns the longest rule that covers an import.
func owner(imp string) (dep string) {
	for d := range hidden() {
		if within(imp, d) && len(d) > len(dep) {
			dep = d
		}
	}
	return dep
}

func outside(pkg string) bool {
	return within(pkg, path.Join(module, "e2e")) || within(pkg, path.Join(module, "bench"))
}

// imports returns what each package of the module imports, on any system, apart from its tests. It reads the files
// itself: of what another program reads, go test would not know that it has changed, and call an old result a new one.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	packages := map[string][]string{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(file, "go.mod")); file != root && (err == nil || d.Name() == "testdata" || d.Name()[0] == '.') {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		pkg := path.Join(module, filepath.ToSlash(dir))
		packages[pkg] = slices.Grow(packages[pkg], len(f.Imports)) // also one that imports nothing has to have a layer
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			packages[pkg] = append(packages[pkg], name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

func TestImports(t *testing.T) {
	t.Parallel()
	packages := imports(t)
	if _, ok := packages[module+"/internal/app"]; !ok {
		t.Fatalf("no package internal/app among %d", len(packages))
	}
	for pkg, imports := range packages {
		mine, ok := layerOf(pkg)
		if !ok {
			t.Errorf("%s has no layer: give it one in internal/lint, and in DESIGN.md", pkg)
			continue
		}
		slices.Sort(imports)
		for _, imp := range slices.Compact(imports) {
			if theirs, ok := layerOf(imp); ok && theirs >= mine {
				t.Errorf("%s (layer %d) must not import %s (layer %d)", pkg, mine, imp, theirs)
			}
			if dep := owner(imp); dep != "" && !outside(pkg) && !slices.Contains(strings.Fields(hidden()[dep].by), strings.TrimPrefix(pkg, module+"/")) {
				t.Errorf("%s imports %s: only %s may: %s", pkg, imp, hidden()[dep].by, hidden()[dep].why)
			}
		}
	}
}
