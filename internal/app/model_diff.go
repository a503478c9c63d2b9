package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"millrace.dev/internal/registry"
	"millrace.dev/model"
	"millrace.dev/profile"
)

// ModelDiff is two models side by side.
type ModelDiff struct {
	A ModelSide `json:"a"`
	B ModelSide `json:"b"`
	// Same tells that both are the same bytes.
	Same bool `json:"same"`
	// Metrics are the scores by part of the data, and what B has more than A.
	Metrics []ModelMetric `json:"metrics"`
	// Facts are what the models were made of, by section: "data", "rows", "split", "parameters", "schema", "plan", "manifest".
	Facts []ModelFact `json:"facts"`
	// Features are those that differ.
	Features []ModelFact `json:"features"`
	// Inputs are those of either, the ones whose importance moved furthest first.
	Inputs []ModelInput `json:"inputs"`
	// Columns are those of the training data that both have, the ones that moved furthest first; nil where one of the models
	// has no profile.
	Columns []Moved `json:"columns"`
	// Notes say what to keep in mind when reading it.
	Notes []string `json:"notes"`
}

// ModelSide is one of two models.
type ModelSide struct {
	Ref    string         `json:"model"` // as in [model.Loaded]
	Digest string         `json:"digest"`
	State  registry.State `json:"state,omitempty"` // "" of a file
	Trees  int            `json:"trees"`
}

// ModelMetric is one score of one part of the data. A number that is not defined is null.
type ModelMetric struct {
	Part       string   `json:"part"`
	Metric     string   `json:"metric"`
	A          *float64 `json:"a"`
	B          *float64 `json:"b"`
	Difference *float64 `json:"difference"` // B - A
}

// ModelFact is one thing that models were made of, as text; nil where a model does not have it.
type ModelFact struct {
	Section string  `json:"section,omitempty"`
	Name    string  `json:"name"`
	A       *string `json:"a"`
	B       *string `json:"b"`
}

// Same tells whether the models have it alike.
func (f *ModelFact) Same() bool {
	return (f.A == nil) == (f.B == nil) && (f.A == nil || *f.A == *f.B)
}

// ModelInput is an input of either model with its share of what the model has learned; nil where a model does not have it.
type ModelInput struct {
	Name       string   `json:"name"`
	A          *float64 `json:"a"`
	B          *float64 `json:"b"`
	Difference float64  `json:"difference"` // B - A, with 0 for nil
}

// Diff puts two models side by side; each is a version of the registry or the file of a bundle.
func (a *App) Diff(ctx context.Context, o ModelsOptions, first, second string) (*ModelDiff, error) {
	var m *Models
	load := func(ref string) (*model.Loaded, registry.State, error) {
		if strings.HasSuffix(ref, model.Extension) {
			l, err := openBundle(ref)
			return l, "", err
		}
		if m == nil {
			var err error
			if m, err = a.Models(o); err != nil {
				return nil, "", err
			}
		}
		v, err := m.Registry.Resolve(ctx, ref, m.Name)
		if err != nil {
			return nil, "", err
		}
		l, err := load(ctx, m.Registry, v)
		return l, v.State, err
	}
	x, xs, err := load(first)
	if err != nil {
		return nil, err
	}
	y, ys, err := load(second)
	if err != nil {
		return nil, err
	}
	return diffModels(x, y, xs, ys)
}

