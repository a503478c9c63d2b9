package app

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace.dev/feature"
	"millrace.dev/internal/config"
	"millrace.dev/model"
	"millrace.dev/record"
)

// sameFeatures returns an error that names the first difference between what a pipeline file declares and what a
// model was trained with.
func sameFeatures(p *config.Pipeline, b *model.Bundle) error {
	for i := range p.Schema.Len() {
		f := p.Schema.Field(i)
		j, ok := b.Schema.Index(f.Name)
		if !ok {
			return fmt.Errorf("the pipeline file has the field %q, which the model was not trained with", f.Name)
		}
		g := b.Schema.Field(j)
		if !sameField(f, g) {
			return fmt.Errorf("the field %q is declared otherwise than when the model was trained", f.Name)
		}
	}
	for i := range b.Schema.Len() {
		if name := b.Schema.Field(i).Name; !has(p.Schema, name) {
			return fmt.Errorf("the model was trained with the field %q, which the pipeline file does not have", name)
		}
	}
	return samePlan(p, b)
}

// samePlan compares the features and inputs of a pipeline file with those of a model.
func samePlan(p *config.Pipeline, b *model.Bundle) error {
	inputs := b.Lineage.Inputs
	for _, name := range p.Inputs {
		if !slices.Contains(inputs, name) {
			return fmt.Errorf("the pipeline file has the input %q, which the model was not trained with", name)
		}
	}
	for _, name := range inputs {
		if !slices.Contains(p.Inputs, name) {
			return fmt.Errorf("the model was trained with the input %q, which the pipeline file does not have", name)
		}
	}
	for _, f := range b.Lineage.Features {
		for _, mine := range p.Features {
			if mine.Name == f.Name && mine.Expr != f.Expr {
				return fmt.Errorf("the feature %q is declared otherwise than when the model was trained", f.Name)
			}
		}
	}
	if b.Manifest.EventTime != p.Source.EventTime {
		return fmt.Errorf("source.event_time is %q, and was %q when the model was trained", p.Source.EventTime, b.Manifest.EventTime)
	}
	mine, err := feature.Compile(p.Declaration())
	if err != nil {
		return err
	}
	if mine.Digest() == b.Lineage.PlanDigest {
		return nil
	}
	if err := sameSources(mine, b.Plan); err != nil {
		return err
	}
	if !slices.Equal(p.Inputs, inputs) {
		return fmt.Errorf("the inputs are in another order than when the model was trained: %s, and were %s", strings.Join(p.Inputs, ", "), strings.Join(inputs, ", "))
	}
	return errors.New("the pipeline file declares features, inputs, tables or windows otherwise, or in another order, than when the model was trained")
}

// sameSources returns an error that names the first table or window that the plan of a file has otherwise than that of a
// model.
func sameSources(mine, its *feature.Plan) error {
	tables, windows := its.Tables(), its.Windows()
	for _, t := range mine.Tables() {
		i := slices.IndexFunc(tables, func(o feature.Table) bool { return o.Name == t.Name })
		if i < 0 {
			return fmt.Errorf("inputs need the table %q, which the model was not trained with", t.Name)
		}
		if err := sameColumns(t, tables[i]); err != nil {
			return err
		}
	}
	for _, w := range mine.Windows() {
		i := slices.IndexFunc(windows, func(o feature.WindowInfo) bool { return o.Name == w.Name })
		if i < 0 {
			return fmt.Errorf("inputs need the window %q, which the model was not trained with", w.Name)
		}
		if what := otherWindow(&w, &windows[i]); what != "" {
			return fmt.Errorf("windows.%s: %s when the model was trained", w.Name, what)
		}
	}
	for _, t := range tables {
		if !slices.ContainsFunc(mine.Tables(), func(o feature.Table) bool { return o.Name == t.Name }) {
			return fmt.Errorf("the model was trained with the table %q, which no input of the pipeline file needs", t.Name)
		}
	}
	for i := range windows {
		if !slices.ContainsFunc(mine.Windows(), func(o feature.WindowInfo) bool { return o.Name == windows[i].Name }) {
			return fmt.Errorf("the model was trained with the window %q, which no input of the pipeline file needs", windows[i].Name)
		}
	}
	return nil
}

// sameColumns returns an error that names the first column that two tables of one name do not have in common.
func sameColumns(mine, its feature.Table) error {
	for i := range mine.Schema.Len() {
		f := mine.Schema.Field(i)
		j, ok := its.Schema.Index(f.Name)
		switch {
		case !ok:
			return fmt.Errorf("tables.%s.schema has the column %q, which the model was not trained with", mine.Name, f.Name)
		case its.Schema.Field(j).Type != f.Type:
			return fmt.Errorf("tables.%s.schema: the column %q is of type %s, and was of type %s when the model was trained", mine.Name, f.Name, f.Type, its.Schema.Field(j).Type)
		case !sameField(f, its.Schema.Field(j)):
			return fmt.Errorf("tables.%s.schema: the column %q is declared otherwise than when the model was trained", mine.Name, f.Name)
		}
	}
	for i := range its.Schema.Len() {
		if name := its.Schema.Field(i).Name; !has(mine.Schema, name) {
			return fmt.Errorf("the model was trained with the column %q of the table %s, which tables.%s.schema does not have", name, its.Name, its.Name)
		}
	}
	return nil
}

// otherWindow says what two windows of one name do not have in common; "" is nothing.
func otherWindow(mine, its *feature.WindowInfo) string {
	switch {
	case mine.Size != its.Size:
		return fmt.Sprintf("over is %v, and was %v", mine.Size, its.Size)
	case mine.Hop != its.Hop:
		return "hop was another" + instead(its.Hop != 0, its.Hop)
	case mine.Grace != its.Grace || mine.GraceSet != its.GraceSet:
		return "grace was another" + instead(its.GraceSet, its.Grace)
	case mine.KeySource != its.KeySource:
		return "key was another"
	}
	for _, a := range mine.Aggregates {
		i := slices.IndexFunc(its.Aggregates, func(o feature.Aggregate) bool { return o.Name == a.Name })
		if i < 0 {
			return fmt.Sprintf("the aggregate %q was not there", a.Name)
		}
		if o := its.Aggregates[i]; o.Func != a.Func || o.K != a.K || o.P != a.P {
			return fmt.Sprintf("the aggregate %q was another", a.Name)
		}
	}
	for _, a := range its.Aggregates {
		if !slices.ContainsFunc(mine.Aggregates, func(o feature.Aggregate) bool { return o.Name == a.Name }) {
			return fmt.Sprintf("there was an aggregate %q", a.Name)
		}
	}
	if mine.Source != its.Source {
		return "where, or what the aggregates are of, was another"
	}
	return ""
}

func instead(declared bool, d time.Duration) string {
	if !declared {
		return ", the default,"
	}
	return ", " + d.String() + ","
}

// sameField tells whether two fields are read alike.
func sameField(f, g record.Field) bool {
	return g.Type == f.Type && g.Zone == f.Zone && g.Quoted == f.Quoted && g.Required == f.Required && slices.Equal(g.Layouts, f.Layouts)
}

func has(s *record.Schema, name string) bool {
	_, ok := s.Index(name)
	return ok
}
