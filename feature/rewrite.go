package feature

import (
	"fmt"
	"regexp"
	"strings"
)

// maxReplaceGroups is how many groups a regular expression may have where a replacement names them by one digit.
const maxReplaceGroups = 9

// countMatches counts the matches that do not overlap an earlier one.
func countMatches(dst []float64, a []text, re *regexp.Regexp) {
	for i, x := range a[:len(dst)] {
		dst[i] = nan()
		if x.ok {
			dst[i] = float64(len(re.FindAllStringIndex(x.s, -1)))
		}
	}
}

func replaceRegex(dst, a, with []text, re *regexp.Regexp, mem *arena) {
	a, with = a[:len(dst)], with[:len(dst)]
	for i := range dst {
		dst[i] = replaceMatches(a[i], with[i], re, mem)
	}
}

// replaceMatches puts with for every match that does not overlap an earlier one.
func replaceMatches(x, with text, re *regexp.Regexp, mem *arena) text {
	if !x.ok || !with.ok || len(x.s) > maxText || re.NumSubexp() > maxReplaceGroups {
		return text{}
	}
	matches := re.FindAllStringSubmatchIndex(x.s, -1)
	if matches == nil {
		return x
	}
	out, end := draft{mem.grow(maxText), false}, 0
	for _, at := range matches {
		out.add(x.s[end:at[0]])
		out.expand(with.s, x.s, at)
		end = at[1]
	}
	if out.add(x.s[end:]); out.full {
		return text{}
	}
	return mem.keep(out.b)
}

// draft is a text that is being made, as long as it has room.
type draft struct {
	b    []byte
	full bool
}

func (b *draft) add(s string) {
	if b.full = b.full || len(b.b)+len(s) > cap(b.b); !b.full {
		b.b = append(b.b, s...)
	}
}

// expand adds template, with $0 to $9 for the groups of a match in s, and $$ for $. Other dollars stand for themselves.
func (b *draft) expand(template, s string, at []int) {
	for !b.full {
		before, rest, found := strings.Cut(template, "$")
		b.add(before)
		if !found {
			return
		}
		group := -1
		if rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			group = int(rest[0] - '0')
		}
		switch {
		case group < 0:
			b.add("$")
			template = strings.TrimPrefix(rest, "$")
			continue
		case 2*group+1 < len(at) && at[2*group] >= 0:
			b.add(s[at[2*group]:at[2*group+1]])
		}
		template = rest[1:]
	}
}

// countMatches checks count_matches(text, "regex").
func (s *scope) countMatches(c *call) ref {
	src, ok := s.pattern(c)
	t := s.check(c.args[0])
	if !ok || !t.ok() {
		return ref{}
	}
	if t.kind != kindText {
		return c.types(s)([]ref{t, {kind: kindText}})
	}
	v := instruction(opCountMatches, t)
	v.pattern = src
	return s.add(c.node, v)
}

// replaceRegex checks replace_regex(text, "regex", "replacement").
func (s *scope) replaceRegex(c *call) ref {
	src, ok := s.pattern(c)
	t := s.check(c.args[0])
	template, isLiteral := s.literalText(c, 2)
	if !ok || !isLiteral || !t.ok() {
		return ref{}
	}
	if t.kind != kindText {
		return c.types(s)([]ref{t, {kind: kindText}, {kind: kindText}})
	}
	groups := s.build.patterns[src].NumSubexp()
	if groups > maxReplaceGroups {
		return s.fail(c.args[1], fmt.Sprintf("the regular expression has %d groups, at most %d can be named", groups, maxReplaceGroups), "write (?:...) for a group that needs no name")
	}
	for rest := template; ; {
		_, after, found := strings.Cut(rest, "$")
		if !found {
			break
		}
		if after == "" || after[0] != '$' && (after[0] < '0' || int(after[0]-'0') > groups) {
			return s.fail(c.args[2], fmt.Sprintf("the replacement names a group that is not there: there are $0 to $%d", groups), "$0 is the whole match, $$ a dollar")
		}
		rest = after[1:]
	}
	v := instruction(opReplaceRegex, t, s.constant(c.args[2], opText, literal{text: template}))
	v.pattern = src
	return s.add(c.node, v)
}
