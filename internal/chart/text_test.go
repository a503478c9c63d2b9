package chart

import "testing"

func TestOneLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                   "",
		"city_Zürich 東京":     "city_Zürich 東京",
		"a\x1b[31mb\a\nc\td": `a\u001b[31mb\u0007\u000ac\u0009d`,
		"o_\u202egnp\u2028":  `o_\u202egnp\u2028`,
		"\xff\ufffe":         "\ufffd\\ufffe",
		"c1 \u009b31m":       `c1 \u009b31m`,
	} {
		if got := OneLine(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
