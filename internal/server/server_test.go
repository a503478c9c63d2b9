package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"millrace.dev/internal/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tokens is an authenticator of tests: tokens to principals.
type tokens map[string]*auth.Principal

var errUnknown = errors.New("the bearer token is not known")

func (t tokens) Authenticate(r *http.Request) (*auth.Principal, error) {
	text := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch p := t[text]; {
	case text == "":
		return &auth.Principal{}, nil
	case text == "later":
		return nil, auth.ErrUnavailable
	case p != nil:
		return p, nil
	default:
		return nil, errUnknown
	}
}

func known() tokens {
	return tokens{
		"ada": {Name: "ada", Roles: []auth.Role{auth.Scorer}},
		"bob": {Name: "bob", Roles: []auth.Role{auth.Viewer, auth.Operator}},
	}
}

// handlers are what the routes of tests do.
type handlers struct {
	begun   chan struct{} // an element for each request of /wait that has begun
	release chan struct{} // closed: requests of /wait end
}

func (h *handlers) routes() []Route {
	return []Route{
		{Method: http.MethodGet, Pattern: "/livez", Summary: "Health", Light: true, MaxBody: -1, Handler: text("alive")},
		{Method: http.MethodPost, Pattern: "/echo", Role: auth.Scorer, Summary: "Echo", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(Body(r))
		})},
		{Method: http.MethodPost, Pattern: "/small", Role: auth.Scorer, Summary: "Echo, small", MaxBody: 4, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
		})},
		{Method: http.MethodGet, Pattern: "/models/{model}", Role: auth.Viewer, Summary: "A model", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.PathValue("model")+" for "+auth.From(r.Context()).Name+" by "+r.Proto)
		})},
		{Method: http.MethodPost, Pattern: "/other", Role: auth.Scorer, Summary: "Errors of another form", Handler: text(""), Error: func(w http.ResponseWriter, _ *http.Request, status int, message string) {
			http.Error(w, "other: "+message, status)
		}},
		{Method: http.MethodDelete, Pattern: "/models/{model}", Role: auth.Operator, Summary: "No model", Handler: text("gone")},
		{Method: http.MethodGet, Pattern: "/panic", Role: auth.Viewer, Summary: "Panic", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			panic("a broken invariant")
		})},
		{Method: http.MethodGet, Pattern: "/half", Role: auth.Viewer, Summary: "Half an answer, and panic", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic("a broken invariant")
		})},
		{Method: http.MethodPost, Pattern: "/wait", Role: auth.Scorer, Summary: "Wait", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.begun <- struct{}{}
			select {
			case <-h.release:
				_, _ = io.WriteString(w, "done")
			case <-r.Context().Done():
				Error(w, r, http.StatusGatewayTimeout, "too late")
			}
		})},
	}
}

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) })
}

// log is a log that can be read while it is written.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running is a server that runs.
type running struct {
	*Server
	handlers
	url string
	log *log
}

// start starts a server, which change prepares before.
func start(t *testing.T, o Options, change ...func(*Server)) *running {
	t.Helper()
	r := &running{log: &log{}, handlers: handlers{begun: make(chan struct{}, 100), release: make(chan struct{})}}
	router := NewRouter()
	if err := router.Add(r.routes()...); err != nil {
		t.Fatal(err)
	}
	o.Log = slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := New(router, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(s)
	}
	r.Server = s
	r.url = serve(t, s)
	return r
}

// serve has a server listen until the test ends.
func serve(t *testing.T, s *Server) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.WithoutCancel(t.Context()), l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	scheme := "http://"
	if s.certs != nil {
		scheme = "https://"
	}
	return scheme + l.Addr().String()
}

// client returns a client of one protocol.
func clientOf(t *testing.T, set func(*http.Protocols)) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	set(protocols)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func http1(p *http.Protocols) { p.SetHTTP1(true) }
func h2c(p *http.Protocols)   { p.SetUnencryptedHTTP2(true) }

// request describes a request.
type request struct {
	method, path, token, body string
	chunked                   bool
	header                    map[string]string
}

