package query

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/internal/engine"
)

// timeOf returns the event time of the records of a key.
func timeOf(i int) int64 { return int64(i+1) * 1000 }

// TestEveryInstanceAnswers asks two instances for every key, in a range, and for windows: right after partitions moved, and after
// one of them has died. What is answered never goes backwards meanwhile.
func TestEveryInstanceAnswers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const keys = 24
		a := w.run()
		for i := range keys {
			w.put(keyOf(i), int64(i), timeOf(i))
		}
		w.until("all to be counted", func() bool { return a.all(keys, 1) })

		watched := w.watch(keys, a)
		b := w.run()
		w.split(a, b)
		for _, in := range []*instance{a, b} {
			if !in.all(keys, 1) {
				t.Errorf("%s does not answer every key once the partitions are shared", in.engine.Instance())
			}
			w.checkPages(in, keys)
			w.checkWindows(in, keys)
		}
		for i := range keys {
			w.put(keyOf(i), int64(100+i), timeOf(i))
		}
		w.until("both to know it", func() bool { return a.all(keys, 2) && b.all(keys, 2) })
		for _, r := range b.requests() {
			if r.Header.Get(HeaderForwarded) != "" && (r.Header.Get("Authorization") != "" || r.Header.Get(HeaderApplication) != application) {
				t.Errorf("a request without a token was passed on with %v", r.Header)
			}
		}
		var row RowAnswer
		if status := a.get("/v1/stores/last/row?key="+keyOf(3), &row, "Authorization", "Bearer x"); status != http.StatusOK || string(row.Row.Value) != "103" || row.Row.Timestamp != timeOf(3) || row.Row.At != nil {
			t.Errorf("status %d: %+v", status, row)
		}
		for i := range keys {
			a.get("/v1/stores/last/row?key="+keyOf(i), &RowAnswer{}, "Authorization", "Bearer x")
		}
		passed := false
		for _, r := range b.requests() {
			passed = passed || r.Header.Get(HeaderForwarded) == a.engine.Instance() && r.Header.Get("Authorization") == "Bearer x"
		}
		if !passed {
			t.Error("no request was passed on with the token of who asks")
		}

		b.kill()
		w.until("the other to have all", func() bool { return a.all(keys, 2) })
		watched()
	})
}

func (in *instance) requests() []*http.Request {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]*http.Request(nil), in.seen...)
}

// all tells whether an instance says of every key that it was counted n times.
func (in *instance) all(keys int, n int64) bool { //nolint:unparam // it belongs to the question
	for i := range keys {
		if got, status := in.count(keyOf(i)); status != http.StatusOK || got != n {
			return false
		}
	}
	return true
}

// watch asks an instance again and again until the function that it returns is called: a count never goes down, and an answer is
// a row, or that there is none now.
func (w *world) watch(keys int, in *instance) (stop func()) {
	var done atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		seen := make([]int64, keys)
		for i := 0; !done.Load(); i = (i + 1) % keys {
			time.Sleep(time.Millisecond)
			switch n, status := in.count(keyOf(i)); status {
			case http.StatusOK:
				if n < seen[i] || n > 2 {
					w.t.Errorf("key %d: %d after %d", i, n, seen[i])
				}
				seen[i] = n
			case http.StatusServiceUnavailable:
			default:
				w.t.Errorf("key %d: status %d", i, status)
			}
		}
	})
	return func() {
		done.Store(true)
		all.Wait()
	}
}

// checkPages goes through all rows by pages of a few.
func (w *world) checkPages(in *instance, keys int) {
	w.t.Helper()
	var got []string
	for next, pages := "", 0; pages < 2*keys; pages++ {
		var out Answer
		if status := in.get("/v1/stores/last/rows?limit=5&from=key-02&to=key-20&after="+next, &out); status != http.StatusOK && next != "" {
			w.t.Fatalf("status %d", status)
		} else if status != http.StatusOK {
			in.get("/v1/stores/last/rows?limit=5&from=key-02&to=key-20", &out)
		}
		for _, r := range out.Rows {
			got = append(got, string(r.Key))
		}
		if len(out.Partitions) != partitions || out.Isolation != Isolation {
			w.t.Errorf("got %+v", out)
		}
		for _, p := range out.Partitions {
			if p.End != nil || p.Committed != nil && p.StreamTime == nil || len(p.Sources) != 1 {
				w.t.Errorf("partition: %+v", p)
			}
		}
		if next = out.Next; next == "" {
			break
		}
	}
	var want []string
	for i := 2; i < 20; i++ {
		want = append(want, fmt.Sprintf("%q", keyOf(i)))
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		w.t.Errorf("got  %v\nwant %v", got, want)
	}
}

