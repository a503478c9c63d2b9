//go:build linux

package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"millrace.dev/internal/house"
)

const (
	seed      = 1
	history   = 20_000 // past sales to train on
	modelRef  = "house-prices@1"
	pipelines = "pipeline.yaml"
)

//go:embed pipeline.yaml
var pipelineFile []byte

// prepare makes the folder of the pipeline and an approved model.
func (b *bench) prepare(ctx context.Context) error {
	var err error
	if b.millrace, err = filepath.Abs(b.millrace); err != nil {
		return err
	}
	g, err := house.New(house.Options{Seed: seed, History: history})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.dir, "sales.csv"), g.CSV(history), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.dir, pipelines), pipelineFile, 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"train"},
		{"model", "approve", modelRef, "--by", "bench", "--reason", "to be measured"},
	} {
		cmd := exec.CommandContext(ctx, b.millrace, args...)
		cmd.Dir = b.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("millrace %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}
