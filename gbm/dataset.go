package gbm

import (
	"errors"
	"fmt"
	"math"

	"millrace.dev/internal/detmath"
	"millrace.dev/record"
)

// Dataset is a table of inputs with their labels. Training reads it and does not change it.
type Dataset struct {
	// Frame holds the inputs: numeric and enum columns with distinct names, at least one column and one row.
	Frame *record.Frame
	// Label has one value for each row of the frame: finite, at most [MaxLabel] in magnitude, and above 0
	// where the label transform is log.
	Label []float64
}

// MaxLabel is the largest magnitude of a label.
const MaxLabel = 0x1p1000

// maxLevels is the largest number of levels of an enum input.
const maxLevels = 65_535

// check returns every fault of d, joined. what names the data set in errors.
func (d *Dataset) check(what string, log bool) error {
	if d.Frame == nil || d.Frame.Rows < 1 || len(d.Frame.Columns) < 1 {
		return fmt.Errorf("gbm: %s data: want at least one row and one input", what)
	}
	if d.Frame.Rows > maxRowLimit {
		return fmt.Errorf("gbm: %s data: %d rows: want at most %d", what, d.Frame.Rows, maxRowLimit)
	}
	if len(d.Label) != d.Frame.Rows {
		return fmt.Errorf("gbm: %s data: %d labels for %d rows", what, len(d.Label), d.Frame.Rows)
	}
	errs := checkColumns(d.Frame.Columns)
	for i := range d.Frame.Columns {
		if err := checkValues(&d.Frame.Columns[i], d.Frame.Rows); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, checkLabels(d.Label, log))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("gbm: %s data: %w", what, err)
	}
	return nil
}

// checkColumns checks names, types and levels.
func checkColumns(cols []record.Column) []error {
	var errs []error
	if len(cols) > maxInputs {
		return []error{fmt.Errorf("%d inputs: want at most %d", len(cols), maxInputs)}
	}
	seen := make(map[string]bool, len(cols))
	for i := range cols {
		c := &cols[i]
		switch {
		case c.Name == "":
			errs = append(errs, fmt.Errorf("input %d has no name", i+1))
		case seen[c.Name]:
			errs = append(errs, fmt.Errorf("input %q is there twice", c.Name))
		}
		seen[c.Name] = true
		switch c.Type {
		case record.Numeric:
			if len(c.Levels) > 0 {
				errs = append(errs, fmt.Errorf("input %q is numeric and has levels", c.Name))
			}
		case record.Enum:
			if err := checkLevels(c); err != nil {
				errs = append(errs, err)
			}
		default:
			errs = append(errs, fmt.Errorf("input %q is of type %v: want numeric or enum", c.Name, c.Type))
		}
	}
	return errs
}

func checkLevels(c *record.Column) error {
	if len(c.Levels) > maxLevels {
		return fmt.Errorf("input %q has %d levels, at most %d are supported: it looks like an identifier or a text; "+
			"leave it out, or derive a coarser feature from it", c.Name, len(c.Levels), maxLevels)
	}
	seen := make(map[string]bool, len(c.Levels))
	for _, l := range c.Levels {
		if seen[l] {
			return fmt.Errorf("input %q has a level twice", c.Name)
		}
		seen[l] = true
	}
	return nil
}

// checkValues checks that c has one value a row and that its codes are codes of its levels.
func checkValues(c *record.Column, rows int) error {
	if c.Type != record.Enum {
		if len(c.Numbers) != rows {
			return fmt.Errorf("input %q has %d values for %d rows", c.Name, len(c.Numbers), rows)
		}
		return nil
	}
	if len(c.Codes) != rows {
		return fmt.Errorf("input %q has %d codes for %d rows", c.Name, len(c.Codes), rows)
	}
	bad := 0
	for _, k := range c.Codes {
		if k < record.MissingCode || int(k) >= len(c.Levels) {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("input %q: %d rows hold a code that is neither missing nor one of its %d levels", c.Name, bad, len(c.Levels))
	}
	return nil
}

// checkLabels names the number of rows at fault, never a value.
func checkLabels(label []float64, log bool) error {
	var missing, large, low int
	for _, y := range label {
		switch {
		case math.IsNaN(y):
			missing++
		case math.Abs(y) > MaxLabel:
			large++
		case log && y <= 0:
			low++
		}
	}
	var errs []error
	if missing > 0 {
		errs = append(errs, fmt.Errorf("the label is missing in %d of %d rows: exclude them", missing, len(label)))
	}
	if large > 0 {
		errs = append(errs, fmt.Errorf("the label is infinite or beyond 1e301 in %d of %d rows: exclude them", large, len(label)))
	}
	if low > 0 {
		errs = append(errs, fmt.Errorf("the label is not above 0 in %d of %d rows, which label_transform log needs: exclude them, or use no transform", low, len(label)))
	}
	return errors.Join(errs...)
}

// sameColumns returns an error unless have has the names, types and levels of want, in the same order.
func sameColumns(want, have []record.Column) error {
	if len(want) != len(have) {
		return fmt.Errorf("%d inputs: want %d", len(have), len(want))
	}
	for i := range want {
		w, h := &want[i], &have[i]
		switch {
		case w.Name != h.Name:
			return fmt.Errorf("input %d is %q: want %q", i+1, h.Name, w.Name)
		case w.Type != h.Type:
			return fmt.Errorf("input %q is %v: want %v", h.Name, h.Type, w.Type)
		case len(w.Levels) != len(h.Levels):
			return fmt.Errorf("input %q has %d levels: want %d", h.Name, len(h.Levels), len(w.Levels))
		}
		for k, l := range w.Levels {
			if h.Levels[k] != l {
				return fmt.Errorf("input %q: level %d is not the one of the training data", h.Name, k)
			}
		}
	}
	return nil
}

// target is the label on the scale that trees are fitted on: transformed, and divided by 2^exp, so that every
// value is at most 1 and no sum or square can overflow. The division is exact.
type target struct {
	y   []float64
	exp int
}

func newTarget(p *pool, label []float64, log bool) *target {
	t := &target{y: make([]float64, len(label))}
	var largest float64
	p.each(len(label), rowChunk, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			y := label[i]
			if log {
				y = detmath.Log(y)
			}
			t.y[i] = y
		}
	})
	for _, y := range t.y {
		largest = max(largest, math.Abs(y))
	}
	_, t.exp = math.Frexp(largest)
	p.each(len(label), rowChunk, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			t.y[i] = math.Ldexp(t.y[i], -t.exp)
		}
	})
	return t
}