func diffModels(x, y *model.Loaded, xs, ys registry.State) (*ModelDiff, error) {
	a, b := x.Bundle, y.Bundle
	d := &ModelDiff{
		A: ModelSide{x.Ref, x.Digest, xs, a.Forest.Trees()}, B: ModelSide{y.Ref, y.Digest, ys, b.Forest.Trees()},
		Same: x.Digest == y.Digest, Metrics: diffMetrics(&a.Metrics, &b.Metrics), Inputs: diffInputs(a.Inputs, b.Inputs), Notes: []string{},
	}
	fa, err := facts(a)
	if err != nil {
		return nil, err
	}
	fb, err := facts(b)
	if err != nil {
		return nil, err
	}
	d.Facts = joinFacts(fa, fb)
	d.Features = []ModelFact{}
	for _, f := range joinFacts(features(a), features(b)) {
		if !f.Same() {
			d.Features = append(d.Features, f)
		}
	}
	if a.Lineage.DataDigest != b.Lineage.DataDigest || a.Lineage.Where != b.Lineage.Where || a.Lineage.Split != b.Lineage.Split {
		d.Notes = append(d.Notes, "the scores are of different rows: a difference need not be one of the models")
	}
	if a.Manifest.Label != b.Manifest.Label || a.Manifest.LabelUnit != b.Manifest.LabelUnit {
		d.Notes = append(d.Notes, "the models predict different labels")
	}
	return d, d.diffProfiles(x, y)
}

// diffProfiles compares the profiles of the training data.
func (d *ModelDiff) diffProfiles(x, y *model.Loaded) error {
	for _, m := range []*model.Loaded{x, y} {
		if m.Bundle.Profile == nil {
			d.Notes = append(d.Notes, m.Ref+" has no profile of its training data: it was made before bundles had one")
			return nil
		}
	}
	c := &Compared{Reference: describedModel(x), Data: describedModel(y), Notes: []string{}}
	if err := c.judge(); err != nil {
		return err
	}
	d.Columns, d.Notes = c.Moved, append(d.Notes, c.Notes...)
	if c.Verdict.Skipped != "" {
		d.Notes = append(d.Notes, "no column of the training data was judged: "+c.Verdict.Skipped)
	}
	return nil
}

