package query

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"millrace.dev/internal/task"
)

// list returns what an instance answers to an ask for rows, in short; it goes through pages of limit rows.
func (in *instance) list(path string, limit int) string {
	in.w.t.Helper()
	var all []string
	for after, pages := "", 0; pages < 100; pages++ {
		var out Answer
		if status := in.get(fmt.Sprintf("/v1/stores/%s&limit=%d%s", path, limit, after), &out); status != http.StatusOK {
			in.w.t.Errorf("%s: status %d", path, status)
		}
		for i := range out.Rows {
			all = append(all, short(&out.Rows[i]))
		}
		if after = "&after=" + out.Next; out.Next == "" {
			return strings.Join(all, " ")
		}
	}
	in.w.t.Errorf("%s: no end of pages", path)
	return ""
}

func short(r *Row) string {
	s := strings.Trim(string(r.Key), `"`)
	if r.Window != nil {
		s += fmt.Sprintf("[%d,%d]", r.Window.Start-windowsFrom, r.Window.End-windowsFrom)
	}
	return s + "=" + string(r.Value)
}

// windowsFrom is when a segment begins of stores that keep rows for the time of the tests' topology.
const windowsFrom = int64(1_200_000)

// TestWindowsInSegments asks for sessions, sliding windows and rows that expire, by all that they can be asked by: whole and by
// pages of one row, before and after some have expired that are not deleted yet.
func TestWindowsInSegments(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		in := w.run()
		a, b := "a", ""
		for i := 0; b == ""; i++ { // another key of the same partition
			if k := fmt.Sprintf("b%d", i); task.Place([]byte(k), 0, partitions) == task.Place([]byte(a), 0, partitions) {
				b = k
			}
		}
		put := func(key string, value, at int64) { w.put(key, value, windowsFrom+at) }
		put(a, 1, 0)
		put(b, 2, 1000)
		put(a, 3, 2000)
		put(a, 4, 130_000)
		put(b, 5, 130_000)
		check := func(asks map[string]string) {
			t.Helper()
			for path, want := range asks {
				path, want = strings.ReplaceAll(path, "B", b), strings.ReplaceAll(want, "B", b)
				for _, limit := range []int{MaxLimit, 1} {
					if got := in.list(path, limit); got != want {
						t.Errorf("%s, %d at a time:\ngot  %s\nwant %s", path, limit, got, want)
					}
				}
			}
		}
		w.until("all to be counted", func() bool { n, _ := in.count(a); m, _ := in.count(b); return n == 3 && m == 2 })
		check(map[string]string{
			"sessions/rows?":                                                 "a[0,2000]=2 B[1000,1000]=1 a[130000,130000]=1 B[130000,130000]=1",
			"sessions/rows?key=a":                                            "a[0,2000]=2 a[130000,130000]=1",
			"sessions/rows?key=B":                                            "B[1000,1000]=1 B[130000,130000]=1",
			"sessions/rows?key=absent":                                       "",
			"sessions/rows?from=b":                                           "B[1000,1000]=1 B[130000,130000]=1",
			"sessions/rows?from=a&to=b":                                      "a[0,2000]=2 a[130000,130000]=1",
			"sessions/rows?window_start_from=1201000":                        "B[1000,1000]=1 a[130000,130000]=1 B[130000,130000]=1",
			"sessions/rows?window_start_to=1201000":                          "a[0,2000]=2 B[1000,1000]=1",
			"sessions/rows?key=a&window_start_to=1200000":                    "a[0,2000]=2",
			"sessions/rows?window_at=1201000":                                "a[0,2000]=2 B[1000,1000]=1",
			"sessions/rows?key=a&window_at=1202000":                          "a[0,2000]=2",
			"sessions/rows?key=a&window_at=1202001":                          "",
			"sliding/rows?":                                                  "a[-5000,0]=1 a[-3000,2000]=2 B[-4000,1000]=1 a[1,5001]=1 a[125000,130000]=1 B[125000,130000]=1",
			"sliding/rows?key=a":                                             "a[-5000,0]=1 a[-3000,2000]=2 a[1,5001]=1 a[125000,130000]=1",
			"sliding/rows?from=b":                                            "B[-4000,1000]=1 B[125000,130000]=1",
			"sliding/rows?window_at=1200000":                                 "a[-5000,0]=1 a[-3000,2000]=2 B[-4000,1000]=1",
			"sliding/rows?key=a&window_at=1202000":                           "a[-3000,2000]=2 a[1,5001]=1",
			"sliding/rows?key=a&window_start_from=1197000":                   "a[-3000,2000]=2 a[1,5001]=1 a[125000,130000]=1",
			"sliding/rows?window_start_from=1195000&window_start_to=1197000": "a[-5000,0]=1 a[-3000,2000]=2 B[-4000,1000]=1",
			"fresh/rows?":                                                    "a=4 B=5",
			"fresh/rows?key=a":                                               "a=4",
		})
		for path, want := range map[string]string{
			"sessions/row?key=a&window_start=1200000": "a[0,2000]=2",
			"sessions/row?key=a&window_start=1202000": "=", // which is its end
			"sessions/row?key=a&window_start=1330000": "a[130000,130000]=1",
			"sliding/row?key=a&window_start=1200001":  "a[1,5001]=1",
			"sliding/row?key=a&window_start=1202001":  "=", // without a record in it
			"sliding/row?key=a&window_start=1325000":  "a[125000,130000]=1",
			"fresh/row?key=a":                         "a=4",
		} {
			var out RowAnswer
			if status := in.get("/v1/stores/"+path, &out); short(&out.Row) != want || (status == http.StatusOK) != (want != "=") {
				t.Errorf("%s: status %d: got %s, want %s", path, status, short(&out.Row), want)
			}
		}

		late := kept.Milliseconds()
		put(b, 6, 2000+late+1)
		w.until("the time to be later", func() bool { n, _ := in.count(b); return n == 3 })
		check(map[string]string{
			"sessions/rows?":                  "a[130000,130000]=1 B[130000,130000]=1 B[242001,242001]=1",
			"sessions/rows?key=a":             "a[130000,130000]=1",
			"sessions/rows?window_at=1200000": "",
			"sliding/rows?":                   "a[1,5001]=1 a[125000,130000]=1 B[125000,130000]=1 B[237001,242001]=1",
			"sliding/rows?key=B":              "B[125000,130000]=1 B[237001,242001]=1",
			"fresh/rows?":                     "a=4 B=6",
		})
		put(b, 7, 130_000+late+1)
		w.until("the time to be later still", func() bool { n, _ := in.count(b); return n == 4 })
		check(map[string]string{"fresh/rows?": "B=7", "fresh/rows?key=a": "", "last/rows?": "a=4 B=7", "sessions/rows?key=a": ""})
		if status := in.get("/v1/stores/fresh/row?key=a", nil); status != http.StatusNotFound {
			t.Errorf("a row that has expired: status %d", status)
		}
	})
}

