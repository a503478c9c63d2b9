//go:build linux

package rig

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"testing"

	"millrace.dev/e2e/kafkatest"
)

// FreeAddress returns an address of this machine on which nobody listens.
func FreeAddress(ctx context.Context) (string, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address := l.Addr().String()
	return address, l.Close()
}

// ErrMissing says that this machine lacks what it takes to run Apache Kafka.
var ErrMissing = errors.New("not measured on Apache Kafka")

// OnKafka starts one broker of Apache Kafka, calls measure with its address and stops the broker. Where the machine has
// no Java or no Maven it returns [ErrMissing], and says what to install.
func OnKafka(o kafkatest.Options, measure func(address string) error) error {
	// The brokers of the end-to-end tests are started as a benchmark of package testing.
	testing.Init()
	if err := flag.CommandLine.Parse(nil); err != nil {
		return err
	}
	err := errors.New("the broker did not start")
	done := false
	testing.Benchmark(func(t *testing.B) {
		if done || t.N != 1 { // a quick failure makes package testing ask for more
			return
		}
		done = true
		cluster := kafkatest.Start(host{B: t, err: &err}, o)
		err = measure(cluster.Bootstrap()[0])
	})
	return err
}

// host lets the brokers of the end-to-end tests be started outside of a test, and notes why they were not.
type host struct {
	*testing.B

	err *error
}

// Skipf notes what is missing.
func (h host) Skipf(format string, args ...any) {
	*h.err = fmt.Errorf("%w: %s", ErrMissing, fmt.Sprintf(format, args...))
	h.SkipNow()
}

// Fatalf notes what went wrong.
func (h host) Fatalf(format string, args ...any) {
	*h.err = fmt.Errorf(format, args...)
	h.FailNow()
}
