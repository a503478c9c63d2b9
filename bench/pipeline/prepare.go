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
	// checkedPipeline is the same with checks.
	checkedPipeline = "checked.yaml"
)

//go:embed pipeline.yaml
var pipelineFile []byte

// checksOf are behind the pipeline file where checks are measured: each column of each record is counted, and judged.
const checksOf = `
checks:
  record:
    - {rule: sqft_living between 200 and 15000}
    - {rule: bedrooms between 0 and 12}
    - {rule: yr_renovated == 0 or yr_renovated >= yr_built}
    - {rule: sqft_above <= sqft_living}
    - {rule: statezip in training}
    - {rule: living_share in training}
  window:
    every: 50000
    median: {within: 50%}
    range: {within: 100%}
`

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
	if err := os.WriteFile(filepath.Join(b.dir, checkedPipeline), append(pipelineFile, checksOf...), 0o600); err != nil {
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
