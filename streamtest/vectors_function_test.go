package streamtest_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The function codes of the vectors: see the README beside them. A code that is not known is a fault of the case, so
// that a new one is never taken for a pass. What a Java function would throw, these do with panic, and the driver
// reports it as the error of the application.

// joinerOf returns a joiner. The side that is missing is null.
func joinerOf(code string) (func(l, r value) value, error) {
	if x, ok := strings.CutPrefix(code, "concat:"); ok {
		return func(l, r value) value { return textOf(l.String() + x + r.String()) }, nil
	}
	if f, ok := strings.CutPrefix(code, "format:"); ok {
		return func(l, r value) value {
			return textOf(strings.NewReplacer("{l}", l.String(), "{r}", r.String()).Replace(f))
		}, nil
	}
	if code == "sum" {
		return func(l, r value) value { return must(plus(l, r, 1)) }, nil
	}
	return nil, fmt.Errorf("joiner %q", code)
}

func must(v value, err error) value {
	if err != nil {
		panic(err)
	}
	return v
}

// adderOf returns a function of an aggregate and a value: add, remove, merge or reduce.
func adderOf(code string) (func(aggregate, v value) value, error) {
	if x, ok := strings.CutPrefix(code, "concat:"); ok {
		return func(a, v value) value { return textOf(a.String() + x + v.String()) }, nil
	}
	switch code {
	case "sum", "parse_sum":
		return func(a, v value) value { return must(plus(a, v, 1)) }, nil
	case "sub":
		return func(a, v value) value { return must(plus(a, v, -1)) }, nil
	case "remove_all":
		return func(a, v value) value { return textOf(strings.ReplaceAll(a.String(), v.String(), "")) }, nil
	case "sorted_chars":
		return func(a, v value) value {
			chars := []rune(a.String() + v.String())
			slices.Sort(chars)
			return textOf(string(chars))
		}, nil
	}
	return nil, fmt.Errorf("aggregate function %q", code)
}

// pair is what a function that groups makes of a record. Not ok: no record at all.
type pair struct {
	key, value value
	ok         bool
}

// groupOf returns the function of a group_by.
func groupOf(code string) (func(k, v value) pair, error) {
	of := func(f func(k, v value) (value, value)) (func(k, v value) pair, error) {
		return func(k, v value) pair {
			k, v = f(k, v)
			return pair{k, v, true}
		}, nil
	}
	switch code {
	case "identity", "key":
		return of(func(k, v value) (value, value) { return k, v })
	case "swap":
		return of(func(k, v value) (value, value) { return v, k })
	case "value_value":
		return of(func(_, v value) (value, value) { return v, v })
	case "key_chars":
		return of(func(k, _ value) (value, value) { return char(k, 0), char(k, 1) })
	case "key_intvalue":
		return of(func(k, v value) (value, value) {
			if n, ok := v.number(); ok && n.kind == decimal {
				v = wholeOf(int64(n.decimal)) // as Number.intValue
			} else if ok {
				v = n
			}
			return k, v
		})
	case "group_amount":
		return of(func(_, v value) (value, value) {
			g, n, _ := strings.Cut(v.String(), ":")
			amount, err := strconv.ParseInt(n, 10, 64)
			if err != nil {
				panic(err)
			}
			return textOf(g), wholeOf(amount)
		})
	case "value_value_null_rules":
		return func(k, v value) pair {
			switch k.String() {
			case "null":
				return pair{value{}, v, true}
			case "NULL":
				return pair{}
			}
			return pair{v, v, true}
		}, nil
	}
	return nil, fmt.Errorf("group_by function %q", code)
}

func char(v value, i int) value { return textOf(v.String()[i : i+1]) }

// predicateOf returns a predicate.
func predicateOf(code string) (func(k, v value) bool, error) {
	divides := func(n int64) (func(k, v value) bool, error) {
		return func(k, _ value) bool { return integer(k)%n == 0 }, nil
	}
	switch code {
	case "key_mod3":
		return divides(3)
	case "key_mod5":
		return divides(5)
	case "key_mod7":
		return divides(7)
	case "key_even":
		return divides(2)
	case "key_negative":
		return func(k, _ value) bool { return integer(k) < 0 }, nil
	case "value_even":
		return func(_, v value) bool { return integer(v)%2 == 0 }, nil
	case "true":
		return func(_, _ value) bool { return true }, nil
	}
	return nil, fmt.Errorf("predicate %q", code)
}