// TestBudget has an answer look at a few rows at a time: pages have fewer rows than the limit, or none, and together all.
func TestBudget(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		in := w.run()
		const keys = 24
		for i := range keys {
			w.put(keyOf(i), int64(i), timeOf(i))
		}
		w.until("all to be counted", func() bool { return in.all(keys, 1) })
		paths := []string{"last/rows?", "last/rows?from=key-03&to=key-21", "windows/rows?key=key-20", "windows/rows?window_at=22000", "sessions/rows?key=key-11", "sliding/rows?from=key-20"}
		for _, path := range paths {
			want := in.list(path, MaxLimit)
			for _, most := range []budget{{partitions, allBytes}, {3 * partitions, allBytes}, {allLooks, 1}, {allLooks, partitions * 40}} {
				in.api.most = most
				if got := in.list(path, MaxLimit); got != want || want == "" {
					t.Errorf("%s with %+v:\ngot  %s\nwant %s", path, most, got, want)
				}
			}
			in.api.most = budget{allLooks, allBytes}
		}
		in.api.most = budget{partitions, allBytes}
		var f Fault
		if status := in.get("/v1/stores/windows/row?key=key-20&window_start=20000", &f); status != http.StatusOK && (status != http.StatusBadRequest || !strings.Contains(f.Error, "ask for rows of the key")) {
			t.Errorf("status %d: %s", status, f.Error)
		}
	})
}

// TestShare keeps what is looked at of many partitions within bounds.
func TestShare(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]budget{1: {maxLooks, maxBytes}, 10: {maxLooks, maxBytes}, 100: {allLooks / 100, allBytes / 100}, 1 << 30: {1, 1}} {
		if got := (budget{allLooks, allBytes}).share(n); got != want {
			t.Errorf("of %d: %+v, want %+v", n, got, want)
		}
	}
}
