package query

import (
	"bytes"
	"math"
	"net/http/httptest"
	"strings"
	"testing"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/task"
)

// sources returns the stores of the tests' topology.
func sources(tb testing.TB) map[string]*source {
	tb.Helper()
	p, err := topology().Program()
	if err != nil {
		tb.Fatal(err)
	}
	all := map[string]*source{}
	for _, sub := range p.Subs {
		for i := range sub.Stores {
			all[sub.Stores[i].Name] = &source{spec: &sub.Stores[i], sub: sub.ID, partitions: partitions}
		}
	}
	return all
}

// FuzzParameters reads what asks for rows: what is taken is within its bounds, and where to go on is read as it is written.
func FuzzParameters(f *testing.F) {
	for _, s := range []string{
		"", "key=a", "key_base64=YQ%3D%3D", "from=a&to=b&limit=3", "window_at=1970-01-01T00:00:01Z", "window_start_from=-9223372036854775808&window_start_to=9223372036854775807",
		"partition=0,1,1&partial=true", "after=AGE", "key=%ff", "window_at=-9223372036854775808", "key=", "limit=1&limit=2", "partition=4294967296",
	} {
		f.Add(s)
	}
	all := sources(f)
	f.Fuzz(func(t *testing.T, raw string) {
		for name, s := range all {
			for _, parse := range []func(string, *source) (*ask, error){parseRow, parseRows} {
				q, err := parse(raw, s)
				if err != nil {
					continue
				}
				if q.limit < 1 || q.limit > MaxLimit || len(q.partitions) == 0 || len(q.partitions) > partitions || len(q.key) > maxKey {
					t.Errorf("%s: %q: %+v", name, raw, q)
				}
				for _, p := range q.partitions {
					if p < 0 || p >= partitions {
						t.Errorf("%s: %q: partition %d", name, raw, p)
					}
				}
				if q.after != nil {
					m, err := parseMark(q.after.String())
					if err != nil || m.compare(*q.after) != 0 {
						t.Errorf("%q: %+v is read as %+v: %v", raw, q.after, m, err)
					}
				}
			}
		}
	})
}

// FuzzPeer reads what another instance may answer: what is taken is of the partitions that it was asked for, and goes into an answer.
func FuzzPeer(f *testing.F) {
	f.Add(200, []byte(`{"store":"last","rows":[{"key":"a","value":1,"partition":1,"at":"AWE="}],"partitions":[{"partition":1,"end":"AWE="}],"missing":[{"partition":2,"reason":"moved"}]}`))
	f.Add(421, []byte(`{"error":"moved","missing":[{"partition":1},{"partition":2}]}`))
	f.Add(200, []byte(`{"store":"last","partitions":[{"partition":1,"end":""},{"partition":2}]}`))
	f.Add(503, []byte(`{"error":"later"}`))
	q := &ask{store: sources(f)["last"], limit: 2}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		w := httptest.NewRecorder()
		w.Code, w.Body = status, bytes.NewBuffer(body)
		res, err := decodePeer(w.Result(), q, []int32{1, 2})
		if err != nil {
			return
		}
		if len(res.parts)+len(res.missing) != 2 || len(res.rows) > 2*len(res.parts) || status != 200 && status != 421 {
			t.Errorf("status %d: %+v", status, res)
		}
		end := res.settle(q.limit)
		if len(res.rows) > q.limit {
			t.Errorf("%d rows", len(res.rows))
		}
		if end != nil {
			if m, err := parseMark(end.String()); len(end.at) <= maxKey && (err != nil || m.compare(*end) != 0) {
				t.Errorf("%+v is read as %+v: %v", end, m, err)
			}
		}
		for i := range res.rows {
			if p := res.rows[i].Partition; p != 1 && p != 2 {
				t.Errorf("a row of partition %d", p)
			}
		}
	})
}

// TestSettle gives no row beyond what every partition has looked at, and none twice.
func TestSettle(t *testing.T) {
	t.Parallel()
	row := func(at string, p int32) Row { return Row{At: []byte(at), Partition: p} }
	r := &result{
		rows:  []Row{row("d", 1), row("a", 0), row("b", 1), row("c", 0), row("b", 0)},
		parts: []Part{{Partition: 1, End: []byte("d")}, {Partition: 0, End: []byte("c")}},
	}
	end := r.settle(10)
	if len(r.rows) != 4 || end == nil || string(end.at) != "c" || end.partition != 0 {
		t.Errorf("got %v, %v", r.rows, end)
	}
	end = r.settle(2)
	if len(r.rows) != 2 || r.rows[1].Partition != 0 || string(end.at) != "b" || end.partition != 0 {
		t.Errorf("got %v, %v", r.rows, end)
	}
	r = &result{rows: []Row{row("a", 0)}, parts: []Part{{Partition: 0}}}
	if end := r.settle(1); end != nil {
		t.Errorf("goes on after all: %v", end)
	}
}

