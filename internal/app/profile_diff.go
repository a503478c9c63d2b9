package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"millrace.dev/internal/anomaly"
	"millrace.dev/internal/batch"
	"millrace.dev/profile"
)

// DiffOptions say what to compare.
type DiffOptions struct {
	ProfileOptions

	With string // the other data, model or file of a profile, which is seen beside Of
}

// Compared is how data differs from a reference.
type Compared struct {
	Reference *Described `json:"reference"`
	Data      *Described `json:"data"`
	// Moved has the columns that both have, the ones that moved furthest first.
	Moved    []Moved           `json:"moved"`
	Verdict  *profile.Verdict  `json:"verdict"`
	Notes    []string          `json:"notes"`    // what was not compared, or not exactly, in words
	Severity profile.Severity  `json:"severity"` // ok, or fail if a column moved beyond its threshold, is missing, or is of another kind
	Odd      []anomaly.Anomaly `json:"anomalies"`
}

// Moved is how far a column moved.
type Moved struct {
	Column   string           `json:"column"`
	Distance *float64         `json:"js_distance"` // the Jensen-Shannon distance with logarithms to base 2, from 0 to 1; null if it is not defined
	Severity profile.Severity `json:"severity"`
	Words    []string         `json:"words"` // what the checks say that failed, else what the one of the distribution says
}

// Compare counts data into the bins of a reference and says which columns moved.
func (a *App) Compare(ctx context.Context, o DiffOptions) (*Compared, error) {
	o.Exact = true // a sample scaled up would be taken for as many rows as there are
	d, err := a.newDescriber(o.ProfileOptions)
	if err != nil {
		return nil, err
	}
	defer closeClient(d.client)
	reference, err := d.describe(ctx, o.Of, nil)
	if err != nil {
		return nil, err
	}
	d.Exact = false
	data, err := d.describe(ctx, o.With, reference)
	if err != nil {
		return nil, err
	}
	c := &Compared{Reference: reference, Data: data, Notes: []string{}}
	if reference.Sampled {
		c.Notes = append(c.Notes, fmt.Sprintf("the counts of %s are those of a sample: make it with --exact", o.Of))
	}
	if reference.bundle != nil && data.data != nil && data.data.counted != nil && !hasRole(data.data.counted, profile.Prediction) {
		c.Notes = append(c.Notes, "features and predictions of the model are not compared: the data lacks a field with the type of the model's, or the rows of a table")
	}
	if err := c.judge(); err != nil {
		return nil, err
	}
	return c, nil
}

func hasRole(p *profile.Profile, r profile.Role) bool {
	return slices.ContainsFunc(p.Columns, func(c profile.Column) bool { return c.Role == r })
}

// judge compares the columns that can be compared, and lists what is odd.
func (c *Compared) judge() error {
	window, facts := c.window()
	reference := c.Reference.Profile.Select(func(ref *profile.Column) bool {
		w, ok := window.Column(ref.Name)
		return ok && w.Kind == ref.Kind && w.Rows > 0
	})
	named := []string{} // times too, which the checks leave out otherwise
	for i := range reference.Columns {
		if reference.Columns[i].Kind != profile.Time {
			named = append(named, reference.Columns[i].Name)
		}
	}
	checker, err := profile.NewChecker(reference, profile.Rules{Columns: named, Name: c.referenceName()})
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if c.Verdict, err = checker.Check(window); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	c.Severity = c.Verdict.Severity
	c.Odd = anomaly.Against(c.Reference.Profile, facts)
	for _, a := range c.Data.Anomalies { // of columns that are new or missing, the comparison speaks
		absent := slices.ContainsFunc(c.Odd, func(o anomaly.Anomaly) bool { return o.Class == anomaly.MissingColumn && o.Column == a.Column })
		if a.Class != anomaly.Undeclared && a.Class != anomaly.MissingColumn && !absent {
			c.Odd = append(c.Odd, a)
		}
	}
	for _, a := range c.Odd {
		ref, _ := c.Reference.Profile.Column(a.Column)
		if a.Class == anomaly.TypeChange || a.Class == anomaly.MissingColumn && (ref == nil || ref.Role != profile.Label) {
			c.Severity = profile.Fail
		}
	}
	c.rank(reference, window)
	return nil
}