func diffMetrics(a, b *model.Metrics) []ModelMetric {
	var list []ModelMetric
	defined := func(x float64) *float64 {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	for _, part := range []struct {
		name string
		a, b *model.Scores
	}{{"train", &a.Train, &b.Train}, {"validation", &a.Validation, &b.Validation}, {"test", &a.Test, &b.Test}} {
		for _, m := range []struct {
			name string
			a, b float64
		}{
			{"rows", float64(part.a.Rows), float64(part.b.Rows)},
			{"rmse", part.a.RMSE, part.b.RMSE},
			{"mae", part.a.MAE, part.b.MAE},
			{"r2", part.a.R2, part.b.R2},
			{"label mean", part.a.LabelMean, part.b.LabelMean},
		} {
			list = append(list, ModelMetric{part.name, m.name, defined(m.a), defined(m.b), defined(m.b - m.a)})
		}
	}
	return list
}

func diffInputs(a, b []model.Input) []ModelInput {
	list := []ModelInput{}
	for _, in := range a {
		list = append(list, ModelInput{Name: in.Name, A: &in.Importance, Difference: -in.Importance})
	}
	for _, in := range b {
		i := slices.IndexFunc(list, func(m ModelInput) bool { return m.Name == in.Name })
		if i < 0 {
			i = len(list)
			list = append(list, ModelInput{Name: in.Name})
		}
		list[i].B = &in.Importance
		list[i].Difference += in.Importance
	}
	slices.SortStableFunc(list, func(x, y ModelInput) int { return cmp.Compare(math.Abs(y.Difference), math.Abs(x.Difference)) })
	return list
}

// fact is one thing that a model was made of.
type fact struct{ section, name, text string }

// joinFacts puts the facts of two models side by side: those of a in their order, and then those that b alone has, by section.
func joinFacts(a, b []fact) []ModelFact {
	key := func(f fact) string { return f.section + "\x00" + f.name }
	others := map[string]*string{}
	for i := range b {
		others[key(b[i])] = &b[i].text
	}
	list := []ModelFact{}
	for i := range a {
		list = append(list, ModelFact{a[i].section, a[i].name, &a[i].text, others[key(a[i])]})
		delete(others, key(a[i]))
	}
	for i := range b {
		if text := others[key(b[i])]; text != nil {
			list = append(list, ModelFact{b[i].section, b[i].name, nil, text})
		}
	}
	sections := map[string]int{}
	for _, f := range list {
		if _, ok := sections[f.Section]; !ok {
			sections[f.Section] = len(sections)
		}
	}
	slices.SortStableFunc(list, func(x, y ModelFact) int { return cmp.Compare(sections[x.Section], sections[y.Section]) })
	return list
}

func features(b *model.Bundle) []fact {
	var list []fact
	for _, f := range b.Lineage.Features {
		list = append(list, fact{"", f.Name, f.Expr})
	}
	return list
}

// facts returns what a model was made of. The lineage goes through its JSON, so that what is added to it is compared, too.
func facts(b *model.Bundle) ([]fact, error) {
	l := b.Lineage
	parts := []struct {
		section string
		of      any
	}{
		{"rows", rowCounts(&l.Rows)},
		{"split", l.Split},
		{"parameters", l.Params},
		{"schema", b.Schema},
		{"plan", planOf(b)},
		{"manifest", b.Manifest},
	}
	l.Rows, l.Split, l.Params, l.Features, l.Inputs = model.Rows{}, model.Split{}, nil, nil, nil
	rest, err := tree(l)
	if err != nil {
		return nil, err
	}
	if object, ok := rest.(map[string]any); ok {
		for _, name := range []string{"rows", "split", "params", "features", "inputs"} {
			delete(object, name)
		}
	}
	list := flatten(nil, "data", "", rest)
	for _, p := range parts {
		v, err := tree(p.of)
		if err != nil {
			return nil, err
		}
		list = flatten(list, p.section, "", v)
	}
	return list, nil
}

// rowCounts are the counts of rows by what became of them.
func rowCounts(r *model.Rows) map[string]int {
	m := map[string]int{"read": r.Read, "excluded": r.Excluded, "train": r.Train, "validation": r.Validation, "test": r.Test}
	for _, x := range r.Reasons {
		m["excluded: "+x.Reason] = x.Rows
	}
	return m
}

// planOf describes what a plan reads besides the fields.
func planOf(b *model.Bundle) map[string]any {
	windows, tables := map[string]any{}, map[string]any{}
	for _, w := range b.Plan.Windows() {
		var aggregates []string
		for _, a := range w.Aggregates {
			aggregates = append(aggregates, fmt.Sprint(a))
		}
		windows[w.Name] = map[string]any{
			"size": w.Size.String(), "hop": w.Hop.String(), "grace": w.Grace.String(), "key": w.KeyField, "source": w.Source, "aggregates": strings.Join(aggregates, ", "),
		}
	}
	for _, t := range b.Plan.Tables() {
		tables[t.Name] = t.Schema
	}
	return map[string]any{"inputs": strings.Join(b.Lineage.Inputs, ", "), "windows": windows, "tables": tables}
}

// tree returns v as JSON has it, with numbers as they are written.
func tree(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("compare models: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var t any
	if err := d.Decode(&t); err != nil {
		return nil, fmt.Errorf("compare models: %w", err)
	}
	return t, nil
}

// flatten appends the leaves of a tree. An item of a list is called by its name, where it has one, else by its number.
func flatten(list []fact, section, name string, v any) []fact {
	below := func(key string) string {
		if name == "" {
			return key
		}
		return name + "." + key
	}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			list = flatten(list, section, below(key), v[key])
		}
	case []any:
		for i, item := range v {
			key := strconv.Itoa(i)
			if object, ok := item.(map[string]any); ok {
				if text, ok := object["name"].(string); ok {
					key = text
					delete(object, "name")
				}
			}
			list = flatten(list, section, below(key), item)
		}
	case nil:
	default:
		list = append(list, fact{section, name, fmt.Sprint(v)})
	}
	return list
}

// MovedColumns returns the columns that moved further than chance explains.
func (d *ModelDiff) MovedColumns() (n int) {
	for _, m := range d.Columns {
		if m.Severity != profile.OK {
			n++
		}
	}
	return n
}