// checkWindows compares windows with what follows from the times of the records.
func (w *world) checkWindows(in *instance, keys int) {
	w.t.Helper()
	size, hop := windowSize.Milliseconds(), windowSize.Milliseconds()/2
	for i := range keys {
		at := timeOf(i)
		var out Answer
		if status := in.get("/v1/stores/windows/rows?key="+keyOf(i), &out); status != http.StatusOK {
			w.t.Fatalf("status %d", status)
		}
		for _, r := range out.Rows {
			if r.Window == nil || r.Window.Start > at || r.Window.End <= at || r.Window.End-r.Window.Start != size || r.Window.Start%hop != 0 || string(r.Value) != "1" {
				w.t.Errorf("key %d: %+v", i, r)
			}
			var one RowAnswer
			path := fmt.Sprintf("/v1/stores/windows/row?key=%s&window_start=%d", keyOf(i), r.Window.Start)
			if status := in.get(path, &one); status != http.StatusOK || *one.Row.Window != *r.Window {
				w.t.Errorf("%s: status %d: %+v", path, status, one)
			}
		}
	}
	newest := timeOf(keys - 1)
	var out Answer
	in.get(fmt.Sprintf("/v1/stores/windows/rows?limit=1000&window_at=%d", newest), &out)
	for _, r := range out.Rows {
		if r.Window.Start > newest || r.Window.End <= newest {
			w.t.Errorf("at %d: %+v", newest, r)
		}
	}
	if len(out.Rows) == 0 {
		w.t.Errorf("no windows at %d", newest)
	}
}

// TestUncommittedIsNotShown asks while records come: what was processed and is not committed is in no answer. All records are of one
// key, so that what each store says of it tells how many records are in, which is what the answer says.
func TestUncommittedIsNotShown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.run()
		w.put("k", 1, 1000)
		w.until("the first to be there", func() bool { n, _ := a.count("k"); return n == 1 })
		const records, asks = 40, 120
		last, steps := int64(0), 0
		for i := range int64(asks) {
			if i+2 <= records {
				w.put("k", i+2, 1000+i) // the values are 1, 2, ... in the order of its partition
			}
			for _, path := range []string{"counts/rows?key=k", "last/rows?key=k", "fresh/rows?key=k", "sessions/rows?key=k", "windows/rows?key=k&window_at=1000&limit=1", "sliding/rows?key=k&limit=1"} {
				var out Answer
				if status := a.get("/v1/stores/"+path, &out); status != http.StatusOK || len(out.Rows) != 1 {
					t.Fatalf("%s: status %d, %+v", path, status, out)
				}
				p := out.Partitions[0]
				committed, err := w.client.Committed(t.Context(), application)
				if err != nil {
					t.Fatal(err)
				}
				at := p.Sources[input]
				if most := committed[input][p.Partition].Offset; at > most {
					t.Errorf("%s: as of offset %d of the source, and %d is committed", path, at, most)
				}
				if at < last {
					t.Errorf("%s: offset %d after %d", path, at, last)
				}
				if n := string(out.Rows[0].Value); n != strconv.FormatInt(at, 10) && !strings.HasPrefix(path, "sliding") {
					t.Errorf("%s: as of %d records, and of %s", path, at, n)
				}
				if at > last {
					last, steps = at, steps+1
				}
			}
			time.Sleep(7 * time.Millisecond)
		}
		if last != records || steps < 5 {
			t.Errorf("%d records were seen in %d steps", last, steps)
		}
	})
}

