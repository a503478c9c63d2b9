package config

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestRegistryLocation holds that the address of a bucket is not made a path, and that one with credentials is shown
// nowhere.
func TestRegistryLocation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "pipeline.yaml")
	if err := Create(path, []byte(strings.ReplaceAll(house, `password: "${PW}"`, "password_file: secrets/kafka")), false); err != nil {
		t.Fatal(err)
	}
	const bucket = "s3://models/team/a?endpoint=http://127.0.0.1:9000&region=us-east-1"
	for location, want := range map[string]string{"m": "m", "/var/lib/m": "/var/lib/m", bucket: bucket, "s3://models": "s3://models"} {
		p, err := Load(path, Options{Set: []string{"model.registry=" + location}})
		if err != nil || p.Model.Registry != want && p.Model.Registry != filepath.Join(dir, want) {
			t.Errorf("%s: %v, %v", location, p, err)
		}
	}
	for _, location := range []string{"s3://key:hunter2@models", "s3://models?secret_key=hunter2", "https://hunter2.example.com/models"} {
		_, err := Load(path, Options{Set: []string{"model.registry=" + location}})
		if ps := asProblems(err); len(ps) != 1 || !strings.HasPrefix(ps[0].Message, "model.registry: ") || ps[0].Hint == "" {
			t.Fatalf("%s: %v", location, err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", location, err)
		}
	}
}
