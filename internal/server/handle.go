package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/auth"
)

// visit is a request on its way through the server.
type visit struct {
	id        string
	began     time.Time
	client    netip.Addr
	route     *Route // nil: there is none
	principal *auth.Principal
	body      []byte
	maxBody   int64
	held      int64 // bytes of the body that count among those that are held
}

type visitKey struct{}

// visitOf returns what the server knows of a request; of one that came another way, nothing.
func visitOf(ctx context.Context) *visit {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		return v
	}
	return &visit{maxBody: defaultBody}
}

// RequestID returns the id of the request that ctx belongs to, which the access log has too; "" where there is none.
func RequestID(ctx context.Context) string { return visitOf(ctx).id }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.enter()
	defer s.leave()
	v := &visit{id: requestID(r), began: s.o.Now(), client: s.clientOf(r), principal: &auth.Principal{}}
	a := &answer{ResponseWriter: w, control: http.NewResponseController(w)}
	r = r.WithContext(context.WithValue(r.Context(), visitKey{}, v))
	defer func() { s.done(a, r, v, recover()) }()
	setHeaders(w.Header(), v.id, r.TLS != nil)
	if r.ProtoMajor == 1 && s.ending.Load() { // one of HTTP/2 is told by Drain which requests it takes
		w.Header().Set("Connection", "close")
	}
	if f := s.pass(a, r, v); f != nil {
		s.refuse(a, r, v, f)
		return
	}
	if !v.route.Light {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			s.refuse(a, r, v, busy())
			return
		}
	}
	ctx, cancel := context.WithTimeout(auth.With(r.Context(), v.principal), s.o.Limits.Timeout)
	defer cancel()
	s.routed[v.route].ServeHTTP(a, r.WithContext(ctx))
}

// refusal is why a request does not come to its handler.
type refusal struct {
	status  int
	message string
	wait    time.Duration // until it may be sent again, where that is known
	header  [2]string     // a header that goes with it
}

func busy() *refusal {
	return &refusal{status: http.StatusServiceUnavailable, message: "the server is busy: try again later"}
}

// pass has a request examined by everything that stands before its handler: in the order in which that costs.
func (s *Server) pass(a *answer, r *http.Request, v *visit) *refusal {
	for _, step := range []func(*answer, *http.Request, *visit) *refusal{s.find, s.origin, s.authenticate, s.rate, s.readBody} {
		if f := step(a, r, v); f != nil {
			return f
		}
	}
	return nil
}

// find finds the route.
func (s *Server) find(_ *answer, r *http.Request, v *visit) *refusal {
	var p probe
	s.router.mux.ServeHTTP(&p, r) // which leaves the variables of the path in r
	if p.way == nil {
		return &refusal{status: http.StatusNotFound, message: "there is no such path"}
	}
	if v.route = p.way.route(r.Method); v.route == nil {
		return &refusal{status: http.StatusMethodNotAllowed, message: "the path does not have this method: it has " + p.way.allow, header: [2]string{"Allow", p.way.allow}}
	}
	v.maxBody = s.o.Limits.Body
	if v.route.MaxBody != 0 {
		v.maxBody = max(v.route.MaxBody, 0)
	}
	return nil
}

// origin refuses what a browser sends in the name of another page. A server that asks nobody who they are relies on being
// reached from its own machine alone, and there pages of anybody's are open too.
func (s *Server) origin(_ *answer, r *http.Request, _ *visit) *refusal {
	if err := s.cross.Check(r); err != nil {
		return &refusal{status: http.StatusForbidden, message: "the request comes from a page of another origin"}
	}
	if s.o.Auth == nil && !local(r) {
		return &refusal{status: http.StatusMisdirectedRequest, message: "without authentication the server answers to localhost and to addresses of its machine, not to other names"}
	}
	return nil
}

// authenticate finds out who asks, and whether they may.
func (s *Server) authenticate(_ *answer, r *http.Request, v *visit) *refusal {
	switch {
	case v.route.Role == auth.Anyone:
		return nil
	case s.o.Auth == nil:
		v.principal = &auth.Principal{Roles: auth.Roles()}
		return nil
	}
	p, err := s.o.Auth.Authenticate(r)
	if errors.Is(err, auth.ErrUnavailable) {
		s.log.LogAttrs(r.Context(), slog.LevelWarn, "who sends a request cannot be told", slog.String("request_id", v.id), slog.Any("error", err))
		return &refusal{status: http.StatusServiceUnavailable, message: "who sends the request cannot be told now: try again later"}
	}
	if err != nil {
		if f := s.take("address "+networkOf(v.client).String(), v); f != nil {
			return f
		}
		return &refusal{status: http.StatusUnauthorized, message: err.Error(), header: [2]string{"WWW-Authenticate", `Bearer realm="millrace", error="invalid_token"`}}
	}
	v.principal = p
	switch {
	case p.May(v.route.Role):
		return nil
	case p.Name == "":
		return &refusal{status: http.StatusUnauthorized, message: "the request needs a bearer token or a client certificate", header: [2]string{"WWW-Authenticate", `Bearer realm="millrace"`}}
	default:
		return &refusal{status: http.StatusForbidden, message: "the request needs the role " + string(v.route.Role)}
	}
}

