package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"millrace.dev/internal/auth"
)

// Authenticator tells who sends a request. It is for many goroutines. An error means that what the request shows is wrong;
// somebody who shows nothing is nobody, without an error.
type Authenticator interface {
	Authenticate(r *http.Request) (*auth.Principal, error)
}

// Options say how a server answers.
type Options struct {
	// Auth tells who sends a request. Default: nil, everybody has all roles.
	Auth Authenticator
	// TLS names the files of certificates. Default: none, connections are not encrypted.
	TLS TLS
	// Limits bound what clients can ask.
	Limits Limits
	// TrustedProxies are the addresses whose X-Forwarded-For is believed. Default: none.
	TrustedProxies []netip.Prefix
	// Log takes the access log at level info, and what goes wrong. Default: nothing is logged.
	Log *slog.Logger
	// Around wraps the handler of each route, for traces: what it adds happens within the limits, with the principal known.
	// It is called once for each route. Default: nil.
	Around func(Route, http.Handler) http.Handler
	// Observe is told of each request that was answered, for metrics. It is called by many goroutines. Default: nil.
	Observe func(context.Context, Observation)
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// TLS names the files, PEM, of a server's certificate and its key. They are read again when they change. With ClientCA a
// client is asked for a certificate, which one of these authorities has to have signed; it may have none.
type TLS struct{ Cert, Key, ClientCA string }

// Limits bound what clients can ask of a server. Zero values are the defaults.
type Limits struct {
	Body                 int64         // bytes of a body. Default: 8 MiB
	Connections          int           // open at the same time. Default: 4096
	ConnectionsPerClient int           // the same, of one address or network /64 of IPv6. Default: 512
	Concurrency          int           // requests that are worked on at the same time. Default: 256
	Timeout              time.Duration // of a request, from when its body is there. Default: 10 s
	RatePerSecond        float64       // requests of a client on the long run. Default: 0, as many as it likes
	Burst                int           // requests of a client at once. Default: RatePerSecond rounded up
}

// Observation is a request that was answered.
type Observation struct {
	Method   string
	Pattern  string // of the route, "" where there is none
	Status   int    // of HTTP; for gRPC what it would be in HTTP where the server itself refused it
	Bytes    int64  // of the answer's body
	Duration time.Duration
}
