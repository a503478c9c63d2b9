package feature

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConjuncts(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string][]string{
		"price > 0":                          {"price > 0"},
		"price > 0 and price < 5000000":      {"price > 0", "price < 5000000"},
		" a > 1 &&  b < 2 and not (c == 3) ": {"a > 1", "b < 2", "not (c == 3)"},
		"a > 1 or b > 2":                     {"a > 1 or b > 2"},
		"a > 1 and (b > 2 or c > 3)":         {"a > 1", "(b > 2 or c > 3)"},
		"(a > 1 and b > 2)":                  {"(a > 1 and b > 2)"},
		`name == "é and ü" and b > 2`:        {`name == "é and ü"`, "b > 2"},
	} {
		got, err := Conjuncts(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", expr, diff)
		}
	}
	if _, err := Conjuncts("a >"); err == nil {
		t.Error("half an expression is taken")
	}
}
