package api

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzSplitList compares with package json where that reads a list, and holds what is split to be parts of the body otherwise.
func FuzzSplitList(f *testing.F) {
	for _, s := range []string{
		"", "[", "[]", "[1]", " [ {\"a\":[1,2]} , \"x,]\" ] ", `[{"a":"\\"},{"b":"\"]"}]`, "[1,]", "[,1]", "[1 2]", "[}]", "[{]}]", "[[[]]]", "{}", "[1]]", "[\"",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := splitList(body)
		var want []json.RawMessage
		if jsonErr := json.Unmarshal(body, &want); jsonErr == nil && isList(body) {
			if err != nil {
				t.Fatalf("%q: %v", body, err)
			}
			if len(list) != len(want) {
				t.Fatalf("%q: %d elements, want %d", body, len(list), len(want))
			}
			for i := range want {
				if !bytes.Equal(list[i], want[i]) {
					t.Errorf("%q: element %d is %q, want %q", body, i, list[i], want[i])
				}
			}
			return
		}
		if err == nil && !isList(body) {
			t.Fatalf("%q passes for a list", body)
		}
		inOrder(t, body, list)
		valid := err == nil
		for _, e := range list {
			valid = valid && json.Valid(e)
		}
		if valid && !json.Valid(body) {
			t.Errorf("%q is split into elements that are all JSON, and is none", body)
		}
	})
}

// FuzzSplitLines wants the lines that are not blank.
func FuzzSplitLines(f *testing.F) {
	for _, s := range []string{"", "\n", "a", "a\n", "a\r\n\r\n b \n\nc", "\r", " \n\t\nx"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := splitLines(body)
		if err != nil {
			return // too many
		}
		inOrder(t, body, list)
		var want []string
		for line := range strings.SplitSeq(string(body), "\n") {
			if strings.Trim(line, " \t\r") != "" {
				want = append(want, strings.TrimRight(line, "\r"))
			}
		}
		if len(list) != len(want) {
			t.Fatalf("%q: %d lines, want %d", body, len(list), len(want))
		}
		for i := range want {
			if string(list[i]) != want[i] {
				t.Errorf("%q: line %d is %q, want %q", body, i, list[i], want[i])
			}
		}
	})
}

// inOrder wants parts of a body, one behind the other.
func inOrder(t *testing.T, body []byte, list [][]byte) {
	t.Helper()
	rest := body
	for i, e := range list {
		at := bytes.Index(rest, e)
		if at < 0 || len(e) == 0 {
			t.Fatalf("%q: element %d is %q, which does not come next", body, i, e)
		}
		rest = rest[at+len(e):]
	}
}
