package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
)

// TestUnpackers wants compressed requests to wait for a place, others to pass, and one whose time has come to be refused.
func TestUnpackers(t *testing.T) {
	t.Parallel()
	u := make(unpackers, 2)
	var inside, most atomic.Int64
	entered, leave := make(chan struct{}), make(chan struct{})
	h := u.wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Plain") != "" {
			return
		}
		for n := inside.Add(1); ; {
			old := most.Load()
			if n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		entered <- struct{}{}
		<-leave
		inside.Add(-1)
	}))
	send := func(ctx context.Context, headers ...string) int {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	var all sync.WaitGroup
	for i := range 5 {
		all.Go(func() {
			if code := send(t.Context(), []string{"Content-Encoding", "Grpc-Encoding"}[i%2], "gzip"); code != http.StatusOK {
				t.Errorf("status %d", code)
			}
		})
	}
	<-entered
	<-entered
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if code := send(gone, "Content-Encoding", "gzip"); code != http.StatusServiceUnavailable {
		t.Errorf("one that cannot wait: status %d", code)
	}
	for _, encoding := range []string{"", "identity"} {
		if code := send(t.Context(), "Content-Encoding", encoding, "Plain", "yes"); code != http.StatusOK {
			t.Errorf("one that is not compressed: status %d", code)
		}
	}
	go func() {
		for range 3 {
			<-entered
		}
	}()
	for range 5 {
		leave <- struct{}{}
	}
	all.Wait()
	if most.Load() != 2 {
		t.Errorf("%d at a time", most.Load())
	}
}
