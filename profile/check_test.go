package profile

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sales is a small profile: of 1,000 rows, with a number, a time, levels, a text and a label.
func sales() *Profile {
	return &Profile{Rows: 1000, Columns: []Column{
		{Name: "sqft_living", Kind: Number, Role: Field, Rows: 1000, Missing: 10, Min: 500, Max: 4500, Mean: 2000, Deviation: 900, Edges: []float64{500, 1500, 2500, 4500}, Counts: []uint64{1, 300, 400, 289, 0}, Distinct: 600},
		{Name: "date", Kind: Time, Role: Field, Rows: 1000, Min: 1.4e9, Max: 1.41e9, Mean: 1.405e9, Edges: []float64{1.4e9, 1.41e9}, Counts: []uint64{500, 500, 0}, Distinct: 2},
		{Name: "city", Kind: Level, Role: Field, Rows: 1000, Levels: []string{"Kent", "Renton", "Seattle"}, Counts: []uint64{300, 200, 500, 0}, Min: math.NaN(), Max: math.NaN(), Mean: math.NaN()},
		{Name: "always", Kind: Number, Role: Feature, Rows: 1000, Min: 1, Max: 1, Mean: 1, Edges: []float64{1}, Counts: []uint64{1000, 0}, Distinct: 1},
		{Name: "street", Kind: Text, Role: Field, Rows: 1000},
		{Name: "price", Kind: Number, Role: Label, Rows: 1000, Min: 1, Max: 2, Mean: 1.5, Edges: []float64{1, 2}, Counts: []uint64{500, 500, 0}, Distinct: 2},
		{Name: "none", Kind: Number, Role: Field, Rows: 1000, Missing: 1000, Min: math.NaN(), Max: math.NaN(), Mean: math.NaN(), Counts: []uint64{0}},
	}}
}

// sold is a window of 400 rows, as the training data but for its changes.
func sold(change func(p *Profile)) *Profile {
	p := sales()
	p.Rows = 400
	counts := [][]uint64{{0, 119, 160, 117, 0}, {200, 200, 0}, {120, 80, 200, 0}, {400, 0}, nil, {0, 0, 0}, {0}}
	for i := range p.Columns {
		c := &p.Columns[i]
		c.Rows, c.Counts, c.Missing, c.Distinct = 400, counts[i], 0, 0
	}
	p.Columns[0].Missing, p.Columns[6].Missing = 4, 400
	if change != nil {
		change(p)
	}
	return p
}

func finding(t *testing.T, v *Verdict, column, check string) *Finding {
	t.Helper()
	for i := range v.Findings {
		if f := &v.Findings[i]; f.Column == column && f.Check == check {
			return f
		}
	}
	t.Fatalf("no finding of %s %s", column, check)
	return nil
}