func integer(v value) int64 {
	n, ok := v.number()
	if !ok || n.kind != whole {
		panic(v.show() + " is not a whole number")
	}
	return n.whole
}

// mapValuesOf returns the function of a map_values.
func mapValuesOf(code string) (func(k, v value) value, error) {
	switch code {
	case "identity":
		return func(_, v value) value { return v }, nil
	case "len":
		return func(_, v value) value { return wholeOf(length(v)) }, nil
	case "len_plus_key":
		return func(k, v value) value { return wholeOf(length(v) + integer(k)) }, nil
	case "first_digit":
		return func(_, v value) value { return wholeOf(int64(notNull(v).String()[0]) - '0') }, nil
	}
	return nil, fmt.Errorf("map_values function %q", code)
}

func notNull(v value) value {
	if v.kind == null {
		panic("a function of a value was called with null")
	}
	return v
}

func length(v value) int64 { return int64(len(notNull(v).String())) }

// mapOf returns the function of a map.
func mapOf(code string) (func(k, v value) (value, value), error) {
	switch code {
	case "identity":
		return func(k, v value) (value, value) { return k, v }, nil
	case "valuetext_key":
		return func(k, v value) (value, value) { return textOf(v.String()), k }, nil
	case "windowed_key_string":
		return func(k, v value) (value, value) { return textOf(k.String()), v }, nil
	}
	return nil, fmt.Errorf("map function %q", code)
}

// flatMapOf returns the function of a flat_map.
func flatMapOf(code string) (func(k, v value) []pair, error) {
	switch code {
	case "identity":
		return func(k, v value) []pair { return []pair{{k, v, true}} }, nil
	case "repeat_key_times":
		return func(k, v value) (out []pair) {
			n := integer(k)
			for i := range n {
				out = append(out, pair{textOf(strconv.FormatInt(10*n+i, 10)), textOf(v.String()), true})
			}
			return out
		}, nil
	}
	return nil, fmt.Errorf("flat_map function %q", code)
}

// flatMapValuesOf returns the function of a flat_map_values.
func flatMapValuesOf(code string) (func(k, v value) []value, error) {
	switch code {
	case "identity":
		return func(_, v value) []value { return []value{v} }, nil
	case "v_V":
		return func(_, v value) []value { return []value{textOf("v" + v.String()), textOf("V" + v.String())} }, nil
	case "v_k":
		return func(k, v value) []value { return []value{textOf("v" + v.String()), textOf("k" + k.String())} }, nil
	}
	return nil, fmt.Errorf("flat_map_values function %q", code)
}

// selectKeyOf returns the function of a select_key, or of a to_stream that changes the key.
func selectKeyOf(code string) (func(k, v value) value, error) {
	switch code {
	case "key", "identity":
		return func(k, _ value) value { return k }, nil
	case "value":
		return func(_, v value) value { return v }, nil
	case "number_name_of_value":
		return func(_, v value) value { return numberName(v) }, nil
	case "number_name":
		return func(k, _ value) value { return numberName(k) }, nil
	}
	return nil, fmt.Errorf("select_key function %q", code)
}

func numberName(v value) value {
	names := []string{"ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"}
	if n, ok := v.number(); ok && n.kind == whole && n.whole >= 0 && n.whole < int64(len(names)) {
		return textOf(names[n.whole])
	}
	return value{}
}

// lookupOf returns the function that gives the key to look up in a global table; null is none.
func lookupOf(code string) (func(k, v value) value, error) {
	switch code {
	case "value":
		return func(_, v value) value { return v }, nil
	case "key":
		return func(k, _ value) value { return k }, nil
	case "null":
		return func(_, _ value) value { return value{} }, nil
	case "after_comma":
		return func(_, v value) value {
			if parts := strings.Split(v.String(), ","); len(parts) > 1 {
				return textOf(parts[1])
			}
			return value{}
		}, nil
	}
	return nil, fmt.Errorf("key_selector %q", code)
}
