package streamtest_test

import (
	"path/filepath"
	"testing"

	"millrace.dev/streamtest"
)

func TestGolden(t *testing.T) {
	t.Parallel()
	for range 5 { // the same each time
		streamtest.Golden(t, shop(), "testdata/shop.golden")
	}
	dot, err := shop().DOT()
	if err != nil {
		t.Fatal(err)
	}
	streamtest.GoldenText(t, dot, "testdata/shop.dot")
	mermaid, err := shop().Mermaid()
	if err != nil {
		t.Fatal(err)
	}
	streamtest.GoldenText(t, mermaid, "testdata/shop.mermaid")
}

func TestGoldenIsWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "text.golden")
	t.Setenv("MILLRACE_UPDATE", "1")
	streamtest.GoldenText(t, "some text\n", file)
	t.Setenv("MILLRACE_UPDATE", "")
	streamtest.GoldenText(t, "some text\n", file)
	if got := failure(t, func(t testing.TB) { streamtest.GoldenText(t, "some\ntext\n", file) }); got == "" {
		t.Error("another text is taken for the same")
	}
}