func TestCheck(t *testing.T) {
	t.Parallel()
	all := Rules{
		Nulls: &NullRule{0.02}, Mean: &ChangeRule{Within: 0.15, Columns: []string{"sqft_living", "date"}},
		Median: &ChangeRule{Within: 0.15, Columns: []string{"sqft_living"}}, Range: &ChangeRule{Within: 0.1}, Drift: DriftRule{Metric: "psi", Warn: 0.1, Fail: 0.25},
	}
	for _, c := range []struct {
		name          string
		rules         Rules
		change        func(p *Profile)
		column, check string
		severity      Severity
		words         string
	}{
		{"nothing", all, nil, "sqft_living", CheckDrift, OK, "sqft_living: the distribution differs from training by 8.39e-05 of population"},
		{"nothing calibrated", Rules{}, nil, "city", CheckDrift, OK, "city: the distribution is that of training: limit "},
		{"mean", all, func(p *Profile) { p.Columns[0].Mean = 2450 }, "sqft_living", CheckMean, Fail, "sqft_living: the mean went from 2,000 to 2,450, +22.5 %: limit 15 %"},
		{"mean down", all, func(p *Profile) { p.Columns[0].Mean = 1900 }, "sqft_living", CheckMean, OK, "sqft_living: the mean went from 2,000 to 1,900, -5 %: limit 15 %"},
		{"mean of times", all, func(p *Profile) { p.Columns[1].Mean += 2e6 }, "date", CheckMean, Fail, "date: the mean went from 2014-07-10 13:46:40 to 2014-08-02 17:20:00, +20 % of the range: limit 15 %"},
		{"median", all, func(p *Profile) { p.Columns[0].Counts = []uint64{0, 0, 100, 296, 0} }, "sqft_living", CheckMedian, Fail, "sqft_living: the median went from 1,985 to 3,162, +59.3 %: limit 15 %"},
		{"median below training", all, func(p *Profile) {
			p.Columns[0].Counts, p.Columns[0].Min, p.Columns[0].Max, p.Columns[0].Mean = []uint64{395, 1, 0, 0, 0}, 0.5, 1000, 10
		}, "sqft_living", CheckMedian, Fail, "sqft_living: the median went from 1,985 to about 5.81, below the range of training, -99.7 %: limit 15 %"},
		{"median above training", all, func(p *Profile) {
			p.Columns[0].Counts, p.Columns[0].Min, p.Columns[0].Max, p.Columns[0].Mean = []uint64{0, 0, 0, 0, 396}, 100_000, 900_000, 400_000
		}, "sqft_living", CheckMedian, Fail, "sqft_living: the median went from 1,985 to about 357,664, above the range of training, +17,918 %: limit 15 %"},
		{"median of one value below training", all, func(p *Profile) {
			p.Columns[0].Counts, p.Columns[0].Min, p.Columns[0].Max, p.Columns[0].Mean = []uint64{396, 0, 0, 0, 0}, 7, 7, 7
		}, "sqft_living", CheckMedian, Fail, "sqft_living: the median went from 1,985 to about 7, below the range of training"},
		{"min", all, func(p *Profile) { p.Columns[0].Min = 0 }, "sqft_living", CheckMin, Fail, "sqft_living: the smallest value went from 500 to 0, -12.5 % of the range: limit 10 %"},
		{"min inside", all, func(p *Profile) { p.Columns[0].Min = 2500 }, "sqft_living", CheckMin, OK, "sqft_living: the smallest value went from 500 to 2,500, +50 % of the range: limit 10 %"},
		{"max", all, nil, "sqft_living", CheckMax, OK, "sqft_living: the largest value stayed at 4,500: limit 10 % of the range"},
		{"nulls", all, func(p *Profile) { p.Columns[0].Missing = 40 }, "sqft_living", CheckNulls, Fail, "sqft_living: 10 % of the values are missing, 1 % in training: limit 2 %"},
		{"nulls calibrated", Rules{}, func(p *Profile) { p.Columns[0].Missing = 40 }, "sqft_living", CheckNulls, Fail, "by chance less than once in a million windows"},
		{"nulls where there were none", Rules{}, func(p *Profile) { p.Columns[4].Missing = 30 }, "street", CheckNulls, Fail, "street: 7.5 % of the values are missing, 0 % in training, by chance"},
		{"a null where there were none", Rules{}, func(p *Profile) { p.Columns[4].Missing = 1 }, "street", CheckNulls, OK, "as expected by chance"},
		{"drift", all, func(p *Profile) { p.Columns[0].Counts = []uint64{0, 20, 100, 276, 0} }, "sqft_living", CheckDrift, Fail, "of population stability index: limit 0.25"},
		{"drift a little", all, func(p *Profile) { p.Columns[0].Counts = []uint64{0, 80, 130, 186, 0} }, "sqft_living", CheckDrift, Warn, "of population stability index: limit 0.1"},
		{"another name", Rules{Name: "last year"}, func(p *Profile) { p.Columns[2].Counts, p.Columns[0].Missing = []uint64{120, 80, 180, 20}, 40 }, "city", CheckDrift, Fail, "city: the distribution differs from last year by"},
		{"levels", Rules{}, func(p *Profile) { p.Columns[2].Counts = []uint64{120, 80, 180, 20} }, "city", CheckDrift, Fail, "city: the distribution differs"},
		{"a constant changes", Rules{}, func(p *Profile) { p.Columns[3].Counts = []uint64{380, 20} }, "always", CheckDrift, Fail, "by chance less than once"},
		{"all missing", all, func(p *Profile) {
			p.Columns[0].Missing, p.Columns[0].Counts = 400, make([]uint64, 5)
			p.Columns[0].Mean, p.Columns[0].Min, p.Columns[0].Max = math.NaN(), math.NaN(), math.NaN()
		}, "sqft_living", CheckMean, OK, "sqft_living: no value, so no mean"},
		{"all missing, drift", Rules{}, func(p *Profile) { p.Columns[0].Missing, p.Columns[0].Counts = 400, make([]uint64, 5) }, "sqft_living", CheckDrift, OK, "no value whose distribution could differ"},
		{"all missing, nulls", Rules{}, func(p *Profile) { p.Columns[0].Missing, p.Columns[0].Counts = 400, make([]uint64, 5) }, "sqft_living", CheckNulls, Fail, "100 %"},
		{"known", Rules{Known: true, Drift: DriftRule{Metric: "chi_square"}}, func(p *Profile) { p.Columns[3].Counts = []uint64{399, 1} }, "always", CheckDrift, Fail, ""},
		{"very many", Rules{Known: true}, func(p *Profile) {
			p.Rows = 1 << 60
			p.Columns[2].Counts, p.Columns[2].Rows = []uint64{3 << 54, 2 << 54, 6 << 54, 0}, 11<<54
		}, "city", CheckDrift, Fail, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := verdict(t, newChecker(t, sales(), c.rules), sold(c.change))
			f := finding(t, v, c.column, c.check)
			if f.Severity != c.severity || !strings.Contains(f.Words, c.words) {
				t.Errorf("%+v", *f)
			}
			for i := range v.Findings {
				if g := &v.Findings[i]; c.change == nil && g.Severity != OK && g.Column != "none" {
					t.Errorf("%+v", *g)
				}
				if strings.Contains(v.Findings[i].Words, "NaN") {
					t.Errorf("%q", v.Findings[i].Words)
				}
			}
			if v.Severity.worse(c.severity) != v.Severity {
				t.Errorf("the verdict is %s, better than its finding", v.Severity)
			}
		})
	}
}