func (q *request) make(t *testing.T, url string) *http.Request {
	t.Helper()
	var body io.Reader = strings.NewReader(q.body)
	if q.chunked {
		body = io.MultiReader(body) // whose length is not known
	}
	r, err := http.NewRequestWithContext(t.Context(), q.method, url+q.path, body)
	if err != nil {
		t.Fatal(err)
	}
	if q.token != "" {
		r.Header.Set("Authorization", "Bearer "+q.token)
	}
	for k, v := range q.header {
		r.Header.Set(k, v)
	}
	return r
}

// answered is what came back.
type answered struct {
	status int
	header http.Header
	body   string
}

func do(t *testing.T, c *http.Client, r *http.Request) answered {
	t.Helper()
	a, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer a.Body.Close() //nolint:errcheck // nothing was written
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	return answered{status: a.StatusCode, header: a.Header, body: string(b)}
}

// TestAnswers sends requests of all kinds by both protocols that need no certificates: they are answered in the same way.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const json = "application/json"
	for name, c := range map[string]struct {
		request
		status int
		body   string // of an answer that is no error
		error  string // of one that is: a part of it
		want   map[string]string
		grpc   string // its status where the request is one of gRPC
	}{
		"light":           {request: request{method: "GET", path: "/livez"}, status: 200, body: "alive", want: map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}},
		"light, token":    {request: request{method: "GET", path: "/livez", token: "wrong"}, status: 200, body: "alive"},
		"head":            {request: request{method: "HEAD", path: "/livez"}, status: 200},
		"body":            {request: request{method: "POST", path: "/echo", token: "ada", body: "0123456789"}, status: 200, body: "0123456789"},
		"chunked":         {request: request{method: "POST", path: "/echo", token: "ada", body: "0123456789", chunked: true}, status: 200, body: "0123456789"},
		"all of it":       {request: request{method: "POST", path: "/small", token: "ada", body: "0123", chunked: true}, status: 200, body: "0123"},
		"variable":        {request: request{method: "GET", path: "/models/a%2Fb?x=1", token: "bob"}, status: 200, body: "a/b for bob by "},
		"id":              {request: request{method: "GET", path: "/livez", header: map[string]string{"X-Request-Id": "mine-1"}}, status: 200, body: "alive", want: map[string]string{"X-Request-Id": "mine-1"}},
		"no path":         {request: request{method: "GET", path: "/model"}, status: 404, error: "no such path", grpc: "12"},
		"path not clean":  {request: request{method: "GET", path: "/models/../livez"}, status: 404, error: "no such path", grpc: "12"},
		"no method":       {request: request{method: "PUT", path: "/models/a", token: "bob"}, status: 405, error: "DELETE, GET, HEAD", want: map[string]string{"Allow": "DELETE, GET, HEAD"}, grpc: "12"},
		"odd method":      {request: request{method: "BREW", path: "/models/a"}, status: 405, error: "does not have this method", grpc: "12"},
		"nobody":          {request: request{method: "POST", path: "/echo", body: "x"}, status: 401, error: "needs a bearer token", want: map[string]string{"WWW-Authenticate": `Bearer realm="millrace"`}, grpc: "16"},
		"wrong token":     {request: request{method: "POST", path: "/echo", token: "eve", body: "x"}, status: 401, error: "is not known", want: map[string]string{"WWW-Authenticate": `Bearer realm="millrace", error="invalid_token"`}, grpc: "16"},
		"another role":    {request: request{method: "POST", path: "/echo", token: "bob", body: "x"}, status: 403, error: "needs the role scorer", grpc: "7"},
		"who is not told": {request: request{method: "POST", path: "/echo", token: "later", body: "x"}, status: 503, error: "cannot be told now", want: map[string]string{"Retry-After": "1"}, grpc: "14"},
		"too large":       {request: request{method: "POST", path: "/echo", token: "ada", body: strings.Repeat("x", 65)}, status: 413, error: "more than 64 bytes", grpc: "8"},
		"chunks too large": {
			request: request{method: "POST", path: "/echo", token: "ada", body: strings.Repeat("x", 65), chunked: true}, status: 413, error: "more than 64 bytes", grpc: "8",
		},
		"its own limit": {request: request{method: "POST", path: "/small", token: "ada", body: "01234", chunked: true}, status: 413, error: "more than 4 bytes", grpc: "8"},
		"no body":       {request: request{method: "GET", path: "/livez", body: "x"}, status: 413, error: "send it without one", grpc: "8"},
		"panic":         {request: request{method: "GET", path: "/panic", token: "bob"}, status: 500, error: "the server failed", grpc: "13"},
		"another site": {
			request: request{method: "POST", path: "/echo", token: "ada", body: "x", header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, status: 403, error: "another origin", grpc: "7",
		},
		"another origin": {
			request: request{method: "POST", path: "/echo", token: "ada", body: "x", header: map[string]string{"Origin": "https://evil.example"}}, status: 403, error: "another origin", grpc: "7",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for protocol, set := range map[string]func(*http.Protocols){"HTTP/1.1": http1, "HTTP/2.0": h2c} {
				s := start(t, Options{Auth: known(), Limits: Limits{Body: 64}})
				client := clientOf(t, set)
				got := do(t, client, c.make(t, s.url))
				body := c.body
				if strings.HasSuffix(body, " by ") {
					body += protocol
				}
				if got.status != c.status || c.error == "" && got.body != body {
					t.Errorf("%s: %d %q, want %d %q", protocol, got.status, got.body, c.status, body)
				}
				for k, want := range c.want {
					if got.header.Get(k) != want {
						t.Errorf("%s: header %s: %q, want %q", protocol, k, got.header.Get(k), want)
					}
				}
				if c.error == "" {
					continue
				}
				if got.header.Get("Content-Type") != json || !strings.Contains(errorOf(t, got.body), c.error) {
					t.Errorf("%s: %s %q, want an error with %q", protocol, got.header.Get("Content-Type"), got.body, c.error)
				}
				r := c.make(t, s.url)
				r.Header.Set("Content-Type", "application/grpc+proto")
				got = do(t, client, r)
				if got.status != 200 || got.header.Get("Content-Type") != "application/grpc" || got.header.Get("Grpc-Status") != c.grpc ||
					!strings.Contains(got.header.Get("Grpc-Message"), c.error) || got.body != "" {
					t.Errorf("%s, gRPC: %d %v %q, want status %s", protocol, got.status, got.header, got.body, c.grpc)
				}
			}
		})
	}
}

