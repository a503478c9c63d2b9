package feature

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// FunctionDoc describes a function of the language, or an aggregate of windows, for people and for tools.
type FunctionDoc struct {
	Name string
	// Group is what the function is about: one of [Groups].
	Group string
	// Usage is how it is called, with the arguments that have no name.
	Usage string
	// Doc says what it gives: one sentence, without a full stop.
	Doc string
	// Example is a call of it, which compiles.
	Example string
	// Options are its named arguments, in the order in which the plan has them.
	Options []OptionDoc
	// Fitted tells that it learns from the training rows.
	Fitted bool
}

// OptionDoc describes a named argument of a function.
type OptionDoc struct {
	Name string
	// Default is its value where it is not given, as it is written in an expression; "" if it has to be given.
	Default string
	// Range says what it takes: "a whole number from 0 to 65535", "true or false", "median or mean".
	Range string
	// Doc says what it decides: one sentence, without a full stop.
	Doc string
}

// The groups of functions, in the order of the reference.
const (
	groupNumbers    = "Numbers"
	groupCircles    = "Circles and places"
	groupTexts      = "Texts"
	groupPatterns   = "Regular expressions"
	groupTimes      = "Times"
	groupMissing    = "Missing values"
	groupScaling    = "Fitted: numbers"
	groupCategories = "Fitted: categories"
	groupLabel      = "Fitted: by the label"
	groupVectors    = "Vectors"
	groupColumns    = "Columns"
	groupAggregates = "Aggregates of windows"
)

// Groups returns the groups of functions in their order.
func Groups() []string {
	return []string{
		groupNumbers, groupCircles, groupTexts, groupPatterns, groupTimes, groupMissing, groupScaling, groupCategories, groupLabel, groupVectors,
		groupColumns, groupAggregates,
	}
}

// Reference returns every function of the language and every aggregate of windows, by group and then by name.
func Reference() []FunctionDoc {
	var out []FunctionDoc
	docs := functionDocs()
	functions := newFunctions()
	for _, name := range slices.Sorted(maps.Keys(functions)) {
		f := functions[name]
		d := docs[name]
		if f.doc != "" {
			d.doc = f.doc
		}
		doc := FunctionDoc{Name: name, Group: d.group, Usage: f.usage, Doc: d.doc, Example: d.example, Fitted: f.fit != nil}
		for i := range f.options {
			doc.Options = append(doc.Options, f.options[i].describe())
		}
		out = append(out, doc)
	}
	aggregates, docs := aggregateFuncs(), aggregateDocs()
	for _, name := range slices.Sorted(maps.Keys(aggregates)) {
		out = append(out, FunctionDoc{Name: name, Group: groupAggregates, Usage: aggregates[name].usage, Doc: docs[name].doc, Example: docs[name].example})
	}
	groups := Groups()
	slices.SortStableFunc(out, func(a, b FunctionDoc) int { return slices.Index(groups, a.Group) - slices.Index(groups, b.Group) })
	return out
}

// describe returns what people are told of an option.
func (o *option) describe() OptionDoc {
	d := OptionDoc{Name: o.name, Doc: o.doc}
	switch {
	case o.list:
		d.Range = "a list of numbers"
	case o.kind == kindBool:
		d.Default, d.Range = strconv.FormatBool(*o.def.Flag), "true or false"
	case o.kind == kindNumber:
		d.Default, d.Range = strconv.FormatFloat(*o.def.Number, 'g', -1, 64), o.wanted()
	case len(o.allowed) > 0:
		d.Default, d.Range = strconv.Quote(*o.def.Text), strings.Join(o.allowed, ", ")
	default:
		d.Default, d.Range = strconv.Quote(*o.def.Text), "a text that is not empty"
	}
	if o.required {
		d.Default = ""
	}
	return d
}

// ReferenceText returns the reference of all functions, as Markdown.
func ReferenceText() string {
	var b strings.Builder
	b.WriteString("# Functions of features\n\nThis file is made from the code: `go test ./feature -run TestReference -update`. The guide is in [features](../features.md);\n" +
		"operators, types and missing values are in the documentation of package `feature`.\n\n" +
		"Named arguments come after the others, and are literals: `one_hot(city, top: 20)`. Fitted functions learn from the training\n" +
		"rows; what they learn is part of the model.\n")
	group := ""
	for _, f := range Reference() {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&b, "\n## %s\n", group)
		}
		fmt.Fprintf(&b, "\n### %s\n\n`%s`: %s.\n", f.Name, f.Usage, f.Doc)
		if len(f.Options) > 0 {
			b.WriteString("\n| argument | default | takes | decides |\n|---|---|---|---|\n")
		}
		for _, o := range f.Options {
			def := "has to be given"
			if o.Default != "" {
				def = "`" + o.Default + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.Name, def, o.Range, o.Doc)
		}
		fmt.Fprintf(&b, "\n```\n%s\n```\n", f.Example)
	}
	return b.String()
}