// TestRefusals asks what cannot be answered.
func TestRefusals(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.run()
		w.put("k", 1, 1000)
		w.until("the row to be there", func() bool { n, _ := a.count("k"); return n == 1 })
		for path, want := range map[string]int{
			"/v1/stores":                                                    http.StatusOK,
			"/v1/stores?x=1":                                                http.StatusBadRequest,
			"/v1/stores/last/rows?from=b&to=a":                              http.StatusBadRequest,
			"/v1/stores/last/rows?from=a&to=a":                              http.StatusOK,
			"/v1/stores/last/rows?after=":                                   http.StatusBadRequest,
			"/v1/stores/last/rows?after=gICAgAg":                            http.StatusBadRequest, // partition 1<<31
			"/v1/stores/last/rows?after=gICAgIA":                            http.StatusBadRequest, // which breaks off
			"/v1/stores/last/rows?after=" + strings.Repeat("A", 2*maxKey):   http.StatusBadRequest,
			"/v1/stores/last/rows?after=AP__":                               http.StatusOK, // past all rows
			"/v1/stores/windows/rows?key=k&after=AA":                        http.StatusOK, // before all rows
			"/v1/stores/sessions/rows?key=k&after=AP__":                     http.StatusOK,
			"/v1/stores/last/row?key=%ff%fe":                                http.StatusNotFound,
			"/v1/stores/last/row?key=%zz":                                   http.StatusBadRequest,
			"/v1/stores/%2e%2e/row?key=k":                                   http.StatusNotFound,
			"/v1/stores/last%2Frow/row?key=k":                               http.StatusNotFound,
			"/v1/stores/windows/rows?window_start_from=2&window_start_to=1": http.StatusBadRequest,
			"/v1/stores/windows/rows?window_start_from=9223372036854775808": http.StatusBadRequest,
			"/v1/stores/windows/rows?window_at=-9223372036854775809":        http.StatusBadRequest,
			"/v1/stores/windows/rows?window_at=0000-01-01T00:00:00Z":        http.StatusOK,
			"/v1/stores/windows/rows?window_start_from=-9223372036854775808&window_start_to=9223372036854775807":        http.StatusOK,
			"/v1/stores/windows/rows?window_start_from=9223372036854775807":                                             http.StatusOK,
			"/v1/stores/windows/rows?window_start_to=-9223372036854775808":                                              http.StatusOK,
			"/v1/stores/windows/rows?window_at=9223372036854775807":                                                     http.StatusOK,
			"/v1/stores/windows/rows?window_at=-9223372036854775808":                                                    http.StatusOK,
			"/v1/stores/windows/rows?window_start_from=-1&window_start_to=1&window_at=-1":                               http.StatusOK,
			"/v1/stores/windows/rows?key=k&window_start_from=-9223372036854775808&window_start_to=9223372036854775807":  http.StatusOK,
			"/v1/stores/windows/rows?key=k&window_start_from=9223372036854775807":                                       http.StatusOK,
			"/v1/stores/windows/rows?key=k&window_start_to=-9223372036854775808":                                        http.StatusOK,
			"/v1/stores/windows/rows?key=k&window_at=9223372036854775807":                                               http.StatusOK,
			"/v1/stores/windows/rows?key=k&window_at=-9223372036854775808":                                              http.StatusOK,
			"/v1/stores/windows/rows?key=k&window_start_from=-1&window_start_to=1&window_at=-1":                         http.StatusOK,
			"/v1/stores/sliding/rows?window_start_from=-9223372036854775808&window_start_to=9223372036854775807":        http.StatusOK,
			"/v1/stores/sliding/rows?window_start_from=9223372036854775807":                                             http.StatusOK,
			"/v1/stores/sliding/rows?window_start_to=-9223372036854775808":                                              http.StatusOK,
			"/v1/stores/sliding/rows?window_at=9223372036854775807":                                                     http.StatusOK,
			"/v1/stores/sliding/rows?window_at=-9223372036854775808":                                                    http.StatusOK,
			"/v1/stores/sliding/rows?window_start_from=-1&window_start_to=1&window_at=-1":                               http.StatusOK,
			"/v1/stores/sliding/rows?key=k&window_start_from=-9223372036854775808&window_start_to=9223372036854775807":  http.StatusOK,
			"/v1/stores/sliding/rows?key=k&window_start_from=9223372036854775807":                                       http.StatusOK,
			"/v1/stores/sliding/rows?key=k&window_start_to=-9223372036854775808":                                        http.StatusOK,
			"/v1/stores/sliding/rows?key=k&window_at=9223372036854775807":                                               http.StatusOK,
			"/v1/stores/sliding/rows?key=k&window_at=-9223372036854775808":                                              http.StatusOK,
			"/v1/stores/sliding/rows?key=k&window_start_from=-1&window_start_to=1&window_at=-1":                         http.StatusOK,
			"/v1/stores/sessions/rows?window_start_from=-9223372036854775808&window_start_to=9223372036854775807":       http.StatusOK,
			"/v1/stores/sessions/rows?window_start_from=9223372036854775807":                                            http.StatusOK,
			"/v1/stores/sessions/rows?window_start_to=-9223372036854775808":                                             http.StatusOK,
			"/v1/stores/sessions/rows?window_at=9223372036854775807":                                                    http.StatusOK,
			"/v1/stores/sessions/rows?window_at=-9223372036854775808":                                                   http.StatusOK,
			"/v1/stores/sessions/rows?window_start_from=-1&window_start_to=1&window_at=-1":                              http.StatusOK,
			"/v1/stores/sessions/rows?key=k&window_start_from=-9223372036854775808&window_start_to=9223372036854775807": http.StatusOK,
			"/v1/stores/sessions/rows?key=k&window_start_from=9223372036854775807":                                      http.StatusOK,
			"/v1/stores/sessions/rows?key=k&window_start_to=-9223372036854775808":                                       http.StatusOK,
			"/v1/stores/sessions/rows?key=k&window_at=9223372036854775807":                                              http.StatusOK,
			"/v1/stores/sessions/rows?key=k&window_at=-9223372036854775808":                                             http.StatusOK,
			"/v1/stores/sessions/rows?key=k&window_start_from=-1&window_start_to=1&window_at=-1":                        http.StatusOK,
			"/v1/stores/none":                                          http.StatusNotFound,
			"/v1/stores/none/rows":                                     http.StatusNotFound,
			"/v1/stores/last/row":                                      http.StatusBadRequest,
			"/v1/stores/last/row?key=absent":                           http.StatusNotFound,
			"/v1/stores/last/row?key=k&key=l":                          http.StatusBadRequest,
			"/v1/stores/last/row?key=k&window_start=1":                 http.StatusBadRequest,
			"/v1/stores/last/row?key=" + strings.Repeat("k", maxKey+1): http.StatusBadRequest,
			"/v1/stores/windows/row?key=k":                             http.StatusBadRequest,
			"/v1/stores/windows/row?key=k&window_start=x":              http.StatusBadRequest,
			"/v1/stores/last/rows?limit=0":                             http.StatusBadRequest,
			"/v1/stores/last/rows?limit=1001":                          http.StatusBadRequest,
			"/v1/stores/last/rows?after=!":                             http.StatusBadRequest,
			"/v1/stores/last/rows?partition=4":                         http.StatusBadRequest,
			"/v1/stores/last/rows?partition=-1":                        http.StatusBadRequest,
			"/v1/stores/last/rows?window_at=1":                         http.StatusBadRequest,
			"/v1/stores/last/rows?partial=perhaps":                     http.StatusBadRequest,
			"/v1/stores/last/rows?key=k&from=a":                        http.StatusBadRequest,
			"/v1/stores/last/rows?key_base64=!":                        http.StatusBadRequest,
			"/v1/stores/last/rows?partition=0,3&limit=1":               http.StatusOK,
			"/v1/stores/windows/rows?window_at=1970-01-01T00:00:01Z":   http.StatusOK,
			"/v1/stores/windows/rows?window_start_from=0&from=k&to=l":  http.StatusOK,
			"/v1/stores/last/rows?key_base64=" + url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("k"))): http.StatusOK,
		} {
			var f Fault
			if got := a.get(path, &f); got != want || (f.Error == "") != (want == http.StatusOK) {
				t.Errorf("%s: status %d, want %d: %s", path, got, want, f.Error)
			}
		}
		for path, want := range map[string]string{
			"/v1/stores?x=1":                                                `there is no parameter "x" here: there are none`,
			"/v1/stores/none/rows":                                          `there is no store "none": there are counts, fresh, last, sessions, sliding, windows`,
			"/v1/stores/last/rows?from=b&to=a":                              "from comes after to",
			"/v1/stores/last/rows?limit=1000000":                            "want a number from 1 to 1000",
			"/v1/stores/windows/rows?window_start_from=2&window_start_to=1": "window_start_from is after window_start_to",
			"/v1/stores/windows/rows?window_at=9223372036854775808":         "want milliseconds since 1970, or a time such as",
		} {
			var f Fault
			if a.get(path, &f); !strings.Contains(f.Error, want) {
				t.Errorf("%s: %s, want %s", path, f.Error, want)
			}
		}
		for i, key := range []string{"a/b?c&d=e#f %20+ü;", "\xff\xfe", "", "..", "\x00"} { // in the path of no request, and in each as they are
			w.put(key, int64(i), 2000)
			var row RowAnswer
			w.until(fmt.Sprintf("%q to be there", key), func() bool { return a.get("/v1/stores/last/row?key="+url.QueryEscape(key), &row) == http.StatusOK })
			if string(row.Row.Value) != strconv.Itoa(i) {
				t.Errorf("%q: %+v", key, row)
			}
			of := url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(key)))
			if status := a.get("/v1/stores/last/row?key_base64="+of, &row); status != http.StatusOK || string(row.Row.Value) != strconv.Itoa(i) {
				t.Errorf("%q by its bytes: status %d, %+v", key, status, row)
			}
		}
		var stores Stores
		a.get("/v1/stores", &stores)
		if len(stores.Stores) != 6 || stores.Stores[5].Kind != KindWindows || stores.Stores[5].Partitions != partitions {
			t.Errorf("stores: %+v", stores)
		}
	})
}