// errorOf returns the error of an answer, which has nothing else.
func errorOf(t *testing.T, body string) string {
	t.Helper()
	var m map[string]string
	if err := json.Unmarshal([]byte(body), &m); err != nil || len(m) != 1 {
		t.Errorf("%q is no error: %v", body, err)
	}
	return m["error"]
}

func TestBadRoutes(t *testing.T) {
	t.Parallel()
	good := Route{Method: "GET", Pattern: "/a/{b}", Summary: "A", Handler: text("")}
	for want, change := range map[string]func(*Route){
		"want a method":             func(r *Route) { r.Method = "BREW" },
		"want a method of HTTP":     func(r *Route) { r.Method = "" },
		"begins with /":             func(r *Route) { r.Pattern = "a" },
		"without a handler":         func(r *Route) { r.Handler = nil },
		"without a summary":         func(r *Route) { r.Summary = "" },
		"is there already":          func(*Route) {},
		"conflicts with pattern":    func(r *Route) { r.Pattern = "/a/{c}" },
		"bad wildcard":              func(r *Route) { r.Pattern = "/a/{b" },
		"route POST /x: without a ": func(r *Route) { r.Method, r.Pattern, r.Handler = "POST", "/x", nil },
	} {
		router := NewRouter()
		if err := router.Add(good); err != nil {
			t.Fatal(err)
		}
		bad := good
		change(&bad)
		if err := router.Add(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
		if n := len(router.Routes()); n != 1 {
			t.Errorf("%s: %d routes", want, n)
		}
	}
}

// TestOpen has a server without authentication: whoever reaches it may do everything, by a name of this machine alone.
func TestOpen(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	client := clientOf(t, http1)
	for host, want := range map[string]int{
		"":                         200,
		"localhost":                200,
		"localhost:8080":           200,
		"LOCALHOST.":               200,
		"models.localhost":         200,
		"127.0.0.2":                200,
		"[::1]:80":                 200,
		"evil.example":             421,
		"localhost.evil.example":   421,
		"192.168.1.1":              421,
		"127.0.0.1.evil.example:1": 421,
	} {
		r := (&request{method: "DELETE", path: "/models/a"}).make(t, s.url)
		r.Host = host
		if got := do(t, client, r); got.status != want {
			t.Errorf("host %q: status %d, want %d", host, got.status, want)
		}
	}
}

// TestAccessLog sees what a request leaves in the log, and what it does not.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	clock := time.Unix(0, 0)
	var seen []Observation
	o := Options{Auth: known(), Now: func() time.Time { clock = clock.Add(time.Millisecond); return clock }, Observe: func(_ context.Context, o Observation) { seen = append(seen, o) }}
	s := start(t, o)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/echo?password=hunter2", strings.NewReader(`{"secret":"hunter2"}`))
	r.RemoteAddr = "192.0.2.7:1234"
	r.Header.Set("Authorization", "Bearer ada")
	r.Header.Set("X-Request-Id", "req-7")
	r.Header.Set("Cookie", "hunter2")
	s.ServeHTTP(httptest.NewRecorder(), r)
	for _, target := range []string{"/hunter2", "/models/hunter2", "/panic?hunter2"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
		r.Header.Set("Authorization", "Bearer hunter2")
		r.Header.Set("X-Request-Id", "hunter2\n")
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
	if strings.Contains(s.log.String(), "hunter2") {
		t.Errorf("the log tells what clients sent: %s", s.log)
	}
	line, _, _ := strings.Cut(s.log.String(), "\n")
	var got map[string]any
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "INFO", "msg": "request", "request_id": "req-7", "method": "POST", "route": "/echo", "status": 200.0, "bytes": 20.0, "duration": 1e6,
		"principal": "ada", "remote": "192.0.2.7", "protocol": "HTTP/1.1",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	wantSeen := []Observation{
		{Method: "POST", Pattern: "/echo", Status: 200, Bytes: 20, Duration: time.Millisecond},
		{Method: "GET", Status: 404, Bytes: 34, Duration: time.Millisecond},
		{Method: "GET", Pattern: "/models/{model}", Status: 401, Bytes: 42, Duration: time.Millisecond},
		{Method: "GET", Pattern: "/panic", Status: 401, Bytes: 42, Duration: time.Millisecond},
	}
	if d := cmp.Diff(wantSeen, seen); d != "" {
		t.Error(d)
	}
}

// TestOtherErrors has a route whose clients expect errors of another form.
func TestOtherErrors(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Auth: known()})
	got := do(t, clientOf(t, http1), (&request{method: "POST", path: "/other", token: "later"}).make(t, s.url))
	if got.status != http.StatusServiceUnavailable || !strings.HasPrefix(got.body, "other: who sends the request cannot be told") || got.header.Get("Retry-After") != "1" {
		t.Errorf("%+v", got)
	}
}

// TestPanic has a handler panic in the midst of its answer: the client must not take what it got for the whole.
func TestPanic(t *testing.T) {
	t.Parallel()
	for _, set := range []func(*http.Protocols){http1, h2c} {
		s := start(t, Options{Auth: known()})
		a, err := clientOf(t, set).Do((&request{method: "GET", path: "/half", token: "bob"}).make(t, s.url))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(a.Body)
		_ = a.Body.Close()
		if err == nil {
			t.Errorf("%q came as if it were whole", b)
		}
		if !strings.Contains(s.log.String(), `"panic":"a broken invariant"`) {
			t.Errorf("the log does not say so: %s", s.log)
		}
	}
}
