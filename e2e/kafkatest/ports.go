//go:build unix

package kafkatest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from a range below the one from which systems take the ports of outgoing connections (from
// 32768 on Linux, 49152 elsewhere): the port of a stopped broker cannot become the source port of some
// connection before the broker starts again, nor can a client that dials it be connected to itself.
const (
	firstPort = 20000
	portCount = 10000
	portTries = 200
)

// errPortTaken says that a broker could not listen, since a stranger took its port after it was leased.
var errPortTaken = errors.New("a port was taken by another process")

// lease is a TCP port of 127.0.0.1 that no other lease of this machine has, for as long as it is held: the UDP
// port of the same number is bound, which no broker needs and which the system frees when the process dies.
type lease struct {
	port int
	held net.PacketConn
}

func leasePort(ctx context.Context) (*lease, error) {
	var lc net.ListenConfig
	var last error
	for range portTries {
		port := firstPort + rand.IntN(portCount) //nolint:gosec // any free port will do
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		held, err := lc.ListenPacket(ctx, "udp4", addr)
		if err != nil {
			last = err
			continue
		}
		l, err := lc.Listen(ctx, "tcp4", addr) // is it free of others?
		if err != nil {
			_ = held.Close()
			last = err
			continue
		}
		_ = l.Close()
		return &lease{port: port, held: held}, nil
	}
	return nil, errors.Join(errors.New("no free port"), last)
}

func (l *lease) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(l.port)) }

func (l *lease) release() {
	if l != nil {
		_ = l.held.Close()
	}
}
