package query

import (
	"bytes"
	"context"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// wires is a network whose connections hold what was written and not read yet, as those of TCP do and pipes do not: two that write
// at a time, as the two sides of TLS do where one refuses the other, do not wait for each other.
type wires struct {
	*kfake.VirtualNetwork

	carrying *sync.WaitGroup // what is on its way
}

func (n wires) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := n.VirtualNetwork.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return n.newWire(c), nil
}

func (n wires) Listen(network, address string) (net.Listener, error) {
	l, err := n.VirtualNetwork.Listen(network, address)
	return wireListener{l, n}, err
}

type wireListener struct {
	net.Listener

	wires wires
}

func (l wireListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wires.newWire(c), nil
}

type wire struct {
	net.Conn
	queue  chan []byte
	once   sync.Once
	closed chan struct{}
}

func (n wires) newWire(c net.Conn) *wire {
	w := &wire{Conn: c, queue: make(chan []byte, 1<<10), closed: make(chan struct{})}
	n.carrying.Go(w.carry)
	return w
}

// carry passes on what is written, until the connection is closed and all of that has gone.
func (w *wire) carry() {
	defer w.Conn.Close() //nolint:errcheck // a pipe
	for {
		select {
		case b := <-w.queue:
			_, _ = w.Conn.Write(b) // whoever reads may be gone
		case <-w.closed:
			for len(w.queue) > 0 {
				_, _ = w.Conn.Write(<-w.queue) // likewise
			}
			return
		}
	}
}

func (w *wire) Write(b []byte) (int, error) {
	select {
	case <-w.closed:
		return 0, net.ErrClosed
	case w.queue <- bytes.Clone(b):
		return len(b), nil
	}
}

// SetWriteDeadline does nothing: to write takes no time.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is for reads.
func (w *wire) SetDeadline(t time.Time) error { return w.SetReadDeadline(t) }

func (w *wire) Close() error {
	w.once.Do(func() {
		_ = w.Conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // for who does not read any more
		_ = w.SetReadDeadline(time.Now())
		close(w.closed)
	})
	return nil
}
