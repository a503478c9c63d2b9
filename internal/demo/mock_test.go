package demo

import (
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/app"
	"millrace.dev/internal/house"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// batchOf makes a batch of the houses' columns that are no text, in its rows.
func batchOf(t *testing.T, s *record.Schema, n int, of func(i int64) house.Sale) *profile.Rows {
	t.Helper()
	b := record.NewBatch(s, nil)
	for i := range n {
		h := of(int64(i))
		b.Append(record.Raw{})
		for k, x := range []float64{
			h.Bedrooms, h.Bathrooms, float64(h.SqftLiving), float64(h.SqftLot), h.Floors, float64(h.SqftAbove), float64(h.SqftBasement),
			float64(h.YrBuilt), float64(h.YrRenovated),
		} {
			b.Numbers(k)[i] = x
		}
		for k, text := range []string{strconv.Itoa(h.Waterfront), strconv.Itoa(h.View), strconv.Itoa(h.Condition), h.City, h.StateZip} {
			b.Codes(9 + k)[i] = b.Dict(9 + k).Code([]byte(text))
		}
	}
	return &profile.Rows{Batch: b}
}

// TestChecksTellMockHouses holds calibrated checks, with no threshold given, to pass sales that training has not seen, and
// to fail on mock houses, also where a window has few of them.
func TestChecksTellMockHouses(t *testing.T) {
	t.Parallel()
	numbers := []string{"bedrooms", "bathrooms", "sqft_living", "sqft_lot", "floors", "sqft_above", "sqft_basement", "yr_built", "yr_renovated"}
	var fields []record.Field
	for _, name := range numbers {
		fields = append(fields, record.Field{Name: name, Type: record.Numeric})
	}
	for _, name := range []string{"waterfront", "view", "condition", "city", "statezip"} {
		fields = append(fields, record.Field{Name: name, Type: record.Enum})
	}
	schema, err := record.NewSchema(fields...)
	if err != nil {
		t.Fatal(err)
	}
	g, err := house.New(house.Options{Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	layout := profile.NewLayout(schema, nil, "")
	survey, history := profile.NewSurvey(layout), batchOf(t, schema, 4600, g.Sale)
	survey.Add(0, history)
	reference := survey.Profile()
	checker, err := profile.NewChecker(reference, profile.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	failed := func(n int, of func(i int64) house.Sale) (columns []string) {
		c, err := profile.NewCounter(reference, layout)
		if err != nil {
			t.Fatal(err)
		}
		c.Add(batchOf(t, schema, n, of))
		v, err := checker.Check(c.Profile())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range v.Findings {
			if f.Severity == profile.Fail {
				columns = append(columns, f.Column)
			}
		}
		if (v.Severity == profile.Fail) != (columns != nil) || v.Skipped != "" {
			t.Errorf("%d houses: %s %s", n, v.Severity, v.Skipped)
		}
		return columns
	}
	for _, n := range []int{200, 1000, 5000} {
		if got := failed(n, func(i int64) house.Sale { return g.Sale(10_000 + i) }); got != nil {
			t.Errorf("%d sales fail by %v", n, got)
		}
		got := failed(n, g.Mock)
		for _, want := range []string{"bathrooms", "sqft_lot", "floors", "yr_built", "condition", "city", "statezip"} {
			if !slices.Contains(got, want) {
				t.Errorf("%d mock houses do not fail by %s, but by %v", n, want, got)
			}
		}
	}
}

func TestWhy(t *testing.T) {
	t.Parallel()
	column := func(name string, kind profile.Kind, counts ...uint64) profile.Column {
		c := profile.Column{Name: name, Role: profile.Field, Kind: kind, Counts: counts, Min: math.NaN(), Max: math.NaN()}
		for _, n := range counts {
			c.Rows += n
		}
		return c
	}
	numbers := func(c profile.Column, low, high float64, distinct uint64, edges ...float64) profile.Column {
		c.Edges, c.Min, c.Max, c.Distinct = edges, low, high, distinct
		return c
	}
	levels := func(c profile.Column, levels ...string) profile.Column {
		c.Levels = levels
		return c
	}
	floors := numbers(column("floors", profile.Number, 46, 14, 40, 0), 1, 2, 3, 1, 1.5, 2)
	lot := numbers(column("lot", profile.Number, 1, 33, 33, 33, 0), 600, 9000, 90, 600, 4000, 7000, 9000)
	zip := levels(column("zip", profile.Level, 2, 98, 0), "WA 98155", "WA 98103")
	price := numbers(column("prediction", profile.Number, 50, 50, 0), 1, 9, 90, 5, 9)
	price.Role = profile.Prediction
	worse := func(column, check, words string) profile.Finding {
		return profile.Finding{Column: column, Check: check, Severity: profile.Fail, Words: column + ": " + words}
	}
	drift := func(column string) profile.Finding { return worse(column, profile.CheckDrift, "drifts") }
	gone := column("zip", profile.Level, 0, 0, 0)
	gone.Rows, gone.Missing = 9, 9
	for name, c := range map[string]struct {
		window []profile.Column
		found  []profile.Finding
		want   []string
	}{
		"nothing": {[]profile.Column{floors}, []profile.Finding{{Column: "floors", Severity: profile.OK}}, nil},
		"below": {
			[]profile.Column{numbers(column("floors", profile.Number, 67, 0, 33, 0), 0, 2, 0, 1, 1.5, 2)},
			[]profile.Finding{drift("floors")},
			[]string{"floors: 67 % are 0 to 1, 46 % in training, where none is below 1"},
		},
		"above": {
			[]profile.Column{numbers(column("floors", profile.Number, 46, 0, 0, 54), 1, 7, 0, 1, 1.5, 2)},
			[]profile.Finding{drift("floors")},
			[]string{"floors: 54 % are above 2, 0 % in training"},
		},
		"a value": {
			[]profile.Column{numbers(column("floors", profile.Number, 5, 90, 5, 0), 1, 2, 0, 1, 1.5, 2)},
			[]profile.Finding{drift("floors")},
			[]string{"floors: 90 % are 1.5, 14 % in training"},
		},
		"the median": {
			[]profile.Column{numbers(column("lot", profile.Number, 0, 50, 50, 0, 0), 1000, 7000, 0, 600, 4000, 7000, 9000)},
			[]profile.Finding{drift("lot")},
			[]string{"lot: the median is 4000, 5455 in training"},
		},
		"a range": {
			[]profile.Column{numbers(column("lot", profile.Number, 0, 10, 0, 90, 0), 1000, 9000, 0, 600, 4000, 7000, 9000)},
			[]profile.Finding{drift("lot")},
			[]string{"lot: 90 % are above 7000 up to 9000, 33 % in training"},
		},
		"a level": {
			[]profile.Column{levels(column("zip", profile.Level, 99, 0, 1), "WA 98155", "WA 98103")},
			[]profile.Finding{drift("zip")},
			[]string{"zip: 99 % are WA 98155, 2 % in training"},
		},
		"no level": {
			[]profile.Column{levels(column("zip", profile.Level, 75, 0, 25), "WA 98155", "WA 98103")},
			[]profile.Finding{drift("zip")},
			[]string{"zip: 25 % have a value that training has never seen"},
		},
		"no value":        {[]profile.Column{gone}, []profile.Finding{drift("zip")}, []string{"zip: drifts"}},
		"what is missing": {[]profile.Column{gone}, []profile.Finding{drift("zip"), worse("zip", profile.CheckNulls, "all are missing")}, []string{"zip: all are missing"}},
		"no reference":    {[]profile.Column{column("other", profile.Number, 1)}, []profile.Finding{drift("other")}, nil},
		"the prediction, then what is new, then the rest": {
			[]profile.Column{
				levels(column("zip", profile.Level, 99, 1, 0), "WA 98155", "WA 98103"),
				numbers(column("floors", profile.Number, 67, 0, 33, 0), 0, 2, 0, 1, 1.5, 2),
				{Name: "prediction", Role: profile.Prediction, Kind: profile.Number, Rows: 2, Edges: price.Edges, Counts: []uint64{1, 1, 0}},
			},
			[]profile.Finding{drift("zip"), drift("floors"), drift("prediction"), worse("prediction", profile.CheckMedian, "went up")},
			[]string{"prediction: went up", "floors: 67 % are 0 to 1, 46 % in training, where none is below 1", "zip: 99 % are WA 98155, 2 % in training"},
		},
	} {
		reference := &profile.Profile{Rows: 100, Columns: []profile.Column{floors, lot, zip, price}}
		var got []string
		for _, r := range reasons(reference, &app.WindowResult{Verdict: &profile.Verdict{Findings: c.found}, Columns: c.window}) {
			got = append(got, r.column+": "+r.words)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestCountsWindows tells windows of mock houses alone from those that have others, too.
func TestCountsWindows(t *testing.T) {
	t.Parallel()
	window := func(rows uint64, result string) app.WindowResult {
		return app.WindowResult{Verdict: &profile.Verdict{Rows: rows}, Result: result}
	}
	list := []app.WindowResult{window(10, "ok"), window(12, "ok"), window(11, "warn"), window(10, "fail"), window(10, "skipped")}
	for before, want := range map[int64]Windows{
		0:  {Windows: 5, OK: 2, Warn: 1, Fail: 1},
		10: {Windows: 4, OK: 1, Warn: 1, Fail: 1}, // the second has only mock houses
		11: {Windows: 3, Warn: 1, Fail: 1},        // the second has both
		33: {Windows: 2, Fail: 1},
		44: {},
	} {
		var c Checks
		last := c.count(list, before)
		if diff := cmp.Diff(want, c.Mock); diff != "" || (last == nil) != (want.Windows == 0) {
			t.Errorf("after %d: %s%v", before, diff, last)
		}
	}
}
