package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/auth"
)

// dial opens a connection to a server, and sends text on it.
func dial(t *testing.T, s *running, text string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// ended waits until the server closes a connection, and returns what it said before.
func ended(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		t.Fatal(err)
	}
	return string(b)
}

func quick(s *Server) {
	s.http.ReadHeaderTimeout, s.pace.time = 20*time.Millisecond, 20*time.Millisecond
}

// TestSlowClients has clients that send a part of a header, of a body, or nothing: each is cut off, and none holds what a request
// needs that is sent as it should be.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	const half = "POST /echo HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ada\r\n"
	s := start(t, Options{Auth: known(), Limits: Limits{Concurrency: 1}}, quick)
	for name, c := range map[string]struct{ send, answer string }{
		"nothing":               {"", ""},
		"half a header":         {half, ""},
		"half a body":           {half + "Content-Length: 10\r\n\r\n01234", "HTTP/1.1 408 "},
		"no body":               {half + "Content-Length: 10\r\n\r\n", "HTTP/1.1 408 "},
		"half a chunk":          {half + "Transfer-Encoding: chunked\r\n\r\nA\r\n012", "HTTP/1.1 408 "},
		"half a body, refused":  {"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n01234", "HTTP/1.1 401 "},
		"huge body, refused":    {half + "Content-Length: 99999999999\r\n\r\n01234", "HTTP/1.1 413 "},
		"large header":          {half + "X: " + strings.Repeat("x", 64<<10), "HTTP/1.1 431 "},
		"half of another one":   {"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" + half, "HTTP/1.1 200 "},
		"expects and then none": {half + "Expect: 100-continue\r\nContent-Length: 10\r\n\r\n", "HTTP/1.1 100 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slow := dial(t, s, c.send)
			for { // another one may have the only place, for a moment
				got := do(t, clientOf(t, http1), (&request{method: "POST", path: "/echo", token: "ada", body: "fast"}).make(t, s.url))
				if got.status == http.StatusOK {
					break
				}
				if got.status != http.StatusServiceUnavailable {
					t.Fatalf("beside it: %d %s", got.status, got.body)
				}
			}
			if got := ended(t, slow); !strings.HasPrefix(got, c.answer) || c.answer == "" && got != "" && !strings.HasPrefix(got, "HTTP/1.1 408") {
				t.Errorf("%q, want %q", got, c.answer)
			}
		})
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if st := s.Stats(); st.BodyBytes != 0 || st.InFlight != 0 {
			t.Errorf("%+v is left", st)
		}
	})
}

// TestSlowStream has a body come slowly on a connection of HTTP/2, on which others go on.
func TestSlowStream(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Auth: known(), Limits: Limits{Concurrency: 1}}, quick)
	client := clientOf(t, h2c)
	body, send := io.Pipe()
	defer send.Close() //nolint:errcheck // nobody reads any more
	r := (&request{method: "POST", path: "/echo", token: "ada"}).make(t, s.url)
	r.Body, r.ContentLength = body, -1
	if got := do(t, client, r); got.status != http.StatusRequestTimeout {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := do(t, client, (&request{method: "POST", path: "/echo", token: "ada", body: "fast"}).make(t, s.url)); got.status != http.StatusOK {
		t.Errorf("beside it: %d %s", got.status, got.body)
	}
}

// TestConcurrency fills the places of a server: one more request is refused at once, and a light one is answered.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Auth: known(), Limits: Limits{Concurrency: 2}})
	client := clientOf(t, http1)
	answers := make(chan answered, 2)
	for range 2 {
		r := (&request{method: "POST", path: "/wait", token: "ada"}).make(t, s.url)
		go func() { answers <- do(t, client, r) }()
		<-s.begun
	}
	if st := s.Stats(); st.InFlight != 2 {
		t.Errorf("%+v", st)
	}
	for _, body := range []string{"", "x"} {
		got := do(t, client, (&request{method: "POST", path: "/echo", token: "ada", body: body}).make(t, s.url))
		if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") != "1" || errorOf(t, got.body) != "the server is busy: try again later" {
			t.Errorf("%d %v %s", got.status, got.header, got.body)
		}
	}
	if got := do(t, client, (&request{method: "GET", path: "/livez"}).make(t, s.url)); got.status != http.StatusOK {
		t.Errorf("health: %d", got.status)
	}
	close(s.release)
	for range 2 {
		if got := <-answers; got.status != http.StatusOK || got.body != "done" {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	for { // a place is free a moment after its answer came
		if got := do(t, client, (&request{method: "POST", path: "/echo", token: "ada", body: "x"}).make(t, s.url)); got.status == http.StatusOK {
			break
		}
	}
}

// TestBodiesHeld bounds the memory of all bodies together.
func TestBodiesHeld(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Auth: known(), Limits: Limits{Body: 1 << 20}})
	s.held.Add(bodiesHeld<<20 - 1000)
	client := clientOf(t, http1)
	for n, want := range map[int]int{900: http.StatusOK, 1100: http.StatusServiceUnavailable} {
		for _, chunked := range []bool{false, true} {
			got := do(t, client, (&request{method: "POST", path: "/echo", token: "ada", body: strings.Repeat("x", n), chunked: chunked}).make(t, s.url))
			if chunked && n == 900 {
				want = http.StatusServiceUnavailable // its memory grows by doubling, beyond what is left
			}
			if got.status != want {
				t.Errorf("%d bytes, chunked %t: %d, want %d", n, chunked, got.status, want)
			}
		}
	}
	if held := s.held.Load(); held != bodiesHeld<<20-1000 {
		t.Errorf("%d bytes are held", held)
	}
}

