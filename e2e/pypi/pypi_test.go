//go:build unix

package pypi

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"millrace.dev/internal/testenv"
)

// TestPrepare makes an environment from several places at a time, and again when the requirements have changed.
func TestPrepare(t *testing.T) {
	t.Parallel()
	testenv.Asked(t, "pypi", "MILLRACE_REQUIRE=pypi go test ./e2e/pypi")
	dir := filepath.Join(t.TempDir(), "env")
	first := []byte("six==1.17.0\n")
	var askers sync.WaitGroup
	for range 3 {
		askers.Go(func() {
			if err := prepare(t.Context(), dir, first); err != nil {
				t.Error(err)
			}
		})
	}
	askers.Wait()
	out, err := exec.CommandContext(t.Context(), interpreter(dir), "-c", "import six; print(six.__version__)").CombinedOutput()
	if err != nil || string(out) != "1.17.0\n" {
		t.Fatalf("%s: %v", out, err)
	}

	mark := filepath.Join(dir, "mark")
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := prepare(t.Context(), dir, first); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("the environment was made again, with the same requirements: %v", err)
	}
	if err := prepare(t.Context(), dir, []byte("six==1.16.0\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the environment was kept, with other requirements")
	}

	err = prepare(t.Context(), dir, []byte("python-dateutil==2.9.0.post0\n"))
	if err == nil || !strings.Contains(err.Error(), "six") {
		t.Errorf("requirements that lack one: %v", err)
	}
	if err := prepare(t.Context(), dir, first); err != nil {
		t.Errorf("after one that failed: %v", err)
	}
}
