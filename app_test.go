package millrace_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev"
	"millrace.dev/stream"
)

// get asks a handler and returns the status and what it answers.
func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
	return w.Code, w.Body.String()
}

// TestAppAtWork runs an application whose store in memory takes nearly all of the memory for state: it works, says so, and the rows can
// be read.
func TestAppAtWork(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "pages"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	s := stream.New("pages")
	stream.ToTable(stream.From(s, "pages", stream.String(), stream.String()), "last", stream.InMemory())
	app, err := millrace.NewApp(s, millrace.Config{
		Brokers: cluster.ListenAddrs(), StateBytes: 16 << 20, CommitInterval: 20 * time.Millisecond,
		Query: millrace.Query{Enabled: true, Address: "http://127.0.0.1:8090"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx) }()

	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	page := strings.Repeat("x", 100_000)
	put := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			r := &kgo.Record{Topic: "pages", Key: fmt.Append(nil, i), Value: []byte(page)}
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if status, body := get(t, app.QueryHandler(), fmt.Sprintf("/v1/stores/last/row?key=%d", to-1)); status == http.StatusOK && strings.Contains(body, page) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%+v", app.Stats())
			}
		}
	}
	put(0, 10)
	if status, body := get(t, app.Handler(), "/readyz"); status != http.StatusOK || strings.Contains(body, "memory:") {
		t.Errorf("with 1 MB of 16 MiB: %d %s", status, body)
	}
	put(10, 160)
	status, body := get(t, app.Handler(), "/readyz")
	if want := "memory: of 16 MiB for state, stores in memory take 15 MiB, global tables 0 MiB and files 0 MiB"; status != http.StatusOK || !strings.Contains(body, want) {
		t.Errorf("with 16 MB of 16 MiB: %d %s, want %s", status, body, want)
	}
	_, body = get(t, app.Handler(), "/metrics")
	for _, want := range []string{
		"millrace_state_limit_bytes 1.6777216e+07", `millrace_state_bytes{kind="memory"} 1.6`, `millrace_state_bytes{kind="disk"} 0`,
		`millrace_state_bytes{kind="global"} 0`, `millrace_state_bytes{kind="rows"} `, `millrace_state_bytes{kind="uncommitted"} `,
		"millrace_state_peak_bytes ", "millrace_state_evicted_rows_total ",
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if n := app.Stats().StateBytes; n < 16_000_000 {
		t.Errorf("%d bytes of state", n)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
