package lightgbm_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace.dev/internal/importer/importertest"
	"millrace.dev/internal/importer/lightgbm"
)

// TestGolden compares predictions with those of LightGBM, for the models that testdata/make.py has made.
func TestGolden(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(paths) < 25 {
		t.Fatalf("%d models: %v", len(paths), err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(path, ".txt")
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			m, err := lightgbm.Read(data)
			if err != nil {
				t.Fatal(err)
			}
			importertest.Check(t, m, name+".json", 2)
		})
	}
}