// window returns the data in the bins of the reference, and what is known of it for judging.
func (c *Compared) window() (*profile.Profile, *anomaly.Data) {
	if x := c.Data.data; x != nil {
		return x.counted, &x.facts
	}
	facts := &anomaly.Data{Profile: c.Data.Profile, Read: c.Data.Records}
	w := &profile.Profile{Rows: c.Data.Profile.Rows}
	exact := true
	for i := range c.Data.Profile.Columns {
		col := &c.Data.Profile.Columns[i]
		if col.Role == profile.Field || col.Role == profile.Label {
			facts.Columns = append(facts.Columns, anomaly.Column{Name: col.Name})
		}
		ref, ok := c.Reference.Profile.Column(col.Name)
		switch {
		case !ok:
			continue
		case ref.Kind != col.Kind:
			facts.Changed = append(facts.Changed, anomaly.Changed{Column: col.Name, Was: ref.Kind, Is: col.Kind, Reference: true})
			continue
		}
		if col.Kind == profile.Number && (col.Min < ref.Min || col.Max > ref.Max) {
			facts.Outside = append(facts.Outside, beyond(ref, col))
		}
		moved, whole := rebinned(ref, col)
		exact = exact && whole
		w.Columns = append(w.Columns, moved)
	}
	if !exact {
		c.Notes = append(c.Notes, c.Data.Of+" has bins of its own: their values were taken to lie evenly in them, so that distances are approximate")
	}
	return w, facts
}

// rank lists the columns by how far they moved.
func (c *Compared) rank(reference, window *profile.Profile) {
	js, err := profile.MetricNamed("js")
	if err != nil {
		panic(err)
	}
	for i := range reference.Columns {
		ref := &reference.Columns[i]
		w, _ := window.Column(ref.Name)
		m := Moved{Column: ref.Name, Severity: profile.OK, Words: []string{}}
		if x, err := js.Between(ref, w); err == nil {
			m.Distance = &x
		}
		for _, f := range c.Verdict.Findings {
			if f.Column != ref.Name {
				continue
			}
			if f.Severity != profile.OK {
				m.Severity = f.Severity
				m.Words = append(m.Words, f.Words)
			}
		}
		c.Moved = append(c.Moved, m)
	}
	distance := func(m *Moved) float64 {
		if m.Distance == nil {
			return -1
		}
		return *m.Distance
	}
	slices.SortStableFunc(c.Moved, func(a, b Moved) int {
		if a.Severity != b.Severity {
			if a.Severity == profile.Fail {
				return -1
			}
			if b.Severity == profile.Fail {
				return 1
			}
		}
		return cmp.Compare(distance(&b), distance(&a))
	})
	if c.Moved == nil {
		c.Moved = []Moved{}
	}
}

// beyond counts the values of a column that are outside the range of another, by bins: those of the bin that has an end of it in
// the middle are taken to be outside in part.
func beyond(ref, c *profile.Column) anomaly.Outside {
	within, _ := rebinned(&profile.Column{Name: ref.Name, Kind: ref.Kind, Edges: []float64{math.Nextafter(ref.Min, math.Inf(-1)), ref.Max}}, c)
	below, above := within.Counts[0], within.Counts[2]
	if c.Min < ref.Min { // it is there, wherever the others of its bin are
		below = max(below, 1)
	}
	if c.Max > ref.Max {
		above = max(above, 1)
	}
	return anomaly.Outside{Column: ref.Name, Below: below, Above: above}
}

