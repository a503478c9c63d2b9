package streamtest_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"millrace.dev/internal/testenv"
)

// deletionsOfBoth checks that of two results, by foreign key and joined with another table, both tell of each deletion: Kafka Streams leaves
// it out in the second where there was no row.
func deletionsOfBoth(_ *testing.T, c *testCase, s *spec, got []result) error {
	more := *c
	more.Expect = slices.Clone(c.Expect)
	for _, r := range c.Expect {
		for _, k := range s.Sinks {
			told := func(e result) bool { return e.Input == r.Input && e.To == k.topic && e.Key == r.Key }
			if r.Value.value == (value{}) && !slices.ContainsFunc(more.Expect, told) {
				r.To = k.topic
				more.Expect = append(more.Expect, r)
			}
		}
	}
	return compare(&more, got, 1)
}

// toldByBoth checks that a join of a result by foreign key with its left table tells of an update twice where its foreign key is that of
// another row too; and that nothing else differs.
func toldByBoth(_ *testing.T, c *testCase, s *spec, got []result) error {
	var join *spec
	s.walk(func(s *spec) {
		if s.Op == "foreign_key_join" {
			join = s
		}
	})
	foreign, err := foreignKeyOf(join.ForeignKey)
	if err != nil {
		return err
	}
	more := *c
	more.Expect = nil
	rows := map[value]value{} // the foreign keys of left rows
	for i, in := range c.Inputs {
		others := false
		if in.Topic == join.Left.Topic {
			delete(rows, in.Key)
			if in.Value.value != (value{}) {
				f := foreign(in.Value.value)
				others = slices.Contains(slices.Collect(maps.Values(rows)), f)
				rows[in.Key] = f
			}
		}
		for _, r := range c.Expect {
			if r.Input != i {
				continue
			}
			more.Expect = append(more.Expect, r)
			for _, k := range s.Sinks {
				if others && r.To == k.topic && k.of.Of[0].Op == "table_table_join" && r.Value.value != (value{}) {
					more.Expect = append(more.Expect, r)
				}
			}
		}
	}
	return compare(&more, got, 1)
}

// deletionsOfRows checks that a result is deleted with the row of the table that both sides of its join share, also where Kafka Streams
// sends nothing; and that nothing else differs.
func deletionsOfRows(_ *testing.T, c *testCase, s *spec, got []result) error {
	var shared string
	s.walk(func(s *spec) {
		if s.Op == "table_table_join" && s.Right != nil {
			shared = s.Right.Topic
		}
	})
	more := *c
	more.Expect = slices.Clone(c.Expect)
	exists := map[value]bool{} // the results that there are
	for i, in := range c.Inputs {
		told := false
		for _, r := range c.Expect {
			if r.Input == i {
				exists[r.Key], told = r.Value.value != value{}, true
			}
		}
		if in.Topic == shared && in.Value.value == (value{}) && exists[in.Key] && !told {
			more.Expect = append(more.Expect, result{Input: i, To: c.Expect[0].To, Key: in.Key, Timestamp: in.Timestamp})
			exists[in.Key] = false
		}
	}
	return compare(&more, got, 1)
}

// TestDifferencesAreStrict spoils results of the cases that differ deliberately, each in many ways. No check may let one pass.
func TestDifferencesAreStrict(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(testenv.Vectors(t), "kstreams", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	checked := map[string]int{}
	for _, file := range files {
		for _, c := range cases(t, file) {
			s := new(spec)
			if err := strict(c.Spec, s); err != nil || s.Op == "words" {
				continue
			}
			_, got, err := run(t, c, s, false)
			if err != nil || compare(c, got, level(c, s)) == nil {
				continue
			}
			for _, d := range deliberate() {
				if !d.loose && d.covers(c, s) && d.check(t, c, s, got) == nil {
					checked[d.reason]++
					for name, bad := range spoiled(got) {
						if d.check(t, c, s, bad) == nil {
							t.Errorf("%s: passes after %s", c.Name, name)
						}
					}
				}
			}
		}
	}
	for _, d := range deliberate() {
		if !d.loose && checked[d.reason] == 0 {
			t.Errorf("no case for: %s", d.reason)
		}
	}
}

// spoiled returns results with one of them lost, told twice, late, or of another value, or followed by a deletion, by what was done.
func spoiled(got []result) map[string][]result {
	all := map[string][]result{"all were lost": nil}
	for i, r := range got {
		change := func(f func(r *result)) []result {
			list := slices.Clone(got)
			f(&list[i])
			return list
		}
		at := fmt.Sprintf("result %d of input %d ", i, r.Input)
		all[at+"was lost"] = slices.Delete(slices.Clone(got), i, i+1)
		all[at+"was told twice"] = slices.Insert(slices.Clone(got), i, r)
		all[at+"was late"] = change(func(r *result) { r.Timestamp++ })
		all[at+"came of another input"] = change(func(r *result) { r.Input++ })
		all[at+"got another value"] = change(func(r *result) { r.Value.value = textOf("another") })
		r.Value = payload{}
		all[at+"was deleted"] = slices.Insert(slices.Clone(got), i+1, r)
	}
	return all
}