// rate holds a client to its rate.
func (s *Server) rate(_ *answer, _ *http.Request, v *visit) *refusal {
	if v.route.Light {
		return nil
	}
	who := "address " + networkOf(v.client).String()
	if v.principal.Name != "" {
		who = "principal " + v.principal.Name
	}
	return s.take(who, v)
}

// take takes a token of a client.
func (s *Server) take(who string, v *visit) *refusal {
	if s.rates == nil {
		return nil
	}
	wait := s.rates.take(who, v.began)
	if wait <= 0 {
		return nil
	}
	return &refusal{status: http.StatusTooManyRequests, message: "the client asks too often: try again later", wait: wait}
}

// refuse answers a request that does not come to its handler. What is left of its body has a moment to be thrown away, so that
// the connection can go on; for more the connection is closed.
func (s *Server) refuse(a *answer, r *http.Request, v *visit, f *refusal) {
	if r.ContentLength != 0 && f.status != http.StatusRequestTimeout { // of which the time is over
		_ = a.control.SetReadDeadline(time.Now().Add(time.Second)) // where there is none, nothing is read from a network
	}
	if r.ProtoMajor == 1 && (f.status == http.StatusRequestEntityTooLarge || f.status == http.StatusRequestTimeout) {
		a.Header().Set("Connection", "close") // on one of HTTP/2 others go on
	}
	if f.header[0] != "" {
		a.Header().Set(f.header[0], f.header[1])
	}
	if f.status == http.StatusServiceUnavailable || f.status == http.StatusTooManyRequests {
		a.Header().Set("Retry-After", seconds(f.wait))
	}
	fail(a, r, v, f.status, f.message)
}

// fail answers with an error as clients of the route expect it.
func fail(a *answer, r *http.Request, v *visit, status int, message string) {
	a.refused = status
	if v.route != nil && v.route.Error != nil {
		v.route.Error(a, r, status, message)
		return
	}
	Error(a, r, status, message)
}

// done ends a request: it answers for a handler that panicked, and tells the log and the metrics.
func (s *Server) done(a *answer, r *http.Request, v *visit, panicked any) {
	s.held.Add(-v.held)
	cut := panicked == http.ErrAbortHandler //nolint:errorlint // net/http compares it so
	if panicked != nil && !cut {
		s.log.LogAttrs(r.Context(), slog.LevelError, "a handler panicked", slog.String("request_id", v.id), slog.String("route", v.pattern()),
			slog.Any("panic", panicked), slog.String("stack", string(debug.Stack())))
		if cut = a.status != 0; !cut {
			fail(a, r, v, http.StatusInternalServerError, "the server failed: its log says why, under the id "+v.id)
		}
	}
	took := s.o.Now().Sub(v.began)
	status := a.reported()
	s.access(r, v, a, status, took)
	if s.o.Observe != nil {
		s.o.Observe(r.Context(), Observation{Method: knownMethod(r.Method), Pattern: v.pattern(), Status: status, Bytes: a.bytes, Duration: took})
	}
	if cut {
		panic(http.ErrAbortHandler) // the client must not take what it has for the whole
	}
}

// access writes a line of the access log. What a client chooses freely, such as a path or a header, is not in it.
func (s *Server) access(r *http.Request, v *visit, a *answer, status int, took time.Duration) {
	level := slog.LevelInfo
	if v.route != nil && v.route.Light {
		level = slog.LevelDebug
	}
	if !s.log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", v.id), slog.String("method", knownMethod(r.Method)), slog.String("route", v.pattern()), slog.Int("status", status),
		slog.Int64("bytes", a.bytes), slog.Duration("duration", took), slog.String("principal", v.principal.Name), slog.String("remote", v.client.String()),
		slog.String("protocol", r.Proto),
	}
	if code := a.grpcStatus(); code != "" {
		attrs = append(attrs, slog.String("grpc_status", code))
	}
	s.log.LogAttrs(r.Context(), level, "request", attrs...)
}

func (v *visit) pattern() string {
	if v.route == nil {
		return ""
	}
	return v.route.Pattern
}

func knownMethod(m string) string {
	if slices.Contains(methods(), m) {
		return m
	}
	return "other"
}

const maxID = 64

// requestID returns the id that a request brings along, if it is one, or a new one.
func requestID(r *http.Request) string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_."
	if id := r.Header.Get("X-Request-Id"); id != "" && len(id) <= maxID && strings.Trim(id, letters) == "" {
		return id
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // it does not fail
	return hex.EncodeToString(b[:])
}

// setHeaders sets the headers that each answer has. Answers are data: no browser is to guess what they are, to show them as a
// page or to keep them.
func setHeaders(h http.Header, id string, encrypted bool) {
	h.Set("X-Request-Id", id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	if encrypted {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// probe takes what the mux finds.
type probe struct{ way *way }

func (*probe) Header() http.Header         { return http.Header{} }
func (*probe) Write(b []byte) (int, error) { return len(b), nil }
func (*probe) WriteHeader(int)             {}