// compareWith has the data counted into the bins of a reference, with the features and predictions of its model where they can
// be computed.
func (d *describer) compareWith(ctx context.Context, o *batch.ProfileOptions, x *examined, beside *Described) error {
	if beside == nil {
		return nil
	}
	whole := false
	if b := beside.bundle; b != nil {
		o.Label = b.Manifest.Label
		var err error
		if whole, err = d.withModel(ctx, o, beside); err != nil {
			return err
		}
	}
	for i := range beside.Profile.Columns { // a label has its role in both
		if c := &beside.Profile.Columns[i]; c.Role == profile.Label {
			o.Label = c.Name
		}
	}
	for i := range x.schema.Len() {
		f := x.schema.Field(i)
		ref, ok := beside.Profile.Column(f.Name)
		_, has := x.look.column(f.Name)
		if ok && has && differ(ref.Kind, kindOf(f.Type)) && (ref.Role == profile.Field || ref.Role == profile.Label) {
			x.changed = slices.DeleteFunc(x.changed, func(c anomaly.Changed) bool { return c.Column == f.Name })
			x.changed = append(x.changed, anomaly.Changed{Column: f.Name, Was: ref.Kind, Is: kindOf(f.Type), Reference: true})
		}
	}
	o.Reference = beside.Profile.Select(func(c *profile.Column) bool {
		if c.Role == profile.Feature || c.Role == profile.Prediction {
			return whole
		}
		i, ok := x.schema.Index(c.Name)
		_, has := x.look.column(c.Name)
		return ok && has && counts(c.Kind, kindOf(x.schema.Field(i).Type))
	})
	return nil
}

// differ tells whether the kind of values has changed: texts and levels are the same.
func differ(was, is profile.Kind) bool {
	texts := func(k profile.Kind) bool { return k == profile.Level || k == profile.Text }
	return was != is && (!texts(was) || !texts(is))
}

// counts tells whether a column of a kind can be counted into bins of another.
func counts(into, is profile.Kind) bool {
	return into == is || into == profile.Text && is == profile.Level
}

// withModel has the features and predictions of a model computed, if the fields have their types, and the tables rows.
func (d *describer) withModel(ctx context.Context, o *batch.ProfileOptions, m *Described) (bool, error) {
	b := m.bundle
	for i := range b.Schema.Len() {
		f := b.Schema.Field(i)
		k, ok := o.Schema.Index(f.Name)
		if !ok || o.Schema.Field(k).Type != f.Type {
			return false, nil
		}
	}
	if len(b.Plan.Tables()) > 0 {
		if d.pipeline == nil {
			return false, nil
		}
		client, err := d.app.clientFor(d.pipeline, tableData(d.pipeline, b.Plan)...)
		if err != nil {
			return false, err
		}
		defer closeClient(client)
		if o.Rows, err = d.app.batchRows(ctx, d.pipeline, b.Plan, client); err != nil {
			return false, fmt.Errorf("profile: %w", err)
		}
		o.Required = pipelineTables(d.pipeline)
	}
	o.Bundle = b
	return true, nil
}

// errMoved is the outcome of a comparison that was to fail if something moved.
var errMoved = errors.New("the data differs from the reference")

// Refuse returns the error of a comparison that was to fail if something moved, or nil if nothing did.
func (c *Compared) Refuse() error {
	if c.Severity != profile.Fail {
		return nil
	}
	return &Error{Code: Refused, Op: "profile", Err: errMoved, Hint: "the table above says how; without --fail the exit code is 0"}
}

// Column returns a column of the data, in its own bins where it has some, else in those of the reference: features and
// predictions. It is nil where there is none.
func (c *Compared) Column(name string) *profile.Column {
	if col, ok := c.Data.Profile.Column(name); ok {
		return col
	}
	if x := c.Data.data; x != nil {
		col, _ := x.counted.Column(name)
		return col
	}
	return nil
}

// referenceName is what words call the reference.
func (c *Compared) referenceName() string {
	if c.Reference.bundle != nil {
		return "training"
	}
	return "the reference"
}
