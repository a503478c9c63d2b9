package app_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/app"
	"millrace.dev/internal/assign"
	"millrace.dev/internal/rollout"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// armsOf returns an experiment with two models.
func armsOf(c *succession, by rollout.By, a assign.Allocation) *rollout.Split {
	s := &rollout.Split{Experiment: "rent-test", By: by, Salt: "salty", Override: "x-arm", Arms: []rollout.Arm{
		{Name: "control", Model: c.base.Model, Digest: c.base.Digest}, {Name: "new", Model: c.next.Model, Digest: c.next.Digest},
	}}
	for i := range s.Arms {
		if by == rollout.ByKey {
			s.Arms[i].Slots = a[i]
		}
	}
	return s
}

// TestSplit has two models predict a stream, each its arm, while tasks crash and weights change: each record is predicted with the model of
// its arm, as a file is, whatever batch it is in, and says what the control would have made of it.
func TestSplit(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"by the key of the message": "", "by a field": "city", "by partition": "-"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testSplit(t, key)
		})
	}
}

func testSplit(t *testing.T, key string) {
	const records, first, second, last, step = 900, 200, 500, 800, 6 * time.Second
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 7))
	start := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	var lines []string
	for i := range records {
		area, _ := flat(r, 0)
		lines = append(lines, fmt.Sprintf(`{"at":%q,"area":%d,"city":"c%d"}`, start.Add(time.Duration(i)*step).Format(time.RFC3339), area, r.IntN(40)))
	}
	c := newSuccession(t, lines)
	before, err := assign.New([]float64{70, 30})
	if err != nil {
		t.Fatal(err)
	}
	after, err := before.Resize([]float64{50, 50}, []int{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	by := rollout.ByKey
	if key == "-" {
		by, key = rollout.ByPartition, ""
	}
	one, two := armsOf(c, by, before), armsOf(c, by, after)
	if by == rollout.ByPartition {
		one.Arms[1].Partitions, two.Arms[0].Partitions = []int32{1}, []int32{0, 1} // nobody is named for 0, then both are the control's
	}
	one.Key, two.Key = key, key
	in := streamtest.NewInput(c.driver, "flats", stream.String(), stream.String())
	forced := map[int]string{}
	for i, line := range lines {
		at := start.Add(time.Duration(i) * step).UnixMilli()
		switch i {
		case first:
			c.serve(t, 5, one, c.base, c.next)
		case second:
			c.serve(t, 6, two, c.base, c.next)
		case last:
			c.serve(t, 7, nil, c.base)
		case first + 20, second + 60:
			c.driver.Abort()
		case first + 100, second + 30, last + 10:
			c.driver.Crash()
		}
		switch i % 50 {
		case 7:
			forced[i] = []string{"control", "new"}[i/50%2]
			in.PipeRecord(stream.Record[string, string]{Key: fmt.Sprint("k", i), Value: line, Timestamp: at, Headers: []record.Header{
				{Key: "x-arm", Value: []byte(forced[i])}, {Key: "millrace.arm", Value: []byte("made up")}, {Key: "mine", Value: []byte("1")},
			}})
		default:
			in.Pipe(fmt.Sprint("k", i), line, at)
		}
		c.driver.Advance(step)
	}
	c.driver.Advance(2 * time.Hour)
	numbers := map[string]int{}
	for i, line := range lines {
		numbers[line] = i
	}
	x := splitCheck{c: c, numbers: numbers, forced: forced, hasher: assign.NewHasher("salty"), arms: map[string]int{}}
	for partition := range int32(2) {
		for _, raw := range c.driver.Raw("predictions", partition) {
			s := (*rollout.Split)(nil)
			switch i := x.number(t, &raw); {
			case i >= last:
			case i >= second:
				s = two
			case i >= first:
				s = one
			}
			x.check(t, s, &raw)
		}
	}
	if x.total != records {
		t.Errorf("%d predictions of %d records", x.total, records)
	}
	if x.arms["new"] < 50 || x.arms["control"] < 50 {
		t.Errorf("the arms have %v records", x.arms)
	}
	c.checkRows(t, records)
}

// splitCheck holds predictions against those of files.
type splitCheck struct {
	c       *succession
	numbers map[string]int // by line
	forced  map[int]string
	hasher  *assign.Hasher
	arms    map[string]int
	total   int
}

func (x *splitCheck) number(t *testing.T, raw *record.Raw) int {
	t.Helper()
	head, _, _ := strings.Cut(string(raw.Value), `,"prediction"`)
	i, ok := x.numbers[head+"}"]
	if !ok {
		t.Fatalf("%s is of no record", raw.Value)
	}
	return i
}

// want returns the arm that a record belongs to.
func (x *splitCheck) want(s *rollout.Split, i int, raw *record.Raw) string {
	if x.forced[i] != "" {
		return x.forced[i]
	}
	if s.By == rollout.ByPartition {
		for _, a := range s.Arms {
			if slices.Contains(a.Partitions, raw.Partition) {
				return a.Name
			}
		}
		return s.Arms[0].Name
	}
	key := string(raw.Key)
	if s.Key != "" {
		_, rest, _ := strings.Cut(string(raw.Value), `"city":"`)
		key, _, _ = strings.Cut(rest, `"`)
	}
	slot := x.hasher.Slot([]byte(key))
	for _, a := range s.Arms {
		for _, r := range a.Slots {
			if slot >= r.From && slot < r.To {
				return a.Name
			}
		}
	}
	return ""
}

func (x *splitCheck) check(t *testing.T, s *rollout.Split, raw *record.Raw) {
	t.Helper()
	x.total++
	i := x.number(t, raw)
	ref, arm, baseline := "rents@1", "", ""
	if s != nil {
		arm = x.want(s, i, raw)
		if arm == "new" {
			ref = "rents@2"
			_, baseline, _ = strings.Cut(strings.TrimSuffix(x.c.want["rents@1"][i], "}"), `"prediction":`)
		}
		x.arms[arm]++
	}
	if string(raw.Value) != x.c.want[ref][i] {
		t.Fatalf("record %d: %s, want that of %s: %s", i, raw.Value, ref, x.c.want[ref][i])
	}
	got := map[string]string{}
	for _, h := range raw.Headers {
		if _, twice := got[h.Key]; twice {
			t.Errorf("record %d has the header %s twice", i, h.Key)
		}
		got[h.Key] = string(h.Value)
	}
	want := map[string]string{"millrace.model": ref, "millrace.arm": arm, "millrace.experiment": "", "millrace.forced": ""}
	if s != nil {
		want["millrace.experiment"] = "rent-test"
		if x.forced[i] != "" {
			want["millrace.forced"] = "true"
		}
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("record %d: header %s is %q, want %q", i, k, got[k], v)
		}
	}
	if x.forced[i] != "" && got["mine"] != "1" {
		t.Errorf("record %d has lost a header of its own", i)
	}
	a, errA := strconv.ParseFloat(got["millrace.baseline"], 64)
	b, errB := strconv.ParseFloat(baseline, 64)
	if (errA == nil) != (errB == nil) || errA == nil && a != b {
		t.Errorf("record %d: baseline %q, want %q", i, got["millrace.baseline"], baseline)
	}
}

// checkRows wants each record in one window, whatever model predicted it.
func (c *succession) checkRows(t *testing.T, records int) {
	t.Helper()
	var rows uint64
	for _, w := range c.windows(t) {
		rows += w.Rows
		if w.Foreign != 0 {
			t.Errorf("%d parts of no model", w.Foreign)
		}
	}
	if rows != uint64(records) {
		t.Errorf("windows have %d of %d records", rows, records)
	}
}

// windows returns what was said of windows.
func (c *succession) windows(t *testing.T) []app.WindowResult {
	t.Helper()
	var all []app.WindowResult
	for _, raw := range c.driver.Raw("rents.checks", 0) {
		all = append(all, c.window(t, &raw))
	}
	return all
}
