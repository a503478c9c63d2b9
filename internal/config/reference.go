package config

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed reference.md
var referenceText string

// Reference returns the reference of the pipeline file, in Markdown: docs/reference/pipeline-file.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceText)
	b.WriteString("\n## Keys\n")
	var nested []section
	sections := []section{{"", pipelineFields()}}
	for len(sections) > 0 {
		s := sections[0]
		nested = s.write(&b)
		sections = append(nested, sections[1:]...)
	}
	return b.String()
}

// section is a mapping of the pipeline file.
type section struct {
	path   string
	fields []field
}

// write writes the table of the section's keys, and returns the mappings below it.
func (s section) write(b *strings.Builder) (below []section) {
	if s.path != "" {
		fmt.Fprintf(b, "\n### %s\n", s.path)
	}
	b.WriteString("\n| key | value | default | meaning |\n|---|---|---|---|\n")
	for i := range s.fields {
		f := &s.fields[i]
		key := "`" + f.key + "`"
		if f.kind == kindMapping {
			key = fmt.Sprintf("[`%s`](#%s)", f.key, strings.NewReplacer(".", "", "[", "", "]", "").Replace(strings.ToLower(join(s.path, f.key))))
			below = append(below, section{join(s.path, f.key), f.fields})
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s. |\n", key, cell(f.describe()), cell(f.describeDefault()), cell(f.doc))
		if f.kind == kindNamed && f.item.kind == kindMapping {
			below = append(below, section{join(s.path, f.key) + ".NAME", f.item.fields})
		}
		if f.kind == kindList && f.item.kind == kindMapping && len(f.item.fields) > 1 {
			path := join(s.path, f.key) + "[]"
			below = append(below, section{path, f.item.fields})
		}
	}
	return below
}

// describe says what the values of f are.
func (f *field) describe() string {
	switch {
	case len(f.allowed) > 0:
		list := make([]string, len(f.allowed))
		for i, a := range f.allowed {
			list[i] = "`" + a + "`"
		}
		return alternatives(list)
	case f.kind == kindInteger || f.kind == kindNumber || f.kind == kindShare || f.kind == kindDuration || f.want != "":
		return f.wanted()
	case f.kind == kindList && f.item.whole:
		return "a list of mappings"
	case f.kind == kindList && f.item.kind == kindMapping && len(f.item.fields) > 1:
		return "a list of names, or of mappings"
	case f.kind == kindList && f.item.kind == kindMapping:
		return "a list of names"
	case f.kind == kindNamed && f.item.kind == kindMapping:
		return "a mapping of names to mappings"
	case f.kind == kindNamed && f.item.kind == kindAny:
		return "a mapping of names to values"
	case f.kind == kindNamed && f.item.kind == kindList:
		return "a mapping of names to lists"
	case f.kind == kindNamed && f.item.kind == kindText:
		return "a mapping of names to texts"
	case f.kind == kindNamed:
		return "a mapping of names to expressions"
	case f.secret:
		return "`${NAME}`"
	default:
		return f.kind.String()
	}
}

func (f *field) describeDefault() string {
	switch {
	case f.required:
		return "required"
	case f.defDoc != "":
		return f.defDoc
	case f.def != "":
		return "`" + f.def + "`"
	default:
		return ""
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
