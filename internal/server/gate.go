package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// gate is a listener that bounds the connections that are open: all together, and those of a client. Where there are too many
// together, one that is doing nothing gives way to the new one: first of those that have not sent a whole request yet, then
// of those that have, in both cases the one that is waited for longest. So whoever opens connections and says nothing on them
// pushes out connections of that kind alone.
type gate struct {
	net.Listener
	most, perClient int
	trusted         func(netip.Addr) bool

	mu               sync.Mutex
	open             int
	clients          map[netip.Prefix]int
	silent, idle     list.List // of *link
	refused, evicted uint64
}

func newGate(l net.Listener, most, perClient int, trusted func(netip.Addr) bool) *gate {
	return &gate{Listener: l, most: most, perClient: perClient, trusted: trusted, clients: map[netip.Prefix]int{}}
}

// Accept returns the next connection that there is room for.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addressOf(c.RemoteAddr())
		l := &link{Conn: c, gate: g, client: networkOf(from), counted: from.IsValid() && !g.trusted(from)}
		give, ok := g.admit(l)
		if give != nil {
			_ = give.Close() // it was about to do nothing
		}
		if ok {
			return l, nil
		}
		_ = c.Close() // nothing was said on it
	}
}

// admit counts a connection, if there is room for it, and returns one that has to give way.
func (g *gate) admit(l *link) (give *link, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.counted && g.clients[l.client] >= g.perClient {
		g.refused++
		return nil, false
	}
	if g.open >= g.most {
		if give = g.longest(); give == nil {
			g.refused++
			return nil, false
		}
		g.evicted++
		g.forget(give)
	}
	g.open++
	if l.counted {
		g.clients[l.client]++
	}
	l.at, l.in = g.silent.PushBack(l), &g.silent
	return give, true
}

// longest returns the connection that does nothing and is the first to give way.
func (g *gate) longest() *link {
	e := g.silent.Front()
	if e == nil {
		e = g.idle.Front()
	}
	if e == nil {
		return nil
	}
	l, _ := e.Value.(*link) // the lists hold nothing else
	return l
}

// forget ends the count of a connection. It may be called more than once.
func (g *gate) forget(l *link) {
	g.unlist(l)
	if l.gone {
		return
	}
	l.gone = true
	g.open--
	if !l.counted {
		return
	}
	if g.clients[l.client]--; g.clients[l.client] == 0 {
		delete(g.clients, l.client)
	}
}

func (g *gate) unlist(l *link) {
	if l.at != nil {
		l.in.Remove(l.at)
		l.at, l.in = nil, nil
	}
}

// state notes what a connection is doing.
func (g *gate) state(l *link, state http.ConnState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case l.gone:
	case state == http.StateActive:
		g.unlist(l)
	case state == http.StateIdle && l.at == nil:
		l.at, l.in = g.idle.PushBack(l), &g.idle
	default:
	}
}

// waits notes that a connection is waited for in the middle of a request, whose body comes, or that it is not any more.
func (g *gate) waits(l *link, waited bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case l.gone:
	case !waited:
		g.unlist(l)
	case l.at == nil:
		l.at, l.in = g.silent.PushBack(l), &g.silent
	default:
	}
}

func (g *gate) stats() (open int, refused, evicted uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open, g.refused, g.evicted
}

// link is a connection that a gate counts.
type link struct {
	net.Conn
	gate    *gate
	client  netip.Prefix
	counted bool // among those of its client

	// By the gate's mutex.
	at   *list.Element
	in   *list.List
	gone bool
}

// Close closes the connection and ends its count.
func (l *link) Close() error {
	l.gate.mu.Lock()
	l.gate.forget(l)
	l.gate.mu.Unlock()
	return l.Conn.Close()
}

// connState is told by net/http what a connection is doing.
func (s *Server) connState(c net.Conn, state http.ConnState) {
	if l := linkOf(c); l != nil {
		l.gate.state(l, state)
	}
}

// linkOf returns the link of a connection as net/http has it, or nil.
func linkOf(c net.Conn) *link {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	l, _ := c.(*link) // nil if it is none
	return l
}

type linkKey struct{}

// withLink gives the requests of a connection its link.
func withLink(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, linkKey{}, linkOf(c))
}

// awaitBody has the connection of a request be one that gives way until the function that it returns is called. One of HTTP/2 has
// other requests, and does not give way for one.
func awaitBody(r *http.Request) (came func()) {
	l, _ := r.Context().Value(linkKey{}).(*link)
	if l == nil || r.ProtoMajor != 1 {
		return func() {}
	}
	l.gate.waits(l, true)
	return func() { l.gate.waits(l, false) }
}
