package xgboost_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace.dev/internal/importer/importertest"
	"millrace.dev/internal/importer/xgboost"
)

// TestGolden compares predictions with those of XGBoost, for the models that testdata/make.py has made.
func TestGolden(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/golden/*.rows.json")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d models: %v", len(paths), err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(path, ".rows.json")
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(name + ".json")
			if err != nil {
				if data, err = os.ReadFile(name + ".ubj"); err != nil {
					t.Fatal(err)
				}
			}
			if !xgboost.Is(data) {
				t.Error("the model is not recognised")
			}
			m, err := xgboost.Read(data)
			if err != nil {
				t.Fatal(err)
			}
			importertest.Check(t, m, path, 1)
		})
	}
}
