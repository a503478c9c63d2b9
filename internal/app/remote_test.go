package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/app"
)

// scoringServer is a model as mlflow models serve has it: it predicts 1000 and the number of values that a row has, or null.
func scoringServer(t *testing.T, predict func(values []any) any) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var of struct {
			Split struct{ Data [][]any } `json:"dataframe_split"`
		}
		if err := json.NewDecoder(r.Body).Decode(&of); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var all []any
		for _, row := range of.Split.Data {
			all = append(all, predict(row))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"predictions": all}) // the client is told by what is missing
	}))
	t.Cleanup(s.Close)
	return s
}

// present counts the values of a row that are there.
func present(values []any) (n int) {
	for _, v := range values {
		if v != nil {
			n++
		}
	}
	return n
}

func remoteSet(url string, more ...string) []string {
	return append([]string{"model.serve.url=" + url, "model.serve.protocol=mlflow", "model.serve.model=flats-sklearn", "model.serve.timeout=10s"}, more...)
}

// TestForeignModel has a model of another system predict: its numbers stand in the records, and its name in the headers.
func TestForeignModel(t *testing.T) {
	t.Parallel()
	f := newFlats(t, flatsFile)
	s := scoringServer(t, func(values []any) any { return 1000 + present(values) })
	lines, headers, letters := f.stream(t, remoteSet(s.URL)...)
	seen := map[string]int{}
	for i, line := range lines {
		if (line == "") != (f.want[i] == "") {
			t.Errorf("record %d: got %q, and batch %q", i, line, f.want[i])
		}
		if line == "" {
			continue
		}
		_, p, ok := strings.Cut(line, `,"predicted":`)
		if !ok || !strings.HasPrefix(p, "10") {
			t.Errorf("record %d: %s", i, line)
		}
		seen[p]++
		if h := headers[i]; h["millrace.model"] != "flats-sklearn" || h["millrace.remote"] != s.URL || h["millrace.fallback"] != "" {
			t.Errorf("record %d has headers %v", i, h)
		}
	}
	if len(seen) < 3 || len(letters) == 0 {
		t.Errorf("predictions %v, letters %v: too few kinds for a test", seen, letters)
	}
}

// TestRemoteRefusesRows has a server predict nothing for some rows: they are dead letters, as where the model is in the process.
func TestRemoteRefusesRows(t *testing.T) {
	t.Parallel()
	f := newFlats(t, flatsFile)
	s := scoringServer(t, func(values []any) any {
		if present(values) < len(values) {
			return nil
		}
		return 1
	})
	lines, _, letters := f.stream(t, remoteSet(s.URL)...)
	n, want := 0, 0
	for i := range lines {
		if lines[i] != "" {
			n++
		}
		if f.want[i] != "" {
			want++
		}
	}
	if n == 0 || letters["not_finite"] == 0 || n+letters["not_finite"] != want {
		t.Errorf("%d records are predicted, of %d that could be; letters %v", n, want, letters)
	}
}

// failing answers golden rows, and nothing after them.
func failing(t *testing.T, status int) *httptest.Server {
	t.Helper()
	var calls atomic.Int64
	s := scoringServer(t, func([]any) any { return 1 })
	inner := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			inner.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(status)
	})
	return s
}

// TestRemoteFails has a server fail: records go the way that the pipeline file declares.
func TestRemoteFails(t *testing.T) {
	t.Parallel()
	f := newFlats(t, flatsFile)
	embedded, _, refused := f.stream(t)
	predicted := 0
	for _, line := range embedded {
		if line != "" {
			predicted++
		}
	}
	t.Run("dead letters", func(t *testing.T) {
		t.Parallel()
		s := failing(t, http.StatusServiceUnavailable)
		lines, _, letters := f.stream(t, remoteSet(s.URL, "model.serve.on_failure=dead_letter", "model.serve.retries=0")...)
		for i, line := range lines {
			if line != "" {
				t.Fatalf("record %d: %s", i, line)
			}
		}
		want := map[string]int{"remote_unavailable": predicted}
		for class, n := range refused {
			want[class] += n
		}
		if d := cmp.Diff(want, letters); d != "" {
			t.Error(d)
		}
	})
	t.Run("fallback", func(t *testing.T) {
		t.Parallel()
		s := failing(t, http.StatusServiceUnavailable)
		lines, headers, letters := f.stream(t, remoteSet(s.URL, "model.serve.fallback=@champion", "model.serve.retries=0")...)
		if d := cmp.Diff(embedded, lines); d != "" {
			t.Errorf("the fallback predicts something else than the model (-model +fallback):\n%s", d)
		}
		if d := cmp.Diff(refused, letters); d != "" {
			t.Error(d)
		}
		for i, h := range headers {
			if h != nil && (h["millrace.fallback"] != "remote_unavailable" || h["millrace.model"] != "flats@1" || h["millrace.remote"] != "") {
				t.Fatalf("record %d has headers %v", i, h)
			}
		}
	})
}

// TestWrongRemote has a server without the model, and one whose model is another: the run does not begin, and says why.
func TestWrongRemote(t *testing.T) {
	t.Parallel()
	f := newFlats(t, flatsFile)
	nowhere := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(nowhere.Close)
	other := newFlats(t, strings.ReplaceAll(flatsFile, "ntrees: 25", "ntrees: 3"))
	for _, c := range []struct{ name, url, protocol, want string }{
		{"no model", nowhere.URL, "mlflow", "404"},
		{"another bundle", other.serve(t), "predict", "another"},
	} {
		p := f.load(t, remoteSet(c.url, "model.serve.protocol="+c.protocol, "model.serve.timeout=200ms")...)
		m, err := f.a.LoadModel(t.Context(), p.Model, p.Name, "flats@1")
		if err != nil {
			t.Fatal(err)
		}
		p.Model.Serve.Model = "flats"
		_, done, err := f.a.Connected(t.Context(), p, m)
		done()
		code, hint := app.Explain(err)
		if err == nil || code == app.OK || !strings.Contains(fmt.Sprint(err, hint), c.want) {
			t.Errorf("%s: %v, hint %q, code %d", c.name, err, hint, code)
		}
	}
}