// TestRestoring asks an instance for rows while it restores them: an open transaction of another producer keeps its changelog from
// being read to the end.
func TestRestoring(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.run()
		w.put("k", 1, 1000)
		w.until("the row to be there", func() bool { n, _ := a.count("k"); return n == 1 })
		a.stop()

		other, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.Dialer(w.network.VirtualNetwork.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("another"))
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if err := other.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(partitions) {
			r := &kgo.Record{Topic: application + "-counts-changelog", Partition: p, Key: []byte("\x01x"), Value: make([]byte, 9)}
			if err := other.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		b := w.run()
		w.until("its tasks to wait for their state", func() bool { return b.engine.Stats().Restoring.Tasks == partitions })
		for _, path := range []string{"/v1/stores/counts/row?key=k", "/v1/stores/last/row?key=k", "/v1/stores/counts/rows", "/v1/stores/counts/rows?partial=true"} {
			answer := httptest.NewRecorder()
			b.api.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
			if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") != "1" || !strings.Contains(answer.Body.String(), engine.ErrRestoring.Error()) {
				t.Errorf("%s: status %d, %v: %s", path, answer.Code, answer.Header(), answer.Body)
			}
		}
		if got := b.places(); strings.Count(got, placeRestoring) != partitions {
			t.Errorf("the partitions are %s", got)
		}
		if err := other.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
		w.until("the row to be there again", func() bool { n, status := b.count("k"); return status == http.StatusOK && n == 1 })
	})
}

