package lint

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestNoFusedMultiplyAdd looks at the code for arm64, where the compiler may fuse a product and a sum into one
// instruction that rounds once: a feature or a prediction would differ there in its last bit. Writing
// float64(x*y) + z forbids it.
func TestNoFusedMultiplyAdd(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("this builds millrace for another architecture")
	}
	binary := filepath.Join(t.TempDir(), "millrace")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, module+"/cmd/millrace")
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dump := exec.CommandContext(t.Context(), "go", "tool", "objdump", "-s", `^millrace\.dev/`, binary)
	out, err := dump.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := dump.Start(); err != nil {
		t.Fatal(err)
	}
	fused, multiplied := regexp.MustCompile(`\bFN?M(ADD|SUB)[SD]\b`), regexp.MustCompile(`\bFMUL[SD]\b`)
	products := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		switch line := lines.Text(); {
		case fused.MatchString(line):
			t.Error(line)
		case multiplied.MatchString(line):
			products++
		}
	}
	if err := dump.Wait(); err != nil {
		t.Fatal(err)
	}
	if products == 0 {
		t.Error("no product of floats in the whole binary: this test looks at the wrong thing")
	}
}
