package testenv

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRequired(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		list, what string
		want       bool
	}{
		{"", "kafka", false},
		{"kafka", "kafka", true},
		{"data, kafka", "kafka", true},
		{"kafka,data", "data", true},
		{"kafkaesque", "kafka", false},
	} {
		if got := required(c.list, c.what); got != c.want {
			t.Errorf("required(%q, %q) = %t", c.list, c.what, got)
		}
	}
}

func TestData(t *testing.T) {
	t.Setenv("MILLRACE_DATA", t.TempDir())
	if dir := Data(t); dir == "" {
		t.Error("no folder")
	}
	if _, err := os.Stat(filepath.Join(Root(t), "internal", "testenv")); err != nil {
		t.Error(err)
	}
}

func TestVectors(t *testing.T) {
	want := t.TempDir()
	t.Setenv("MILLRACE_VECTORS", want)
	if dir := Vectors(t); dir != want {
		t.Errorf("got %s, want %s", dir, want)
	}
	t.Setenv("MILLRACE_VECTORS", filepath.Join(want, "none"))
	t.Setenv("MILLRACE_REQUIRE", "vectors")
	p := &probe{TB: t}
	if Vectors(p); !p.failed {
		t.Error("no vectors, yet the test does not fail")
	}
}

// probe stands for a test that lacks something.
type probe struct {
	testing.TB
	failed, skipped bool
}

func (p *probe) Helper()               {}
func (p *probe) Fatalf(string, ...any) { p.failed = true }
func (p *probe) Skipf(string, ...any)  { p.skipped = true }

func TestMissing(t *testing.T) {
	t.Setenv("MILLRACE_REQUIRE", "")
	p := &probe{TB: t}
	if Missing(p, "kafka", "install it"); !p.skipped || p.failed {
		t.Errorf("not required: %+v", p)
	}
	t.Setenv("MILLRACE_REQUIRE", "data,kafka")
	p = &probe{TB: t}
	if Missing(p, "kafka", "install it"); !p.failed {
		t.Error("required, yet the test does not fail")
	}
	t.Setenv("MILLRACE_DATA", filepath.Join(t.TempDir(), "none"))
	p = &probe{TB: t}
	if Data(p); !p.failed {
		t.Error("no data folder, yet the test does not fail")
	}
}
