package query

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"millrace.dev/internal/auth"
	"millrace.dev/internal/server"
)

// byHeader takes the roles from a header.
type byHeader struct{}

func (byHeader) Authenticate(r *http.Request) (*auth.Principal, error) {
	if role := r.Header.Get("Role"); role != "" {
		return &auth.Principal{Name: "x", Roles: []auth.Role{auth.Role(role)}}, nil
	}
	return &auth.Principal{}, nil
}

// TestRoles calls every route as everybody, behind the server of millrace run: the role reader, and no other, is let in.
func TestRoles(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		in := w.run()
		w.until("the instance to be ready", func() bool { return in.places() != "" })
		router := server.NewRouter()
		if err := router.Add(in.api.Routes()...); err != nil {
			t.Fatal(err)
		}
		s, err := server.New(router, server.Options{Auth: byHeader{}})
		if err != nil {
			t.Fatal(err)
		}
		for _, route := range router.Routes() {
			path := strings.ReplaceAll(route.Pattern, "{store}", "counts")
			for _, role := range append(auth.Roles(), "") {
				for _, method := range []string{http.MethodGet, http.MethodPost} {
					r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
					r.Header.Set("Role", string(role))
					rec := httptest.NewRecorder()
					s.ServeHTTP(rec, r)
					in := role == auth.Reader
					switch got := rec.Code; {
					case method == http.MethodPost && got != http.StatusMethodNotAllowed:
						t.Errorf("POST %s as %q: status %d", path, role, got)
					case method == http.MethodGet && role == "" && got != http.StatusUnauthorized:
						t.Errorf("%s as nobody: status %d", path, got)
					case method == http.MethodGet && role != "" && !in && got != http.StatusForbidden:
						t.Errorf("%s as %s: status %d", path, role, got)
					case method == http.MethodGet && in && (got == http.StatusForbidden || got == http.StatusUnauthorized):
						t.Errorf("%s as %s: status %d", path, role, got)
					}
				}
			}
		}
	})
}
