package chart

import (
	_ "embed"
	"html/template"
)

//go:embed style.css
var style string

// Style returns the CSS of charts: colours as variables of :root (--paper, --card, --ink, --soft, --rule, --axis and those of
// series, --a, --b, --c and --mark), light or dark by what the reader's system prefers.
func Style() template.CSS { return template.CSS(style) }
