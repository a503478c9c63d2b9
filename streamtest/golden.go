package streamtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace.dev/stream"
)

// updateVariable is the environment variable with which golden files are written instead of compared.
const updateVariable = "MILLRACE_UPDATE"

// Golden compares the description of a topology with a golden file, whose path counts from the package's folder: a
// change of the topology is then seen in review. With the environment variable MILLRACE_UPDATE it writes the file.
func Golden(t testing.TB, topology *stream.Topology, file string) {
	t.Helper()
	text, err := topology.Describe()
	if err != nil {
		t.Fatalf("streamtest: %v", err)
	}
	GoldenText(t, text, file)
}

// GoldenText compares a text with a golden file as [Golden] does: what [Output.Text] returns, or a drawing of a
// topology.
func GoldenText(t testing.TB, got, file string) {
	t.Helper()
	if os.Getenv(updateVariable) != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatalf("streamtest: %v", err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatalf("streamtest: %v", err)
		}
		return
	}
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.Errorf("streamtest: there is no file %s: run the test with %s=1 to write it\n%s", file, updateVariable, got)
	case err != nil:
		t.Errorf("streamtest: %v", err)
	default:
		if want := strings.ReplaceAll(string(b), "\r\n", "\n"); want != got {
			t.Errorf("streamtest: differs from %s (-file +here); if that is right, run the test with %s=1\n%s",
				file, updateVariable, lines(want, got))
		}
	}
}

// lines shows how two texts differ, line by line: those that both begin and end with are left out.
func lines(want, got string) string {
	a, b := strings.SplitAfter(want, "\n"), strings.SplitAfter(got, "\n")
	first := 0
	for first < len(a) && first < len(b) && a[first] == b[first] {
		first++
	}
	a, b = a[first:], b[first:]
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var s strings.Builder
	for _, side := range []struct {
		sign  string
		lines []string
	}{{"-", a}, {"+", b}} {
		for _, l := range side.lines {
			if l = strings.TrimSuffix(l, "\n"); l != "" {
				s.WriteString(side.sign + l + "\n")
			}
		}
	}
	return s.String()
}
