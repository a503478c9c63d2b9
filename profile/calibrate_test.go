package profile

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// TestFalseAlarms counts alarms of windows without drift.
func TestFalseAlarms(t *testing.T) {
	windows := 100
	if s := os.Getenv("MILLRACE_DRIFT_WINDOWS"); s != "" {
		windows, _ = strconv.Atoi(s)
	}
	d := houses(t)
	for _, n := range []int{50, 200, 1000, 10000} {
		for _, known := range []bool{false, true} {
			alarmsOf(t, d, n, windows, known, os.Getenv("METRIC"), true)
		}
	}
}

func alarmsOf(t *testing.T, d *table, n, windows int, known bool, metric string, sampled bool) {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	const alpha = 0.05
	draw := func(n int) []int {
		out := make([]int, n)
		for i := range out {
			out[i] = r.IntN(d.rows)
		}
		return out
	}
	all := make([]int, d.rows)
	for i := range all {
		all[i] = i
	}
	var k *Checker
	alarms, by := 0, map[string]int{}
	per := 1
	if s := os.Getenv("PER"); s != "" {
		per, _ = strconv.Atoi(s)
	}
	var ref *Profile
	for w := range windows {
		if k == nil || !known && w%per == 0 {
			rows := all
			if !known {
				rows = draw(d.rows)
			}
			ref = d.profile(rows, nil)
			r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
			if sampled {
				ref.Sample = d.sample(rows, ref)
			}
			var err error
			k, err = NewChecker(ref, Rules{MinRows: 1, FalseAlarms: alpha, Columns: d.names, Known: known, Drift: DriftRule{Metric: metric}})
			if err != nil {
				t.Fatal(err)
			}
		}
		v, err := k.Check(d.profile(draw(n), ref))
		if err != nil {
			t.Fatal(err)
		}
		if v.Severity != OK {
			alarms++
			for _, f := range v.Findings {
				if f.Severity != OK {
					by[f.Column]++
				}
			}
		}
	}
	t.Logf("n %5d known %5t: %d of %d alarm, %.2f of the declared rate %v", n, known, alarms, windows, float64(alarms)/float64(windows)/alpha, by)
}
