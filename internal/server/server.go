package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"millrace.dev/internal/reload"
)

// What a connection can hold of the server beside the limits that are options.
const (
	maxHeader     = 16 << 10         // bytes of a request's line and header
	headerTime    = 5 * time.Second  // for these, and for the handshake of TLS
	idleTime      = 2 * time.Minute  // that a connection may do nothing: longer than load balancers keep theirs
	maxStreams    = 250              // of one HTTP/2 connection
	pingAfter     = 30 * time.Second // of silence an HTTP/2 connection is asked whether its other end lives
	pingTime      = 15 * time.Second // for the answer to that
	writeByteTime = 10 * time.Second // in which an HTTP/2 connection has to take a byte
)

// Defaults of Limits.
const (
	defaultBody        = 8 << 20
	defaultConnections = 4096
	defaultPerClient   = 512
	defaultConcurrency = 256
	defaultTimeout     = 10 * time.Second
	bodiesHeld         = 32 // so many bodies of the full size are held at the same time, or more that are smaller
)

// Server answers the requests of clients that are not trusted. It is for many goroutines.
type Server struct {
	o      Options
	router *Router
	log    *slog.Logger
	http   *http.Server
	certs  *reload.Value[*tls.Config] // nil without TLS
	cross  *http.CrossOriginProtection
	rates  *rates // nil without a limit
	slots  chan struct{}
	held   atomic.Int64 // bytes of bodies
	pace   pace
	gate   atomic.Pointer[gate]
	routed map[*Route]http.Handler // what Around made of the handlers
	ending atomic.Bool             // connections are not kept

	mu      sync.Mutex
	closed  bool
	end     context.CancelFunc // ends the contexts of all requests
	running int                // requests
	none    *sync.Cond         // running is 0
}

// New returns a server for the routes of r. It fails where certificates cannot be read.
func New(r *Router, o Options) (*Server, error) {
	l := &o.Limits
	l.Body = cmp.Or(l.Body, defaultBody)
	l.Connections = cmp.Or(l.Connections, defaultConnections)
	l.ConnectionsPerClient = min(cmp.Or(l.ConnectionsPerClient, defaultPerClient), l.Connections)
	l.Concurrency = cmp.Or(l.Concurrency, defaultConcurrency)
	l.Timeout = cmp.Or(l.Timeout, defaultTimeout)
	l.Burst = cmp.Or(l.Burst, max(1, int(math.Ceil(l.RatePerSecond))))
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{
		o: o, router: r, log: o.Log, cross: http.NewCrossOriginProtection(), slots: make(chan struct{}, l.Concurrency),
		pace: defaultPace(), routed: map[*Route]http.Handler{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if l.RatePerSecond > 0 {
		s.rates = newRates(l.RatePerSecond, l.Burst)
	}
	s.none = sync.NewCond(&s.mu)
	for _, w := range r.ways {
		for _, route := range w.routes {
			s.routed[route] = route.Handler
			if o.Around != nil {
				s.routed[route] = o.Around(*route, route.Handler)
			}
		}
	}
	return s, s.prepare()
}

// prepare makes the HTTP server.
func (s *Server) prepare() error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Handler: s, Protocols: protocols, MaxHeaderBytes: maxHeader, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime,
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: pingAfter, PingTimeout: pingTime, WriteByteTimeout: writeByteTime},
		DisableGeneralOptionsHandler: true,
		ConnState:                    s.connState,
		ConnContext:                  withLink,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // what clients do wrong before there is a request
	}
	if s.o.TLS == (TLS{}) {
		protocols.SetUnencryptedHTTP2(true)
		return nil
	}
	protocols.SetHTTP2(true)
	var err error
	if s.certs, err = loadCertificates(s.o.TLS, s.o.Now, s.log); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	s.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		return s.certs.Get(hello.Context()), nil
	}}
	return nil
}

// Serve answers what comes in at a listener, which it closes, until Drain or Close, and then returns nil. It is called once.
// The end of ctx does not end it: requests that are under way may go on in Drain.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	g := newGate(l, s.o.Limits.Connections, s.o.Limits.ConnectionsPerClient, s.trusted)
	s.gate.Store(g)
	base, end := context.WithCancel(context.WithoutCancel(ctx))
	s.http.BaseContext = func(net.Listener) context.Context { return base }
	s.mu.Lock()
	s.end = end
	if s.closed {
		end()
	}
	s.mu.Unlock()
	var err error
	if s.certs != nil {
		err = s.http.ServeTLS(g, "", "")
	} else {
		err = s.http.Serve(g)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("server: %w", err)
}

// BeginDrain has clients go elsewhere on their own, while requests are still taken: answers of HTTP/1.1 say that their connection
// is closed. A client that keeps one would send the next request on it just when Drain closes it, and get no answer.
func (s *Server) BeginDrain() { s.ending.Store(true) }

// Drain lets the requests that are under way come to their end and takes no others; what is not done when ctx ends is cut off.
// The error is that of ctx. Nothing runs any more when it returns.
func (s *Server) Drain(ctx context.Context) error {
	s.BeginDrain()
	s.http.SetKeepAlivesEnabled(false)
	err := s.http.Shutdown(ctx)
	return errors.Join(err, s.Close())
}

// Close cuts off what is under way, and returns when nothing runs any more.
func (s *Server) Close() error {
	err := s.http.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.end != nil {
		s.end()
	}
	for s.running > 0 {
		s.none.Wait()
	}
	return err
}

// enter and leave count the requests that run, for Close.
func (s *Server) enter() {
	s.mu.Lock()
	s.running++
	s.mu.Unlock()
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running--; s.running == 0 {
		s.none.Broadcast()
	}
}

// Stats say what a server is doing.
type Stats struct {
	Connections        int    // open now
	ConnectionsRefused uint64 // for being too many, of a client or together
	ConnectionsEvicted uint64 // that were idle and gave way to others
	InFlight           int    // requests that are worked on now, without those of light routes
	BodyBytes          int64  // of requests that are held now
}

// Stats returns what the server is doing.
func (s *Server) Stats() Stats {
	st := Stats{InFlight: len(s.slots), BodyBytes: s.held.Load()}
	if g := s.gate.Load(); g != nil {
		st.Connections, st.ConnectionsRefused, st.ConnectionsEvicted = g.stats()
	}
	return st
}