// TestTimeout ends a request that takes too long.
func TestTimeout(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Auth: known(), Limits: Limits{Timeout: time.Millisecond}})
	if got := do(t, clientOf(t, http1), (&request{method: "POST", path: "/wait", token: "ada", body: "x"}).make(t, s.url)); got.status != http.StatusGatewayTimeout {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// TestClientGone tells a handler that nobody waits for its answer.
func TestClientGone(t *testing.T) {
	t.Parallel()
	for _, set := range []func(*http.Protocols){http1, h2c} {
		s := start(t, Options{Auth: known(), Limits: Limits{Timeout: time.Hour}})
		r := (&request{method: "POST", path: "/wait", token: "ada", body: "x"}).make(t, s.url)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-s.begun; cancel() }()
		if _, err := clientOf(t, set).Do(r.WithContext(ctx)); !errors.Is(err, context.Canceled) { //nolint:bodyclose // there is none
			t.Error(err)
		}
		if err := s.Close(); err != nil { // which waits for the handler
			t.Error(err)
		}
		if !strings.Contains(s.log.String(), `"route":"/wait","status":504`) {
			t.Errorf("the handler was not told: %s", s.log)
		}
	}
}

// TestConnections opens more connections than there may be: those that say nothing give way, and one that is used does not.
func TestConnections(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Auth: known(), Limits: Limits{Connections: 4, ConnectionsPerClient: 4}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	used := dial(t, s, "")
	alive := func() {
		t.Helper()
		if _, err := io.WriteString(used, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		a, err := http.ReadResponse(bufio.NewReader(used), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close() //nolint:errcheck // nothing was written
		if _, err := io.Copy(io.Discard, a.Body); err != nil || a.StatusCode != http.StatusOK {
			t.Fatal(a.StatusCode, err)
		}
	}
	alive()
	var silent []net.Conn
	for range 5 {
		silent = append(silent, dial(t, s, "GET"))
	}
	alive()
	for _, c := range silent[:2] {
		if got := ended(t, c); got != "" {
			t.Errorf("%q", got)
		}
	}
	if st := s.Stats(); st.Connections != 4 || st.ConnectionsEvicted != 2 || st.ConnectionsRefused != 0 {
		t.Errorf("%+v", st)
	}
}

// TestConnectionsOfBodies has bodies that do not come on all connections that there may be: the oldest gives way to who sends a whole
// request, and one whose request is worked on does not.
func TestConnectionsOfBodies(t *testing.T) {
	t.Parallel()
	const half = "POST /echo HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ada\r\nContent-Length: 10\r\n\r\n01234"
	s := start(t, Options{Auth: known(), Limits: Limits{Connections: 3, ConnectionsPerClient: 3}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
		func(s *Server) { s.pace.time = time.Minute })
	busy := dial(t, s, strings.Replace(half, "/echo", "/wait", 1)+"56789")
	<-s.begun
	first := dial(t, s, half)
	for s.Stats().BodyBytes < 16 { // the busy one has 11 bytes
		runtime.Gosched()
	}
	dial(t, s, half)
	for s.Stats().BodyBytes < 27 {
		runtime.Gosched()
	}
	last := dial(t, s, "GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n")
	if got := ended(t, last); !strings.HasPrefix(got, "HTTP/1.0 200") {
		t.Errorf("a whole request: %q", got)
	}
	if got := ended(t, first); got != "" {
		t.Errorf("the first that waits: %q", got)
	}
	close(s.release)
	a, err := http.ReadResponse(bufio.NewReader(busy), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close() //nolint:errcheck // nothing was written
	if a.StatusCode != http.StatusOK {
		t.Error("the one that is worked on", a.StatusCode)
	}
	if st := s.Stats(); st.ConnectionsEvicted != 1 || st.ConnectionsRefused != 0 {
		t.Errorf("%+v", st)
	}
}

// TestConnectionsPerClient holds an address to its share.
func TestConnectionsPerClient(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Limits: Limits{Connections: 10, ConnectionsPerClient: 2}})
	first, second := dial(t, s, "GET"), dial(t, s, "GET")
	for range 3 {
		if got := ended(t, dial(t, s, "")); got != "" {
			t.Errorf("%q", got)
		}
	}
	other := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	c, err := other.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Skip("this system has no second address of loopback: ", err)
	}
	defer c.Close() //nolint:errcheck // nothing was written
	if _, err := io.WriteString(c, "GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if got := ended(t, c); !strings.HasPrefix(got, "HTTP/1.0 200") {
		t.Errorf("another address: %q", got)
	}
	if st := s.Stats(); st.ConnectionsRefused != 3 || st.ConnectionsEvicted != 0 {
		t.Errorf("%+v", st)
	}
	_, _ = first.Close(), second.Close()
}

// TestRate holds principals, and addresses without one, to their rate.
func TestRate(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	s := start(t, Options{Auth: known(), Limits: Limits{RatePerSecond: 0.5, Burst: 2}, Now: func() time.Time { return now }})
	ask := func(token, from string, want int, path string) {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader("x"))
		r.RemoteAddr = from
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%q from %s: status %d, want %d", token, from, w.Code, want)
		}
		if retry := w.Header().Get("Retry-After"); want == http.StatusTooManyRequests && retry != "2" {
			t.Errorf("retry after %q", retry)
		}
	}
	const at, near, far = "[2001:db8::1]:1", "[2001:db8::2:2]:1", "192.0.2.1:1"
	ask("ada", at, 200, "/echo")
	ask("ada", far, 200, "/echo")
	ask("ada", at, 429, "/echo")
	ask("eve", at, 401, "/echo")
	ask("eve", near, 401, "/echo") // the same network
	ask("eve", at, 429, "/echo")
	ask("eve", far, 401, "/echo")
	ask("", far, 401, "/echo")
	now = now.Add(2 * time.Second)
	ask("ada", at, 200, "/echo")
	ask("ada", at, 429, "/echo")
	for range 5 {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/livez", http.NoBody)
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Errorf("health: %d", w.Code)
		}
	}
}

