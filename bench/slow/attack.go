//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	addresses = 10              // that slow connections come from: one has ports for 28,000 alone
	drop      = 2 * time.Second // between two bytes of a connection that sends some
	spread    = 5 * time.Second // over which they are opened: after so long the server closes the first, and they are opened again
)

// hold keeps so many slow connections open until ctx ends: a third of them sends a header without end, a third a body, and
// a third sends one request and then nothing. Those that the server closes are opened again. It says when all are open, and at the
// end how many were on average, from then on.
func hold(ctx context.Context, out io.Writer, address string, n int) {
	var all, first sync.WaitGroup
	var count atomic.Int64
	for i := range n {
		first.Add(1)
		opened := sync.OnceFunc(first.Done)
		all.Go(func() {
			wait(ctx, spread*time.Duration(i)/time.Duration(n))
			defer opened()
			for ctx.Err() == nil {
				c, err := dial(ctx, address, i%addresses)
				if err != nil {
					wait(ctx, drop)
					continue
				}
				count.Add(1)
				began := time.Now()
				waste(ctx, c, i%3, opened)
				count.Add(-1)
				if lived := time.Since(began); lived < drop { // it gave way to another one
					wait(ctx, drop-lived)
				}
			}
		})
	}
	first.Wait()
	_, _ = fmt.Fprintln(out, "open") // to who measures
	sum, looks := 0.0, 0
	for ctx.Err() == nil {
		sum, looks = sum+float64(count.Load()), looks+1
		wait(ctx, spread/50)
	}
	_, _ = fmt.Fprintf(out, "held %.0f\n", sum/float64(looks))
	all.Wait()
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func dial(ctx context.Context, address string, from int) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(10+from))}}
	return d.DialContext(ctx, "tcp", address)
}

// waste holds one connection until the server closes it, or ctx ends.
func waste(ctx context.Context, c net.Conn, kind int, opened func()) {
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	defer c.Close() //nolint:errcheck // nobody reads what was sent
	const line = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	start := []string{line + "X-Long: ", line + "Content-Length: 1000\r\n\r\n{", "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"}[kind]
	if _, err := io.WriteString(c, start); err != nil {
		return
	}
	if kind == 2 {
		in := bufio.NewReader(c)
		a, err := http.ReadResponse(in, nil)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, a.Body)
		_ = a.Body.Close()
		opened()
		_, _ = in.Peek(1)
		return
	}
	opened()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = io.Copy(io.Discard, c)
	}()
	tick := time.NewTicker(drop)
	defer tick.Stop()
	for {
		select {
		case <-closed:
			return
		case <-tick.C:
			if _, err := io.WriteString(c, "x"); err != nil {
				_ = c.Close()
				<-closed
				return
			}
		}
	}
}
