package window

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

const minute = int64(time.Minute / time.Microsecond)

func missing() float64 { return math.NaN() }

// numbers returns records a minute apart from 1970 on, one for each value; NaN is missing.
func numbers(values ...float64) []input {
	list := make([]input, len(values))
	for i, x := range values {
		list[i] = input{int64(i) * minute, []Value{Number(x)}}
	}
	return list
}

// TestAggregates has one aggregate of an hour for the last of some records, most of one number.
func TestAggregates(t *testing.T) {
	t.Parallel()
	nan, inf := missing(), math.Inf(1)
	type row struct {
		name string
		a    Aggregate
		in   []input
		want float64
	}
	var rows []row
	add := func(name string, a Aggregate, want float64, values ...float64) {
		rows = append(rows, row{name, a, numbers(values...), want})
	}
	for f := Count; f <= Percentile; f++ {
		want := nan
		if f == Count || f == Distinct {
			want = 0
		}
		add("nothing before", Aggregate{Func: f}, want, 5)
		add("nothing but missing values before", Aggregate{Func: f}, want, nan, inf, -inf, 5)
	}
	add("records", Aggregate{Func: Count, Arg: NoArgument}, 3, 1, nan, 3, 9)
	add("values", Aggregate{Func: Count}, 2, 1, nan, 3, 9)
	add("a sum", Aggregate{Func: Sum}, 4, 1, nan, 3, 9)
	add("a sum of zero", Aggregate{Func: Sum}, 0, 1, -1, 9)
	add("a sum that overflows", Aggregate{Func: Sum}, nan, 1e308, 1e308, -1e308, 9)
	add("a mean", Aggregate{Func: Mean}, 2, 1, nan, 3, 9)
	add("a mean that overflows", Aggregate{Func: Mean}, nan, 1e308, 1e308, 9)
	add("a minimum", Aggregate{Func: Min}, -2, 1, nan, -2, 9)
	add("a minimum beside a sum that overflows", Aggregate{Func: Min}, 1e308, 1e308, 1.1e308, 9)
	add("a maximum", Aggregate{Func: Max}, 1, 1, nan, -2, 9)
	add("a maximum of zeros", Aggregate{Func: Max}, 0, math.Copysign(0, -1), 9)
	add("a variance of one", Aggregate{Func: Variance}, nan, 1, nan, 9)
	add("a variance", Aggregate{Func: Variance}, 2, 1, nan, 3, 9)
	add("a variance of equals", Aggregate{Func: Variance}, 0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 9)
	add("a variance beside a large offset", Aggregate{Func: Variance}, 1, 1.7e15, 1.7e15+1, 1.7e15+2, 9)
	add("a variance that overflows", Aggregate{Func: Variance}, nan, 1e200, -1e200, 9)
	add("a deviation", Aggregate{Func: Stddev}, 2, 1, 3, 5, 9)
	add("distinct", Aggregate{Func: Distinct}, 3, 1, 2, nan, 1, 0, math.Copysign(0, -1), 9)
	add("the first", Aggregate{Func: First}, 1, nan, 1, 2, 9)
	add("the last", Aggregate{Func: Last}, 2, 1, 2, nan, 9)
	add("the last but one", Aggregate{Func: Last, K: 2}, 1, 1, 2, nan, 9)
	add("the last but two of two", Aggregate{Func: Last, K: 3}, nan, 1, 2, nan, 9)
	add("a difference", Aggregate{Func: Difference}, 7, 1, 2, nan, 9)
	add("a difference of a missing value", Aggregate{Func: Difference}, nan, 1, 2, nan)
	add("a difference that overflows", Aggregate{Func: Difference}, nan, -1e308, 1e308)
	add("a median", Aggregate{Func: Percentile, P: 0.5}, 2, 4, 1, 3, 2, 9)
	add("a percentile of 0", Aggregate{Func: Percentile}, 1, 4, 1, 3, 2, 9)
	add("a percentile of 1", Aggregate{Func: Percentile, P: 1}, 4, 4, 1, 3, 2, 9)
	add("a percentile of a rank", Aggregate{Func: Percentile, P: 0.75}, 3, 4, 1, 3, 2, 9)
	add("a percentile just above a rank", Aggregate{Func: Percentile, P: 0.75001}, 4, 4, 1, 3, 2, 9)
	add("a percentile of negatives", Aggregate{Func: Percentile, P: 0.5}, -2, -3, -1, -2, 9)
	for _, r := range rows {
		w := compile(t, Spec{Size: time.Hour, Args: []Kind{Numbers}, Aggregates: []Aggregate{r.a, {Func: Count}}})
		out, s := make([]float64, 2), w.New()
		for _, in := range r.in {
			s.Observe(in.at, in.args, out)
		}
		if !same(out[:1], []float64{unsigned(r.want)}) {
			t.Errorf("%s: %s is %v, want %v", r.name, r.a.Func, out[0], r.want)
		}
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	w := compile(t, Spec{Size: time.Hour, Args: []Kind{Texts}, Aggregates: []Aggregate{{Func: Count}, {Func: Distinct}}})
	s, out := w.New(), make([]float64, 2)
	for i, text := range []string{"a", "b", "", "a", "\x00"} {
		s.Observe(int64(i), []Value{Text(text)}, out)
	}
	s.Observe(9, []Value{{}}, out)
	s.Read(10, []Value{Text([]byte("a"))}, out)
	if want := []float64{5, 4}; !same(out, want) {
		t.Errorf("%v, want %v", out, want)
	}
}

// TestWindow has counts and first values of an hour of tiles of a minute, for records at given minutes.
func TestWindow(t *testing.T) {
	t.Parallel()
	type read struct {
		at     float64 // minutes
		status Status
		count  float64
		first  float64 // its own time is a record's value
	}
	nan := missing()
	for name, c := range map[string]struct {
		grace time.Duration
		reads []read
	}{
		"the record is not in its window": {0, []read{{0, Added, 0, nan}, {0, Added, 1, 0}, {0, Added, 2, 0}}},
		"exactly the size ago":            {0, []read{{0, Added, 0, nan}, {60, Added, 0, nan}}},
		"less than the size ago":          {0, []read{{0.5, Added, 0, nan}, {60, Added, 1, 0.5}}},
		"rounded to a hop":                {0, []read{{0.1, Added, 0, nan}, {60.9, Added, 1, 0.1}, {61, Added, 1, 60.9}}},
		"before 1970":                     {0, []read{{-100.5, Added, 0, nan}, {-40.6, Added, 1, -100.5}, {-40, Added, 1, -40.6}}},
		"late":                            {0, []read{{0, Added, 0, nan}, {50, Added, 1, 0}, {10, Reordered, 1, 0}, {51, Added, 3, 0}}},
		"late in its tile":                {0, []read{{0.9, Added, 0, nan}, {0.5, Reordered, 1, 0.9}, {0.95, Added, 2, 0.5}}},
		"late by the grace":               {10 * time.Minute, []read{{50, Added, 0, nan}, {40, Reordered, 0, nan}, {51, Added, 2, 40}}},
		"too late":                        {10 * time.Minute, []read{{50, Added, 0, nan}, {39.9, TooLate, 0, nan}, {51, Added, 1, 50}}},
		"too late, but not for its tiles": {10 * time.Minute, []read{{0, Added, 0, nan}, {50, Added, 1, 0}, {30, TooLate, 1, 0}, {51, Added, 2, 0}}},
		"no grace":                        {NoGrace, []read{{50, Added, 0, nan}, {50, Added, 1, 50}, {49.9, TooLate, 2, 50}, {48.9, TooLate, 0, nan}, {51, Added, 2, 50}}},
		"the future and back":             {0, []read{{0, Added, 0, nan}, {1e6, Added, 0, nan}, {1, TooLate, 0, nan}, {1e6, Added, 1, 1e6}}},
	} {
		w := compile(t, Spec{
			Size: time.Hour, Grace: c.grace, Args: []Kind{Numbers},
			Aggregates: []Aggregate{{Func: Count, Arg: NoArgument}, {Func: First}},
		})
		s, out := w.New(), make([]float64, 2)
		for i, r := range c.reads {
			status := s.Observe(int64(r.at*float64(minute)), []Value{Number(r.at)}, out)
			if status != r.status || !same(out, []float64{r.count, r.first}) {
				t.Errorf("%s: record %d: %v %v, want %v %v %v", name, i, status, out, r.status, r.count, r.first)
			}
		}
	}
}

func TestUntimed(t *testing.T) {
	t.Parallel()
	w := everything(t)
	s, out := w.New(), make([]float64, len(w.spec.Aggregates))
	before := s.Append(nil)
	if status := s.Observe(record.MissingTime, []Value{Number(1), Text("a")}, out); status != Untimed {
		t.Errorf("%v, want untimed", status)
	}
	for i, x := range out {
		if !math.IsNaN(x) {
			t.Errorf("aggregate %d is %v, not missing", i, x)
		}
	}
	if diff := cmp.Diff(before, s.Append(nil)); diff != "" {
		t.Error(diff)
	}
	if !s.Expired(0) || s.Time() != record.MissingTime {
		t.Error("a state without records has a time, or does not expire")
	}
}

// TestLate has last and difference of a record that others overtook.
func TestLate(t *testing.T) {
	t.Parallel()
	w := compile(t, Spec{Size: time.Hour, Args: []Kind{Numbers}, Aggregates: []Aggregate{{Func: Last}, {Func: Difference}}})
	for younger, want := range map[int][]float64{16: {7, 93}, 17: {missing(), missing()}} {
		s, out := w.New(), make([]float64, 2)
		s.Observe(0, []Value{Number(7)}, out)
		for i := range younger {
			s.Observe(minute+int64(i), []Value{Number(-1)}, out)
		}
		if s.Observe(5, []Value{Number(100)}, out); !same(out, want) {
			t.Errorf("overtaken by %d: %v, want %v", younger, out, want)
		}
	}
}

func TestKindPanics(t *testing.T) {
	t.Parallel()
	w := everything(t)
	defer func() {
		if r, ok := recover().(string); !ok || !strings.Contains(r, "argument 0 is declared a number and given a text") {
			t.Errorf("recovered %q", r)
		}
	}()
	w.New().Observe(0, []Value{Text("a"), {}}, make([]float64, len(w.spec.Aggregates)))
}
