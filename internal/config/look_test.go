package config

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

func describe(c *LookedColumn) string {
	s := fmt.Sprintf("%s %s", c.Field.Name, c.Field.Type)
	if c.Field.Quoted {
		s += " quoted"
	}
	if len(c.Field.Layouts) > 0 {
		s += " " + strings.Join(c.Field.Layouts, "|")
	}
	return fmt.Sprintf("%s, %d values, %d missing: %s", s, c.Values, c.Missing, c.Seen)
}

func TestLookAtJSON(t *testing.T) {
	t.Parallel()
	l, err := NewLook(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		more := ""
		if i >= 40 {
			more = fmt.Sprintf(`,"late":%d.5`, i)
		}
		number := strconv.Itoa(i)
		if i%10 == 0 {
			number = `"` + number + `"`
		}
		p := l.Add(fmt.Appendf(nil, `{"n":%d.25,"quoted":"%d.5","both":%s,"kinds":%s,"flag":%t,"city":"%s","at":"2014-05-%02dT10:00:00Z","day":"%02d.05.2014","odd":"0%d/0%d/2014","no":null,"deep":{"a":[1]}%s}`,
			i, i, number, []string{`"a"`, "1"}[i%2], i%3 == 0, []string{"Kent", "Auburn"}[i%2], 1+i%28, 1+i%28, 1+i%9, 1+i%9, more))
		if p != nil {
			t.Fatal(p)
		}
	}
	if p := l.Add([]byte(`{"n":`)); p == nil || l.Rows() != 100 {
		t.Errorf("%v, %d rows", p, l.Rows())
	}
	var got []string
	for range 2 { // asking changes nothing
		got = nil
		for _, c := range l.Columns() {
			got = append(got, describe(&c))
		}
	}
	want := []string{
		"n numeric, 100 values, 0 missing: 0.25 to 99.25",
		"quoted numeric quoted, 100 values, 0 missing: 0.5 to 99.5",
		"both numeric quoted, 100 values, 0 missing: 0 to 99",
		"kinds enum, 100 values, 0 missing: values of several kinds: 50 numbers, 50 texts",
		"flag enum, 100 values, 0 missing: 2 levels",
		"city enum, 100 values, 0 missing: 2 levels",
		"at time, 100 values, 0 missing: 2014-05-01 to 2014-05-28, written as RFC 3339",
		"day time 02.01.2006, 100 values, 0 missing: times, written as 02.01.2006",
		"odd enum, 100 values, 0 missing: times perhaps, but as 02/01/2006 or as 01/02/2006",
		"no string, 0 values, 100 missing: no cell has a value",
		"deep enum, 100 values, 0 missing: objects or arrays, which are no values of a column",
		"late numeric, 60 values, 40 missing: 40.5 to 99.5",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLookAtCSV(t *testing.T) {
	t.Parallel()
	l, err := NewLook([]string{"a", "price"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"1,$1 200", "NA,€3.50", ",12 %", "2,free", "2,", "1,1'000"} {
		if p := l.Add([]byte(row)); p != nil {
			t.Fatal(p)
		}
	}
	if p := l.Add([]byte("1,2,3")); p == nil {
		t.Error("a row of three cells is one of two")
	}
	got := l.Columns()
	if describe(&got[0]) != "a numeric, 4 values, 2 missing: 1 to 2" || got[0].Numeric != 4 || got[0].Texts != 5 {
		t.Errorf("%s: %+v", describe(&got[0]), got[0])
	}
	if got[1].Field.Type != record.String || got[1].Formatted != 4 || got[1].Numeric != 0 {
		t.Errorf("%+v", got[1])
	}
}