// TestCheckColumns checks by default all columns but labels, texts' distributions, and times.
func TestCheckColumns(t *testing.T) {
	t.Parallel()
	v := verdict(t, newChecker(t, sales(), Rules{}), sold(nil))
	var got []string
	for _, f := range v.Findings {
		got = append(got, f.Column+" "+f.Check+" "+f.Metric)
	}
	want := []string{"sqft_living nulls ", "sqft_living drift ks", "city nulls ", "city drift g", "always nulls ", "always drift ks", "street nulls ", "none nulls "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCheckSkips(t *testing.T) {
	t.Parallel()
	v := verdict(t, newChecker(t, sales(), Rules{}), &Profile{Rows: 199, Columns: sold(nil).Columns})
	if v.Skipped != "199 rows are too few to judge: at least 200 are needed" || v.Findings != nil || v.Severity != OK {
		t.Errorf("%+v", v)
	}
	if v := verdict(t, newChecker(t, &Profile{}, Rules{MinRows: 1}), &Profile{Rows: 5}); len(v.Findings) != 0 {
		t.Errorf("%+v", v)
	}
}

func TestCheckErrors(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]Rules{
		`columns: the profile has no column "sqft_livin": did you mean "sqft_living"?`: {Columns: []string{"sqft_livin"}},
		`median.columns: the profile has no column "citi": did you mean "city"?`:       {Median: &ChangeRule{Columns: []string{"citi"}}},
		"mean.columns: city is no number":                                              {Mean: &ChangeRule{Columns: []string{"city"}}},
		"range.columns: none has no number in the training data":                       {Range: &ChangeRule{Columns: []string{"none"}}},
		"false_alarms is 2: it must be from 0 to 0.5":                                  {FalseAlarms: 2},
		"nulls.max is NaN":                                            {Nulls: &NullRule{math.NaN()}},
		"drift.warn is 0.3, above drift.fail, 0.2":                    {Drift: DriftRule{Metric: "psi", Warn: 0.3, Fail: 0.2}},
		`drift.metric: there is no metric "pis": did you mean "psi"?`: {Drift: DriftRule{Metric: "pis"}},
		"drift: chi_square grows with the rows":                       {Drift: DriftRule{Metric: "chi_square", Fail: 3}},
		"drift: warn and fail need a metric":                          {Drift: DriftRule{Fail: 0.2}},
	} {
		if _, err := NewChecker(sales(), r); err == nil || strings.Count(err.Error(), want) != 1 {
			t.Errorf("%v, want %q", err, want)
		}
	}
	bad := sales()
	bad.Sample = &Sample{Rows: 1, Bins: []uint16{9, 0, 0, 0, NoBin, 0, NoBin}}
	if _, err := NewChecker(bad, Rules{}); err == nil || !strings.Contains(err.Error(), "bin 9 of sqft_living, which has 5") {
		t.Error(err)
	}
	k := newChecker(t, sales(), Rules{})
	if _, err := k.Check(&Profile{Rows: 400}); err == nil || !strings.Contains(err.Error(), "the window has no column") {
		t.Error(err)
	}
	if _, err := k.Check(sold(func(p *Profile) { p.Columns[2].Levels = []string{"a"} })); err == nil || !strings.Contains(err.Error(), "other bins") {
		t.Error(err)
	}
}

func TestVerdictJSON(t *testing.T) {
	t.Parallel()
	v := verdict(t, newChecker(t, sales(), Rules{Mean: &ChangeRule{Within: 0.1}}), sold(func(p *Profile) { p.Columns[0].Mean = 3000 }))
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), `{"column":"sqft_living","check":"mean","value":3000,"reference":2000,"threshold":2200,"severity":"fail","words":"sqft_living: the mean went from 2,000 to 3,000, +50 %: limit 10 %"}`) {
		t.Errorf("%s", b)
	}
	var back Verdict
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*v, back, cmpopts.EquateNaNs()); diff != "" {
		t.Error(diff)
	}
}