func TestSuccessor(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{"a": "b", "a\xff": "b", "": ""} {
		if got := successor([]byte(prefix)); string(got) != want {
			t.Errorf("%q: %q", prefix, got)
		}
	}
	if successor([]byte{math.MaxUint8}) != nil {
		t.Error("there is something after all")
	}
}

// TestBadPeer takes nothing from an instance that answers what it was not asked.
func TestBadPeer(t *testing.T) {
	t.Parallel()
	q := &ask{store: sources(t)["last"], limit: 1}
	const none = "it answers what it was not asked"
	for _, x := range []struct {
		status     int
		body, want string
	}{
		{200, `{"store":"last","rows":[],"partitions":[{"partition":1}]}`, ""},
		{200, `{"store":"last","rows":[{"partition":1}],"partitions":[{"partition":1}]}`, ""},
		{200, `{"store":"last","missing":[{"partition":1,"reason":"moved"}]}`, ""},
		{421, `{"error":"moved","missing":[{"partition":1,"reason":"moved"}]}`, ""},
		{421, `{"error":"this is an instance of another"}`, "status 421: this is an instance of another"},
		{200, `{"store":"last","rows":[],"partitions":[]}`, none},
		{200, `{"store":"last","rows":[],"partitions":[{"partition":2}]}`, none},
		{200, `{"store":"last","rows":[],"partitions":[{"partition":1},{"partition":1}]}`, none},
		{200, `{"store":"last","rows":[],"partitions":[{"partition":1},{"partition":2}]}`, none},
		{200, `{"store":"last","rows":[],"partitions":[{"partition":1}],"missing":[{"partition":1}]}`, none},
		{200, `{"store":"last","rows":[{"partition":1},{"partition":1}],"partitions":[{"partition":1}]}`, none},
		{200, `{"store":"last","rows":[{"partition":2}],"partitions":[{"partition":1}]}`, none},
		{200, `{"store":"last","rows":[{"partition":1}],"missing":[{"partition":1}]}`, none},
		{200, `{"store":"counts","rows":[],"partitions":[{"partition":1}]}`, none},
		{200, `{}`, none},
		{200, `null`, none},
		{200, `no JSON`, "status 200 what is no answer"},
		{200, ``, "status 200 what is no answer"},
		{503, `{"error":"it took too long"}`, "status 503: it took too long"},
		{401, `{"error":"who are you?"}`, "status 401: who are you?: it has to take what this instance takes"},
		{307, `{}`, "with status 307, where nobody follows"},
		{400, "Client sent an HTTP request to an HTTPS server.\n", "query.advertise has to begin with https://"},
		{200, strings.Repeat(" ", maxPeerBytes+1), "longer than 64 MiB"},
	} {
		w := httptest.NewRecorder()
		w.Code, w.Body = x.status, bytes.NewBufferString(x.body)
		_, err := decodePeer(w.Result(), q, []int32{1})
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%d %.100s: %v", x.status, x.body, err)
		}
	}
	for _, address := range []string{"", "x", "ftp://x", "http://", "http://u@x", "http://x?y", "javascript:x", "http://" + strings.Repeat("x", kafka.MaxAddress)} {
		if _, err := ParseAddress(address); err == nil {
			t.Errorf("%q is an address", address)
		}
	}
}

// TestPlaced agrees with producers on where keys are.
func TestPlaced(t *testing.T) {
	t.Parallel()
	q, err := parseRows("key=key-07", sources(t)["windows"])
	if err != nil || len(q.partitions) != 1 || q.partitions[0] != task.Place([]byte("key-07"), 0, partitions) {
		t.Errorf("got %+v, %v", q, err)
	}
	ofWindows := *sources(t)["counts"]
	spec := *ofWindows.spec
	lookup := *spec.Lookup
	lookup.PlacedBy = func(key []byte) []byte { return key[2:] }
	spec.Lookup, ofWindows.spec = &lookup, &spec
	q, err = parseRows("key=wxkey-07", &ofWindows)
	if err != nil || len(q.partitions) != 1 || q.partitions[0] != task.Place([]byte("key-07"), 0, partitions) {
		t.Errorf("got %+v, %v", q, err)
	}
}