// TestRatesForget bounds what is remembered of clients.
func TestRatesForget(t *testing.T) {
	t.Parallel()
	r, now := newRates(1, 1), time.Unix(0, 0)
	for i := range maxClients + 10 {
		if wait := r.take(strconv.Itoa(i), now); wait != 0 {
			t.Fatal(i, wait)
		}
		_ = r.take("busy", now)
	}
	if len(r.clients) != maxClients || r.order.Len() != maxClients {
		t.Errorf("%d and %d clients", len(r.clients), r.order.Len())
	}
	if r.take("busy", now) == 0 || r.take("1000", now) == 0 || r.take("0", now) != 0 {
		t.Error("not those who asked longest ago are forgotten")
	}
}

// TestClientOf finds the address of a client behind proxies.
func TestClientOf(t *testing.T) {
	t.Parallel()
	s, err := New(NewRouter(), Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from string
		by   []string
		want string
	}{
		{"192.0.2.1:80", nil, "192.0.2.1"},
		{"192.0.2.1:80", []string{"198.51.100.1"}, "192.0.2.1"}, // who is no proxy may write what they like
		{"10.1.1.1:80", nil, "10.1.1.1"},
		{"10.1.1.1:80", []string{"198.51.100.1"}, "198.51.100.1"},
		{"[::ffff:10.1.1.1]:80", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"10.1.1.1:80", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1"},
		{"10.1.1.1:80", []string{"203.0.113.9, 198.51.100.1", "10.2.2.2"}, "198.51.100.1"},
		{"10.1.1.1:80", []string{"10.3.3.3"}, "10.3.3.3"},
		{"10.1.1.1:80", []string{"203.0.113.9, nonsense"}, "10.1.1.1"},
		{"[::1]:80", []string{"2001:db8::1%eth0"}, "2001:db8::1"},
		{"@", []string{"198.51.100.1"}, "invalid IP"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		r.RemoteAddr = c.from
		r.Header["X-Forwarded-For"] = c.by
		if got := s.clientOf(r).String(); got != c.want {
			t.Errorf("%s %v: %s, want %s", c.from, c.by, got, c.want)
		}
	}
}

// TestBeginDrain answers requests, and has clients that keep connections open them anew.
func TestBeginDrain(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*http.Protocols){"HTTP/1.1": http1, "HTTP/2": h2c} {
		s := start(t, Options{Auth: known()})
		client := clientOf(t, set)
		for _, ending := range []bool{false, true} {
			if ending {
				s.BeginDrain()
			}
			r := (&request{method: "POST", path: "/echo", token: "ada", body: "x"}).make(t, s.url)
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close() // its status is enough
			if want := ending && name == "HTTP/1.1"; res.StatusCode != http.StatusOK || res.Close != want {
				t.Errorf("%s, ending %t: %d, the connection is closed: %t", name, ending, res.StatusCode, res.Close)
			}
		}
	}
}

// TestDrain lets a request come to its end, on a server that takes no others.
func TestDrain(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*http.Protocols){"HTTP/1.1": http1, "HTTP/2": h2c} {
		s := start(t, Options{Auth: known(), Limits: Limits{Timeout: time.Hour}})
		client := clientOf(t, set)
		answers := make(chan answered, 1)
		r := (&request{method: "POST", path: "/wait", token: "ada"}).make(t, s.url)
		go func() { answers <- do(t, client, r) }()
		<-s.begun
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(t.Context()) }()
		for { // until nobody listens any more
			c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
			if err != nil {
				break
			}
			_ = c.Close()
		}
		select {
		case err := <-drained:
			t.Errorf("%s: over before the request is: %v", name, err)
		default:
		}
		close(s.release)
		if got := <-answers; got.status != http.StatusOK || got.body != "done" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if err := <-drained; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDrainEnds cuts off what takes longer than a drain may.
func TestDrainEnds(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Auth: known(), Limits: Limits{Timeout: time.Hour}})
	r := (&request{method: "POST", path: "/wait", token: "ada"}).make(t, s.url)
	failed := make(chan error, 1)
	client := clientOf(t, http1)
	go func() {
		_, err := client.Do(r) //nolint:bodyclose // there is none
		failed <- err
	}()
	<-s.begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-failed; err == nil {
		t.Error("an answer came")
	}
	if !strings.Contains(s.log.String(), `"status":504`) {
		t.Errorf("the handler was not told before Drain returned: %s", s.log)
	}
}

