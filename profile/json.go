package profile

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// columnJSON is a column as JSON: null stands for NaN, and what does not belong to the kind is left out.
type columnJSON struct {
	Name      string     `json:"name"`
	Role      Role       `json:"role"`
	Kind      Kind       `json:"kind"`
	Rows      uint64     `json:"rows"`
	Missing   uint64     `json:"missing"`
	Min       *float64   `json:"min,omitempty"`
	Max       *float64   `json:"max,omitempty"`
	Mean      *float64   `json:"mean,omitempty"`
	Deviation *float64   `json:"deviation,omitempty"`
	Edges     []float64  `json:"edges,omitempty"`
	Levels    []string   `json:"levels,omitempty"`
	Counts    []uint64   `json:"counts,omitempty"`
	Distinct  uint64     `json:"distinct,omitempty"`
	Top       []Frequent `json:"top,omitempty"`
}

// MarshalJSON writes the column as an object, without what is NaN or empty.
func (c Column) MarshalJSON() ([]byte, error) {
	return json.Marshal(columnJSON{
		c.Name, c.Role, c.Kind, c.Rows, c.Missing, known(c.Min), known(c.Max), known(c.Mean), known(c.Deviation),
		c.Edges, c.Levels, c.Counts, c.Distinct, c.Top,
	})
}

// UnmarshalJSON reads what [Column.MarshalJSON] wrote.
func (c *Column) UnmarshalJSON(b []byte) error {
	var j columnJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*c = Column{
		Name: j.Name, Role: j.Role, Kind: j.Kind, Rows: j.Rows, Missing: j.Missing,
		Min: number(j.Min), Max: number(j.Max), Mean: number(j.Mean), Deviation: number(j.Deviation),
		Edges: j.Edges, Levels: j.Levels, Counts: j.Counts, Distinct: j.Distinct, Top: j.Top,
	}
	return nil
}

func known(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func number(x *float64) float64 {
	if x == nil {
		return math.NaN()
	}
	return *x
}

// Validate wants a profile that contradicts itself nowhere: whoever reads one that comes from elsewhere calls it.
func (p *Profile) Validate() error {
	names := map[string]bool{}
	for i := range p.Columns {
		c := &p.Columns[i]
		if names[c.Name] {
			return fmt.Errorf("profile: the column %.80q is there twice", c.Name)
		}
		names[c.Name] = true
		if err := c.validate(); err != nil {
			return fmt.Errorf("profile: column %.80q: %w", c.Name, err)
		}
	}
	if p.Sample == nil {
		return nil
	}
	if err := p.Sample.validate(p.Columns); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}

func (c *Column) validate() error {
	var bins int
	switch c.Kind {
	case Number, Time:
		bins = len(c.Edges) + 1
		if len(c.Edges) > Bins {
			return fmt.Errorf("%d edges of bins, the limit is %d", len(c.Edges), Bins)
		}
		if len(c.Levels) > 0 || !slices.IsSorted(c.Edges) || len(slices.Compact(slices.Clone(c.Edges))) != len(c.Edges) {
			return errors.New("the edges of its bins do not ascend, or it has levels")
		}
	case Level:
		bins = len(c.Levels) + 1
		if len(c.Edges) > 0 {
			return errors.New("levels have no edges")
		}
		if len(levelsOf(c)) != len(c.Levels) {
			return errors.New("a level is there twice")
		}
	case Text:
		if len(c.Edges)+len(c.Levels) > 0 {
			return errors.New("texts have no bins")
		}
	default:
		return fmt.Errorf("its kind is %.40q", c.Kind)
	}
	switch c.Role {
	case Field, Feature, Label:
	case Prediction:
		if c.Kind != Number {
			return fmt.Errorf("a prediction is a number, and this is %s", c.Kind)
		}
	default:
		return fmt.Errorf("its role is %.40q", c.Role)
	}
	if len(c.Counts) != bins {
		return fmt.Errorf("%d counts for %d bins", len(c.Counts), bins)
	}
	if c.Min > c.Max || c.Deviation < 0 {
		return errors.New("its smallest value is above its largest, or its deviation below 0")
	}
	left := c.Rows - c.Missing
	if c.Missing > c.Rows {
		return errors.New("more values are missing than there are rows")
	}
	for _, n := range c.Counts {
		if n > left {
			return errors.New("its counts are more than its rows")
		}
		left -= n
	}
	if bins > 0 && left > 0 {
		return fmt.Errorf("%d of its values are in no bin", left)
	}
	return nil
}
