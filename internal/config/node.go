package config

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// Limits on a pipeline file.
const (
	MaxFileSize = 1 << 20 // bytes
	maxItems    = 10_000  // of a list; a schema has at most 4096 fields
	maxDepth    = 16      // levels of lists and mappings; the keys of a pipeline file need 5
)

type nodeKind uint8

const (
	scalarNode nodeKind = iota
	listNode
	mappingNode
)

func (k nodeKind) String() string {
	return [...]string{"a single value", "a list", "a mapping of keys to values"}[k]
}

// node is a value of the file, or of an override, with its place.
type node struct {
	kind  nodeKind
	src   *source
	start int // offset of its first character
	style scalarStyle
	yaml  string  // scalar: the value as YAML has it
	null  bool    // scalar: an unquoted empty value, ~ or null
	typed bool    // scalar: from an override: variables were the shell's business
	pairs []pair  // mapping
	items []*node // list

	text     string // scalar: the value after substitution; valid when done
	segments []segment
	done     bool
	failed   bool // scalar: substitution found faults

	places   []span // see spans
	followed bool
}

type pair struct{ key, value *node }

// get returns the pair of key, or nil.
func (n *node) get(key string) *pair {
	for i := range n.pairs {
		if n.pairs[i].key.yaml == key {
			return &n.pairs[i]
		}
	}
	return nil
}

// parseYAML returns the root of the document of src, or nil when it is no YAML or has a part that a pipeline
// file may not have; all such parts are reported.
func parseYAML(src *source, ps *problemList) *node {
	root, ok := loadYAML(src, ps)
	if !ok {
		return nil
	}
	c := converter{src: src, ps: ps, cur: cursor{src: src}}
	n := c.convert(root)
	if c.refused {
		return nil
	}
	if n.kind != mappingNode {
		ps.add(src, n.start, n.end(), "a pipeline file is a mapping of keys to values", `it begins with a line such as "version: 1"`)
		return nil
	}
	return n
}

func loadYAML(src *source, ps *problemList) (*yaml.Node, bool) {
	loader, err := yaml.NewLoader(strings.NewReader(src.text), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		ps.add(src, 0, 0, fmt.Sprintf("the YAML parser does not start: %v", err), "")
		return nil, false
	}
	var doc, second yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) != 1:
		ps.add(src, 0, 0, "the file holds no YAML document", "millrace init writes a pipeline file from a CSV file")
		return nil, false
	case err != nil:
		syntaxProblem(src, ps, err)
		return nil, false
	}
	switch err := loader.Load(&second); {
	case errors.Is(err, io.EOF):
		return doc.Content[0], true
	case err != nil:
		syntaxProblem(src, ps, err)
	default:
		cur := cursor{src: src}
		at := cur.offset(second.Line, second.Column)
		ps.add(src, at, src.lineEnd(at), "a pipeline file holds one YAML document, and here a second one begins", "give each pipeline a file of its own")
	}
	return nil, false
}

// syntaxProblem reports an error of the YAML parser.
func syntaxProblem(src *source, ps *problemList, err error) {
	message, at := err.Error(), 0
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		cur := cursor{src: src}
		mark := e.Mark
		if mark.Line == 0 || strings.HasSuffix(e.Message, "end of stream") && e.ContextMark.Line > 0 {
			mark = e.ContextMark
		}
		at = cur.offset(mark.Line, mark.Column)
		message = e.Message
		if e.ContextMsg != "" {
			message = e.ContextMsg + ": " + message
			if e.ContextMark.Line > 0 && e.ContextMark.Line != mark.Line {
				message += fmt.Sprintf(" (it begins in line %d)", e.ContextMark.Line)
			}
		}
	}
	line := src.lineText(src.line(at))
	hint := ""
	switch {
	case strings.Contains(message, "exceeded max depth"):
		hint = fmt.Sprintf("lists and mappings may stand %d levels deep", maxDepth)
	case strings.Contains(line, "${") && strings.ContainsAny(line, "{[") && strings.Contains(message, "flow"):
		hint = `inside [ ] and { } a variable needs quotes: "${NAME}"`
	case strings.Contains(message, "mapping values are not allowed"):
		hint = `put quotes around a value that holds ": "`
	case strings.Contains(line, "\t"):
		hint = "indent with spaces: YAML allows no tabs there"
	case strings.Contains(message, "cannot start any token"):
		hint = "put quotes around a value that begins with one of @ ` % or a tab"
	}
	ps.add(src, at, at+1, "YAML: "+message, hint)
}

// converter makes nodes of the YAML parser's, and refuses what a pipeline file does not have.
type converter struct {
	src     *source
	ps      *problemList
	cur     cursor
	refused bool
}

func (c *converter) refuse(start, end int, message, hint string) {
	c.refused = true
	c.ps.add(c.src, start, end, message, hint)
}

func (c *converter) convert(y *yaml.Node) *node {
	n := &node{src: c.src, start: c.cur.offset(y.Line, y.Column)}
	switch {
	case y.Kind == yaml.AliasNode:
		c.refuse(n.start, n.start+1+len(y.Value), "a pipeline file has no aliases", "write the value out")
		return n
	case y.Anchor != "":
		c.refuse(n.start, n.start+1+len(y.Anchor), "a pipeline file has no anchors", "write the value where it is needed")
	case y.Style&yaml.TaggedStyle != 0:
		c.refuse(n.start, n.start+1, "a pipeline file has no tags", "the type of a value follows from its key")
	}
	switch y.Kind {
	case yaml.MappingNode:
		n.kind = mappingNode
		c.pairs(n, y)
	case yaml.SequenceNode:
		n.kind = listNode
		for _, item := range y.Content {
			n.items = append(n.items, c.convert(item))
		}
	default:
		n.yaml = y.Value
		n.style = styleOf(y.Style)
		n.null = n.style == plainStyle && (y.Value == "" || y.Value == "~" || strings.EqualFold(y.Value, "null"))
	}
	return n
}

func (c *converter) pairs(n *node, y *yaml.Node) {
	seen := make(map[string]*node, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := c.convert(y.Content[i])
		value := c.convert(y.Content[i+1])
		switch first := seen[key.yaml]; {
		case key.kind != scalarNode:
			c.refuse(key.start, key.end(), "a key is a single word, not "+key.kind.String(), "")
		case key.yaml == "<<" && key.style == plainStyle:
			c.refuse(key.start, key.end(), "a pipeline file has no merge keys", "write the keys out")
		case first != nil:
			line, column := c.src.position(first.start)
			c.ps.add(c.src, key.start, key.end(), fmt.Sprintf("the key %s is here twice: the first time in line %d, column %d", quote(key.yaml), line, column), "remove one of them")
		default:
			seen[key.yaml] = key
			n.pairs = append(n.pairs, pair{key, value})
		}
	}
}

func styleOf(s yaml.Style) scalarStyle {
	switch {
	case s&yaml.DoubleQuotedStyle != 0:
		return doubleStyle
	case s&yaml.SingleQuotedStyle != 0:
		return singleStyle
	case s&yaml.LiteralStyle != 0, s&yaml.FoldedStyle != 0:
		return blockStyle
	default:
		return plainStyle
	}
}

// quote returns s in quotes for a message, with escapes, and cut where it is long.
func quote(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// shown returns the value of a scalar for a message: as it stands in the file, so that no variable's value, which
// may be a secret, is ever printed.
func (n *node) shown() string { return quote(n.yaml) }