// TestAround wraps the handlers of all routes, where the principal is known.
func TestAround(t *testing.T) {
	t.Parallel()
	var seen []string
	s := start(t, Options{Auth: known(), Around: func(route Route, h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen = append(seen, route.Pattern+" "+auth.From(r.Context()).Name+" "+RequestID(r.Context()))
			h.ServeHTTP(w, r)
		})
	}})
	r := (&request{method: "POST", path: "/echo", token: "ada", body: "x", header: map[string]string{"X-Request-Id": "7"}}).make(t, s.url)
	if got := do(t, clientOf(t, http1), r); got.body != "x" || fmt.Sprint(seen) != "[/echo ada 7]" {
		t.Errorf("%v %v", got, seen)
	}
}

// TestManySlowClients has hundreds of connections open that send a part of a request or nothing, more than there may be: requests
// that are sent as they should be are answered, on connections that are kept and on new ones.
func TestManySlowClients(t *testing.T) {
	t.Parallel()
	const slow, most = 300, 250 // of which 200 send bodies, and do not give way
	s := start(t, Options{Auth: known(), Limits: Limits{Connections: most, ConnectionsPerClient: most, Concurrency: 4}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, quick)
	client, fresh := clientOf(t, http1), &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	echo := func(c *http.Client) {
		t.Helper()
		if got := do(t, c, (&request{method: "POST", path: "/echo", token: "ada", body: "fast"}).make(t, s.url)); got.status != http.StatusOK {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	echo(client)
	const line = "POST /echo HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ada\r\n"
	open := make([]net.Conn, 0, slow)
	for i := range slow {
		open = append(open, dial(t, s, []string{line, line + "Content-Length: 100\r\n\r\n{", line + "Transfer-Encoding: chunked\r\n\r\n"}[i%3]))
		if i%10 == 0 {
			echo(client)
			echo(fresh)
		}
	}
	for _, c := range open {
		_ = ended(t, c) // each is cut off, sooner or later
	}
	if st := s.Stats(); st.Connections > 2 {
		t.Errorf("%+v", st)
	}
}