// TestMixedVersions has an instance in the group that tells no address, as that of a version before: it can ask the other one, which
// cannot ask it, and says so.
func TestMixedVersions(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const keys = 24
		before := w.run(func(o *setup) { o.Address = "" })
		for i := range keys {
			w.put(keyOf(i), int64(i), timeOf(i))
		}
		w.until("all to be counted", func() bool { return before.all(keys, 1) })
		a := w.run()
		w.split(before, a)
		if !before.all(keys, 1) {
			t.Error("the instance without an address does not answer every key")
		}
		found := 0
		for i := range keys {
			var f Fault
			switch status := a.get("/v1/stores/counts/row?key="+keyOf(i), &f); {
			case status == http.StatusOK:
				found++
			case status != http.StatusServiceUnavailable || !strings.Contains(f.Error, "does not say where it can be asked"):
				t.Errorf("%s: status %d: %s", keyOf(i), status, f.Error)
			}
		}
		if found == 0 || found == keys {
			t.Errorf("%d of %d keys are with the instance that has an address", found, keys)
		}
		var some Answer
		if status := a.get("/v1/stores/counts/rows?limit=1000&partial=true", &some); status != http.StatusOK || len(some.Rows) != found || len(some.Missing) != partitions/2 {
			t.Errorf("status %d: %d rows of %d, missing %+v", status, len(some.Rows), found, some.Missing)
		}
	})
}