func TestFigure(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]string{
		0: "0", 1: "1", -1: "-1", 1980: "1,980", 1234567.8: "1,234,568", 22.53: "22.5", 0.1234: "0.123", 0.00012345: "0.000123", 1e-9: "1e-09",
		-1500: "-1,500", 99.96: "100", 1e20: "1e+20", 0.25: "0.25", 999.6: "1,000",
	} {
		if got := figure(x); got != want {
			t.Errorf("%v: %s, want %s", x, got, want)
		}
	}
}

// FuzzCheck judges windows with any counts: there is a verdict without NaN in its words.
func FuzzCheck(f *testing.F) {
	f.Add(uint64(400), uint64(5), uint64(1<<60), uint64(0), uint64(7), false)
	f.Add(uint64(1), uint64(0), uint64(0), uint64(1), uint64(0), true)
	known, sampled := NewChecker(sales(), Rules{MinRows: 1, Known: true, FalseAlarms: 0.05})
	if sampled != nil {
		f.Fatal(sampled)
	}
	unknown, err := NewChecker(sales(), Rules{MinRows: 1, Median: &ChangeRule{Within: 0.1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, rows, a, b, c, missing uint64, k bool) {
		w := sold(func(p *Profile) {
			p.Rows = max(rows%5000, 1)
			p.Columns[0].Counts, p.Columns[0].Missing = []uint64{a, b, c, a, b}, missing
			p.Columns[2].Counts = []uint64{c, b, a, a}
			p.Columns[3].Counts = []uint64{b, a}
		})
		checker := unknown
		if k {
			checker = known
		}
		v := verdict(t, checker, w)
		for _, x := range v.Findings {
			if strings.Contains(x.Words, "NaN") || x.P < 0 || x.P > 1 {
				t.Errorf("%+v", x)
			}
		}
		if _, err := json.Marshal(v); err != nil {
			t.Error(err)
		}
	})
}
