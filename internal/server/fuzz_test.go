package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// FuzzServe has requests of any kind answered: each in a form that is one, and none by a panic.
func FuzzServe(f *testing.F) {
	h := handlers{begun: make(chan struct{}, 1), release: make(chan struct{})}
	close(h.release)
	router := NewRouter()
	for _, r := range h.routes() {
		if r.Pattern == "/panic" || r.Pattern == "/half" || r.Pattern == "/wait" || r.Pattern == "/other" {
			continue // what these do is tested elsewhere
		}
		if err := router.Add(r); err != nil {
			f.Fatal(err)
		}
	}
	s, err := New(router, Options{Auth: known(), Limits: Limits{Body: 64}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("POST", "/echo", "Bearer ada", "application/grpc", "10.1.1.1, 192.0.2.9", "id", "body")
	f.Add("GET", "/models/a%2fb", "Bearer bob", "", "::ffff:1.2.3.4%eth0,,", "\x00", "")
	f.Add("CONNECT", "//models/../livez?%zz", "Basic", "application/grpc-web+json", ",", strings.Repeat("a", 65), strings.Repeat("b", 65))
	f.Fuzz(func(t *testing.T, method, path, authorization, kind, forwarded, id, body string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || method == "" || strings.ContainsAny(method, " \r\n") {
			return // net/http answers such a line itself
		}
		r := (&http.Request{
			Method: method, URL: u, Host: "localhost", RemoteAddr: "192.0.2.1:80", ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1,
			Header: http.Header{"Authorization": {authorization}, "Content-Type": {kind}, "X-Forwarded-For": {forwarded}, "X-Request-Id": {id}},
			Body:   httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body)).Body,
		}).WithContext(t.Context())
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("X-Request-Id") == "" {
			t.Errorf("headers: %v", w.Header())
		}
		grpc := w.Header().Get("Grpc-Status") != ""
		switch {
		case w.Code == http.StatusOK && grpc != (w.Header().Get("Grpc-Message") != ""):
			t.Errorf("half an answer of gRPC: %v", w.Header())
		case w.Code >= http.StatusBadRequest:
			e := map[string]string{}
			if json.Unmarshal(w.Body.Bytes(), &e) != nil || e["error"] == "" || grpc {
				t.Errorf("status %d: %q is no error", w.Code, w.Body)
			}
		}
	})
}
