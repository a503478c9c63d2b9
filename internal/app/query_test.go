package app

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/query"
	"millrace.dev/internal/testenv"
)

func asking() *App {
	return &App{Log: slog.New(slog.DiscardHandler), Env: func(string) (string, bool) { return "", false }}
}

// TestQueryPages puts pages together: a partition that one of them misses is missing of all, and each partition is as of the first commit
// that is told.
func TestQueryPages(t *testing.T) {
	t.Parallel()
	pages := map[string]string{
		"":  `{"rows":[{"key":1}],"next":"a","partitions":[{"partition":0,"task":"first"},{"partition":2,"task":"first"}],"missing":[{"partition":1,"reason":"moved"}]}`,
		"a": `{"rows":[],"next":"b","partitions":[{"partition":0,"task":"then"},{"partition":1,"task":"then"}],"missing":[{"partition":2,"reason":"silent"}]}`,
		"b": `{"rows":[{"key":2},{"key":3}],"partitions":[{"partition":0},{"partition":1},{"partition":2}]}`,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, pages[r.URL.Query().Get("after")]) // the test sees what is missing
	}))
	defer s.Close()
	got, err := asking().QueryRows(t.Context(), QueryOptions{Server: s.URL, Store: "last", Limit: 10, Partial: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 3 || string(got.Rows[2].Key) != "3" || got.Next != "" {
		t.Errorf("rows: %+v", got)
	}
	if diff := cmp.Diff([]query.Missing{{Partition: 1, Reason: "moved"}, {Partition: 2, Reason: "silent"}}, got.Missing); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]query.Part{{Partition: 0, Task: "first"}, {Partition: 1, Task: "then"}, {Partition: 2, Task: "first"}}, got.Partitions); diff != "" {
		t.Error(diff)
	}
}

// TestQueryConnection says what to do where an instance is not reached as it is named.
func TestQueryConnection(t *testing.T) {
	t.Parallel()
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"stores":[]}`) }) // the test sees what is missing
	dir, other, ours := t.TempDir(), t.TempDir(), testenv.NewAuthority(t)
	ca, strange := ours.File(t, dir), testenv.NewAuthority(t).File(t, other)
	secure := func(callers tls.ClientAuthType, hosts ...string) string {
		cert, key := ours.Issue(t, t.TempDir(), "x", hosts...)
		s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)} //nolint:gosec // of a test
		s.TLSConfig = &tls.Config{ClientAuth: callers, ClientCAs: ours.Pool(), MinVersion: tls.VersionTLS12}
		l := httptest.NewUnstartedServer(nil).Listener
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.ServeTLS(l, cert, key) // until it is closed
		}()
		t.Cleanup(func() {
			_ = s.Close() // of which nobody asks anything
			<-done
		})
		return l.Addr().String()
	}
	plain := httptest.NewServer(h)
	defer plain.Close()
	address, strict := secure(tls.NoClientCert), secure(tls.RequireAndVerifyClientCert)
	ask := func(server, ca string) error {
		_, err := asking().QueryStores(t.Context(), QueryOptions{Server: server, CAFile: ca})
		return err
	}
	if err := ask("https://"+address, ca); err != nil {
		t.Error(err)
	}
	for _, x := range []struct{ server, ca, want string }{
		{"https://" + address, strange, "--ca-file FILE"},
		{"https://" + secure(tls.NoClientCert, "elsewhere"), ca, "by a name that is in its certificate"},
		{"http://" + address, ca, "name it with https://"},
		{strings.Replace(plain.URL, "http:", "https:", 1), ca, "name it with --server http://"},
		{"http://127.0.0.1:1", ca, "is an instance running there"},
		{"https://" + strict, ca, "--cert-file FILE"},
	} {
		e, ok := errors.AsType[*Error](ask(x.server, x.ca))
		if !ok || !strings.Contains(e.Hint, x.want) {
			t.Errorf("%s: %+v, want a hint with %s", x.server, e, x.want)
		}
	}
	cert, key := ours.Issue(t, t.TempDir(), "caller")
	if _, err := asking().QueryStores(t.Context(), QueryOptions{Server: "https://" + strict, CAFile: ca, CertFile: cert, KeyFile: key}); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	_, err := asking().QueryStores(t.Context(), QueryOptions{Server: "https://" + strict, CAFile: ca, CertFile: cert})
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != Usage {
		t.Errorf("with a certificate without a key: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := asking().QueryStores(ctx, QueryOptions{Server: plain.URL}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
