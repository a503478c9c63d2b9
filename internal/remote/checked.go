package remote

import (
	"errors"
	"net/http"
	"time"
)

// NewTransport returns what makes requests to the server at a URL, and to no other, by the rules of [Options]: the address that its name
// leads to is checked and then dialled, no proxy is asked and no redirect is followed. It is for files that are fetched: an answer may take
// as long as its request's context allows, once its header has come, within patience, which bounds connecting, too. An error is an
// [*Error] of class [Forbidden]; so is that of a request to another server, or to an address that is not allowed.
func NewTransport(url string, patience time.Duration) (http.RoundTripper, error) {
	p, err := parsePlace(url)
	if err != nil {
		return nil, &Error{Class: Forbidden, Where: "the server's address", Err: err}
	}
	o := withDefaults(Options{Timeout: patience, Connections: 4})
	t := &transport{place: p, o: &o, out: theWorld()}
	if err := t.allowed.before(&p); err != nil {
		return nil, &Error{Class: Forbidden, Where: p.String(), Err: err}
	}
	return &checked{t}, nil
}

// checked is a transport that looks at where requests go.
type checked struct{ *transport }

// RoundTrip makes a request to the place of the transport.
func (c *checked) RoundTrip(req *http.Request) (*http.Response, error) {
	asked, err := parsePlace(req.URL.Scheme + "://" + req.URL.Host)
	if err != nil || asked.scheme != c.place.scheme || asked.host != c.place.host || asked.port != c.place.port {
		return nil, &Error{Class: Forbidden, Where: c.place.String(), Err: errors.New("the request is for another server")}
	}
	return c.transport.RoundTrip(req)
}

// CloseIdleConnections lets go of connections that no request needs. The transport can be used on.
func (c *checked) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil {
		c.current.CloseIdleConnections()
	}
}
