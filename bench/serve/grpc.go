//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rpc is a client of gRPC, over a connection of HTTP/2 without TLS.
type rpc struct {
	conn   net.Conn
	framer *http2.Framer
	out    bytes.Buffer // what goes out next: one write a request
	fields []byte       // the header of each request, as it goes over the wire
	stream uint32
	body   []byte
	frame  uint32 // the largest frame that the server takes
	window int64  // of the connection, for what is sent
	begin  int64  // of a stream
	given  uint32 // back to the server since the last update of the window
}

// window is what a server may send before it hears of what was read.
const window = 1 << 30

func dialRPC(ctx context.Context, address string) (client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &rpc{conn: conn, frame: 16 << 10, window: 65535, begin: 65535, stream: 1}
	c.framer = http2.NewFramer(&c.out, conn)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	e.SetMaxDynamicTableSizeLimit(0) // so that each request has the same bytes
	for _, f := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", "/inference.GRPCInferenceService/ModelInfer"},
		{":authority", address},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	} {
		if err := e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return nil, err
		}
	}
	c.fields = block.Bytes()
	c.out.WriteString(http2.ClientPreface)
	err = errors.Join(
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 4096}),
		c.framer.WriteWindowUpdate(0, window-65535), c.flush(),
	)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

func (c *rpc) Close() error { return c.conn.Close() }

func (c *rpc) flush() error {
	_, err := c.conn.Write(c.out.Bytes())
	c.out.Reset()
	return err
}

func (c *rpc) ask(wire []byte) (head, body []byte, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, nil, err
	}
	if err := c.send(wire); err != nil {
		return nil, nil, err
	}
	body, err = c.receive()
	c.stream += 2
	return nil, body, err
}

// send sends a request, in as many frames as it takes.
func (c *rpc) send(wire []byte) error {
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: c.fields, EndHeaders: true})
	left := c.begin // of the stream's window
	for len(wire) > 0 && err == nil {
		n := min(int64(len(wire)), int64(c.frame))
		if n > c.window || n > left {
			return errors.New("a request larger than the server's window")
		}
		c.window -= n
		left -= n
		err = c.framer.WriteData(c.stream, n == int64(len(wire)), wire[:n])
		wire = wire[n:]
	}
	if err != nil {
		return err
	}
	return c.flush()
}

// receive reads frames up to the end of the stream, and returns the message.
func (c *rpc) receive() ([]byte, error) {
	c.body = c.body[:0]
	status, message := "", ""
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				switch h.Name {
				case "grpc-status":
					status = h.Value
				case "grpc-message":
					message = h.Value
				}
			}
		case *http2.DataFrame:
			c.body = append(c.body, f.Data()...)
			c.given += uint32(len(f.Data()))
		default:
			if err := c.control(f); err != nil {
				return nil, err
			}
		}
		h := f.Header()
		if h.StreamID != c.stream || !h.Flags.Has(http2.FlagDataEndStream) || h.Type != http2.FrameData && h.Type != http2.FrameHeaders {
			continue
		}
		if status != "0" {
			return nil, fmt.Errorf("%w: grpc-status %s %.200q", errNotOK, status, message)
		}
		if len(c.body) < 5 || int(binary.BigEndian.Uint32(c.body[1:])) != len(c.body)-5 || c.body[0] != 0 {
			return nil, errors.New("an answer that is not one message without compression")
		}
		if c.given > window/4 {
			err = c.framer.WriteWindowUpdate(0, c.given) // goes with the next request
			c.given = 0
		}
		return c.body[5:], err
	}
}

// control takes a frame about the connection.
func (c *rpc) control(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		if v, ok := f.Value(http2.SettingMaxFrameSize); ok {
			c.frame = v
		}
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			c.begin = int64(v)
		}
		return errors.Join(c.framer.WriteSettingsAck(), c.flush())
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.window += int64(f.Increment)
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return errors.Join(c.framer.WritePing(true, f.Data), c.flush())
		}
	case *http2.RSTStreamFrame:
		return fmt.Errorf("%w: the stream was reset: %v", errNotOK, f.ErrCode)
	case *http2.GoAwayFrame:
		return fmt.Errorf("%w: the server goes away: %v", errNotOK, f.ErrCode)
	}
	return nil
}
