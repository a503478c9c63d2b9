//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"time"
)

// A generator that shares a machine with what it measures has to be cheap: requests are made before, and the clients
// know only what these need of their protocols.

// client sends one request at a time over a connection of its own.
type client interface {
	// ask sends a request and reads the answer; both slices are good until the next call.
	ask(wire []byte) (head, body []byte, err error)
	Close() error
}

// lasting is a client that connects again where it was idle for so long that the server may have closed the connection: MLServer does
// that after 5 s.
type lasting struct {
	dial func() (client, error)
	now  client
	used time.Time
}

const idle = 3 * time.Second

func (c *lasting) ask(wire []byte) (head, body []byte, err error) {
	if time.Since(c.used) > idle {
		if c.now != nil {
			_ = c.now.Close() // nothing is under way
		}
		if c.now, err = c.dial(); err != nil {
			return nil, nil, err
		}
	}
	head, body, err = c.now.ask(wire)
	c.used = time.Now()
	return head, body, err
}

func (c *lasting) Close() error {
	if c.now == nil {
		return nil
	}
	return c.now.Close()
}

// patience is how long an answer may take before the measurement fails.
const patience = 20 * time.Second

// plain is a client of HTTP/1.1.
type plain struct {
	conn net.Conn
	in   *bufio.Reader
	head []byte
	body []byte
}

func dialPlain(ctx context.Context, address string) (client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &plain{conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}, nil
}

func (c *plain) Close() error { return c.conn.Close() }

var errNotOK = errors.New("the answer is not 200")

// maxAnswer bounds the body of an answer.
const maxAnswer = 16 << 20

func (c *plain) ask(wire []byte) (head, body []byte, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, nil, err
	}
	if _, err := c.conn.Write(wire); err != nil {
		return nil, nil, err
	}
	c.head = c.head[:0]
	length := -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return nil, nil, err
		}
		c.head = append(c.head, line...)
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && len(key) == len("Content-Length") && textproto.CanonicalMIMEHeaderKey(string(key)) == "Content-Length" {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return nil, nil, err
			}
		}
	}
	if length < 0 || length > maxAnswer {
		return nil, nil, fmt.Errorf("an answer of %d bytes, or of unknown length", length)
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	if _, err := io.ReadFull(c.in, c.body); err != nil {
		return nil, nil, err
	}
	if !bytes.HasPrefix(c.head, []byte("HTTP/1.1 200 ")) {
		return nil, nil, fmt.Errorf("%w: %.60q %.200q", errNotOK, c.head, c.body)
	}
	return c.head, c.body, nil
}
