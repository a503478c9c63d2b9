package devbroker

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// listener knows when the loop that accepts and every connection have ended, which kfake's Close does not wait
// for, and lets clients wait until the broker is ready for them.
type listener struct {
	net.Listener
	own   net.Conn       // the other end of the broker's own connection, the first to be accepted
	ready chan struct{}  // closed when clients are let in
	open  sync.WaitGroup // the accept loop and each connection
	admit func()         // closes ready, once
	end   func()         // tells open of the accept loop's end, once
}

// listen listens on addr, and returns one end of a connection that the listener accepts before all others.
func listen(ctx context.Context, addr string) (*listener, net.Conn, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if addrInUse(err) {
		return nil, nil, fmt.Errorf("%w: another process listens on %s", ErrPortInUse, addr)
	}
	if err != nil {
		return nil, nil, err
	}
	l := &listener{Listener: ln, ready: make(chan struct{})}
	l.admit = sync.OnceFunc(func() { close(l.ready) })
	l.end = sync.OnceFunc(l.open.Done)
	l.open.Add(1)
	ours, theirs := net.Pipe()
	l.own = theirs
	return l, ours, nil
}

// Accept implements [net.Listener], for one goroutine.
func (l *listener) Accept() (net.Conn, error) {
	c := l.own
	if l.own = nil; c == nil {
		<-l.ready
		var err error
		if c, err = l.Listener.Accept(); err != nil {
			l.end()
			return nil, err
		}
	}
	l.open.Add(1)
	return &conn{Conn: c, closed: l.open.Done}, nil
}

// Close implements [net.Listener].
func (l *listener) Close() error {
	err := l.Listener.Close()
	l.admit()
	return err
}

// wait waits until the listener and its connections are closed.
func (l *listener) wait() { l.open.Wait() }

// conn tells of its first Close.
type conn struct {
	net.Conn
	once   sync.Once
	closed func()
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.closed)
	return err
}
