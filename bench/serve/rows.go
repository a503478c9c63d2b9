//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// row is a sale as each way of asking for a prediction takes it. train.py writes them.
type row struct {
	Record   json.RawMessage `json:"record"`   // as a producer sends it
	Inputs   map[string]any  `json:"inputs"`   // of the model, by name: numbers and levels
	Matrix   []float64       `json:"matrix"`   // the same, in the order of the model, with codes for levels
	Expected float64         `json:"expected"` // what LightGBM predicts
}

func readRows(dir string) ([]row, error) {
	data, err := os.ReadFile(filepath.Join(dir, "rows.json"))
	if err != nil {
		return nil, err
	}
	var rows []row
	if err := json.Unmarshal(data, &rows); err != nil {
		return nil, fmt.Errorf("rows.json: %w", err)
	}
	if len(rows) < largest || slices.ContainsFunc(rows, func(r row) bool { return len(r.Matrix) != len(rows[0].Matrix) }) {
		return nil, errors.New("rows.json: too few rows, or rows of different inputs")
	}
	return rows, nil
}
