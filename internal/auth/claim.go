package auth

import (
	"strconv"
	"strings"
)

// claim returns a claim by its name, or, where there is none of the name, by its path through nested claims, with dots between.
// It is nil where there is neither.
func claim(claims map[string]any, name string) any {
	if v, ok := claims[name]; ok {
		return v
	}
	first, rest, nested := strings.Cut(name, ".")
	inner, ok := claims[first].(map[string]any)
	if !nested || !ok {
		return nil
	}
	return claim(inner, rest)
}

// textsOf returns the texts of a claim: those of a list, the words of a text if words is true, or the whole of a text, a number
// or a truth value. It is empty for anything else.
func textsOf(v any, words bool) []string {
	switch v := v.(type) {
	case string:
		if words {
			return strings.Fields(v)
		}
		return []string{v}
	case bool:
		return []string{strconv.FormatBool(v)}
	case float64:
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}
	case []any:
		var texts []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				texts = append(texts, s)
			}
		}
		return texts
	default:
		return nil
	}
}
