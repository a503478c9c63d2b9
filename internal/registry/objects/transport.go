package objects

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// limits are how long a server is waited for.
type limits struct {
	dial, tls time.Duration
	answer    time.Duration // for the head of an answer, after the request was sent
	stall     time.Duration // without a byte in either direction
}

func patient() limits {
	return limits{dial: 3 * time.Second, tls: 5 * time.Second, answer: 10 * time.Second, stall: 15 * time.Second}
}

// newTransport returns a transport that finds out within seconds that a server is not there, and gives up on one that
// stops in the middle, however large an object is.
func newTransport(l limits) http.RoundTripper {
	dialer := &net.Dialer{Timeout: l.dial}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &lively{c, l.stall}, nil
		},
		MaxIdleConnsPerHost: 32 /* as many as the registry reads at once */, IdleConnTimeout: l.stall,
		TLSHandshakeTimeout: l.tls, ResponseHeaderTimeout: l.answer, ExpectContinueTimeout: time.Second,
		DisableCompression:     true, // what is read is what is there
		MaxResponseHeaderBytes: 256 << 10,
	}
}

// lively is a connection that ends when nothing moves.
type lively struct {
	net.Conn

	stall time.Duration
}

func (c *lively) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func (c *lively) Write(b []byte) (int, error) {
	// The answer is waited for meanwhile: what is sent keeps that alive as well.
	if err := c.SetDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// dated notes what the server's clock says.
type dated struct {
	inner http.RoundTripper
	date  *atomic.Int64
}

func (d *dated) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.inner.RoundTrip(r)
	if err == nil {
		if t, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			d.date.Store(t.Unix())
		}
	}
	return resp, err
}
