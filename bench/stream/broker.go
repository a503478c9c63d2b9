//go:build linux

package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"

	"millrace.dev/e2e/kafkatest"
)

// onDevelopment measures on millrace's development broker.
func (b *bench) onDevelopment(ctx context.Context) error {
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	p, err := b.start(ctx, "broker", b.millrace, "broker", "--dir", filepath.Join(b.dir, "broker-data"), "--listen", address)
	if err != nil {
		return err
	}
	err = b.measure(ctx, "development", address)
	return errors.Join(err, p.stop())
}

func freeAddress(ctx context.Context) (string, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address := l.Addr().String()
	return address, l.Close()
}

// host lets the brokers of the end-to-end tests be started outside of a test, and notes why they were not.
type host struct {
	*testing.B

	missing func(format string, args ...any)
	failed  func(format string, args ...any)
}

// Skipf notes what is missing.
func (h host) Skipf(format string, args ...any) {
	h.missing(format, args...)
	h.SkipNow()
}

// Fatalf notes what went wrong.
func (h host) Fatalf(format string, args ...any) {
	h.failed(format, args...)
	h.FailNow()
}

// onKafka measures on one broker of Apache Kafka, or says what is missing.
func (b *bench) onKafka(ctx context.Context) error {
	var err error
	done := false
	testing.Benchmark(func(t *testing.B) {
		if done || t.N != 1 { // a quick failure makes package testing ask for more
			return
		}
		done = true
		h := host{B: t, missing: b.skip, failed: b.say}
		err = errors.New("it did not start")
		cluster := kafkatest.Start(h, kafkatest.Options{HeapMB: 512})
		err = b.measure(ctx, "kafka", cluster.Bootstrap()[0])
	})
	return err
}

func (b *bench) skip(format string, args ...any) {
	b.say("not measured on Apache Kafka: "+format, args...)
}
