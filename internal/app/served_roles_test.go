package app_test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"millrace.dev/internal/app"
	"millrace.dev/internal/auth"
	"millrace.dev/internal/server"
	"millrace.dev/internal/testenv"
)

var updateDocs = flag.Bool("update", false, "write the table of routes into docs/serve_security.md") //nolint:gochecknoglobals // a flag of the test binary

// guarded is millrace serve with a token for each role.
type guarded struct {
	url    string
	routes []server.Route
	tokens map[auth.Role]string
	log    *lockedBuffer
}

// lockedBuffer can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serveGuarded has millrace serve answer those who have a token, until the test ends.
func serveGuarded(t *testing.T, set ...string) *guarded {
	t.Helper()
	f := newFlats(t, flatsFile)
	g := &guarded{tokens: map[auth.Role]string{}, log: &lockedBuffer{}}
	f.a.Log = slog.New(slog.NewJSONHandler(g.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var lines []string
	for _, r := range auth.Roles() {
		token, line, err := app.NewToken("the-"+string(r), []string{string(r)})
		if err != nil {
			t.Fatal(err)
		}
		g.tokens[r] = token.Reveal()
		lines = append(lines, line)
	}
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	started, ended := make(chan *app.Serving, 1), make(chan error, 1)
	go func() {
		_, err := f.a.Serve(ctx, app.ServeOptions{
			Files: []string{f.file}, Set: append(set, "serve.auth.tokens_file="+path), HTTP: "127.0.0.1:0", Threads: 2, Started: func(s *app.Serving) { started <- s },
		})
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case s := <-started:
		g.url, g.routes = "http://"+s.Address, s.Routes
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return g
}

// variable is a variable of a pattern.
var variable = regexp.MustCompile(`\{[^}]*\}`)

// refusedRole is what the server says to who lacks a role. A handler may refuse what it does for nobody, in other words.
const refusedRole = "needs the role"

// call sends a request to a route, and returns its status, which is 403 for a role that is missing alone; of gRPC, what the status
// would be in HTTP.
func (g *guarded) call(t *testing.T, client *http.Client, route *server.Route, authorization string) int {
	t.Helper()
	path := variable.ReplaceAllStringFunc(route.Pattern, func(v string) string {
		if v == "{$}" {
			return ""
		}
		return cmp.Or(map[string]string{"{model}": "flats", "{version}": "1"}[v], "x")
	})
	r, err := http.NewRequestWithContext(t.Context(), route.Method, g.url+path, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if route.MaxBody < 0 || route.Method == http.MethodGet {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.Header.Set("Content-Type", "application/json")
	grpc := isProcedure(route)
	if grpc {
		r.Header.Set("Content-Type", "application/grpc+proto")
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	a, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", route.Method, route.Pattern, err)
	}
	defer a.Body.Close() //nolint:errcheck // nothing was written
	body, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", route.Method, route.Pattern, err)
	}
	if a.StatusCode == http.StatusForbidden && route.Method != http.MethodHead && !strings.Contains(string(body), refusedRole) {
		return http.StatusOK
	}
	if grpc {
		switch code := cmp.Or(a.Header.Get("Grpc-Status"), a.Trailer.Get("Grpc-Status")); code {
		case "16":
			return http.StatusUnauthorized
		case "7":
			return http.StatusForbidden
		case "":
			t.Errorf("%s: an answer that is none of gRPC: %d %v", route.Pattern, a.StatusCode, a.Header)
		}
	}
	return a.StatusCode
}

// isProcedure tells whether a route is a procedure of gRPC.
func isProcedure(route *server.Route) bool {
	return regexp.MustCompile(`^/[a-z.]*\.?[A-Z][A-Za-z]*/[A-Z][A-Za-z]*$`).MatchString(route.Pattern)
}

// TestRoles calls every route of millrace serve as everybody: without a token, with one that is not known, and with one of each role.
// What is to come of that follows from the role of the route alone.
func TestRoles(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	cells := 0
	for i := range g.routes {
		route := &g.routes[i]
		name := route.Method + " " + route.Pattern
		want := func(who, authorization string, allowed bool, refused int) {
			t.Helper()
			cells++
			got := g.call(t, client, route, authorization)
			if !allowed && got != refused || allowed && (got == http.StatusUnauthorized || got == http.StatusForbidden || got == http.StatusTooManyRequests) {
				t.Errorf("%s, which needs %q, as %s: status %d", name, route.Role, who, got)
			}
		}
		open := route.Role == auth.Anyone
		if open && !route.Light {
			t.Errorf("%s is open to anyone, and no light route", name)
		}
		want("nobody", "", open, http.StatusUnauthorized)
		want("a token that is not known", "Bearer millrace_wrong", open, http.StatusUnauthorized)
		want("a password", "Basic YWRhOmFkYQ==", open, http.StatusUnauthorized)
		for _, role := range auth.Roles() {
			want(string(role), "Bearer "+g.tokens[role], open || role == route.Role, http.StatusForbidden)
		}
	}
	t.Logf("%d routes, %d cells", len(g.routes), cells)
	if cells < 7*8 {
		t.Errorf("%d cells: the router is not that of millrace serve", cells)
	}
	for role, token := range g.tokens {
		if strings.Contains(g.log.String(), token) {
			t.Errorf("the log has the token of %s", role)
		}
	}
}

// TestRoutesDoc holds the table of docs/serve_security.md to the routes.
func TestRoutesDoc(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t)
	var table strings.Builder
	table.WriteString("| route | role | what it does |\n|---|---|---|\n")
	slices.SortStableFunc(g.routes, func(a, b server.Route) int {
		return slices.Index(auth.Roles(), a.Role) - slices.Index(auth.Roles(), b.Role)
	})
	for _, r := range g.routes {
		fmt.Fprintf(&table, "| `%s %s` | %s | %s |\n", r.Method, r.Pattern, cmp.Or(string(r.Role), "anyone"), r.Summary)
	}
	testenv.Documented(t, "docs/serve_security.md", "<!-- routes: go test ./internal/app -run TestRoutesDoc -update -->", "<!-- end of routes -->", table.String(), *updateDocs)
}
