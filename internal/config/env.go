package config

import (
	"fmt"
	"strings"
)

// segment is a part of a scalar that substitution changed: bytes in to inEnd of the YAML value became bytes out to
// outEnd of the text.
type segment struct{ in, inEnd, out, outEnd int }

// expand sets the text of scalar n: its value with ${NAME} replaced by the environment variable NAME,
// ${NAME:-default} by it or, where it is unset or empty, by default, and $$ by $. Any other $ stands for itself.
// It happens after the YAML is parsed: whatever a variable holds, it does not become YAML. Faults are reported at
// their places, and make the result false.
func (d *decoder) expand(n *node) bool {
	if n.done {
		return !n.failed
	}
	n.text, n.done = n.yaml, true
	if n.typed || !strings.Contains(n.yaml, "$") {
		return true
	}
	var out strings.Builder
	var segments []segment
	for i := 0; i < len(n.yaml); {
		size, value, f := d.reference(n.yaml[i:])
		if f != nil {
			start, end := n.place(i, size)
			d.ps.add(n.src, start, end, f.message, f.hint)
			n.failed = true
		}
		seg := segment{in: i, inEnd: i + size, out: out.Len()}
		out.WriteString(value)
		seg.outEnd = out.Len()
		if size != 1 {
			segments = append(segments, seg)
		}
		i += size
	}
	if n.failed {
		return false
	}
	n.text, n.segments = out.String(), segments
	n.null = n.text == ""
	return true
}

// fault is what is wrong with a value, and what to do.
type fault struct{ message, hint string }

const referenceHint = "write ${NAME} or ${NAME:-default}; a $ before a brace is written $$"

// reference returns the text that the beginning of s stands for, and its size in s: one byte that is itself, or $$,
// or a variable.
func (d *decoder) reference(s string) (size int, text string, f *fault) {
	switch {
	case strings.HasPrefix(s, "$$"):
		return 2, "$", nil
	case !strings.HasPrefix(s, "${"):
		return 1, s[:1], nil
	}
	ref, _, closed := strings.Cut(s[2:], "}")
	if !closed {
		return len(s), "", &fault{"this variable has no closing brace", referenceHint}
	}
	size = len(ref) + 3
	name, def, hasDefault := strings.Cut(ref, ":-")
	if !variableName(name) {
		return size, "", &fault{quote(name) + " is no name of a variable: it has letters, digits and _, and no digit first", referenceHint}
	}
	value, set := d.env(name)
	switch {
	case hasDefault && value == "":
		return size, def, nil
	case !set:
		return size, "", &fault{fmt.Sprintf("the environment variable %s is not set", name), fmt.Sprintf("set it, or give a default: ${%s:-default}", name)}
	}
	return size, value, nil
}

func variableName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
