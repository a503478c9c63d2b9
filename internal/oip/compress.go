package oip

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// The encodings of bodies, as HTTP names them. Deflate is the format of zlib, not bare deflate.
const (
	Gzip    = "gzip"
	Deflate = "deflate"
)

// Decompress returns the bytes of a body with the header Content-Encoding encoding, where "" and identity mean that it
// is not compressed. It reads no more than limit bytes of what comes out, and an answer with more is an error: 413. An
// encoding that is not known is one too: 415.
func Decompress(encoding string, body io.Reader, limit int64) ([]byte, error) {
	var err error
	var opened io.ReadCloser
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		opened = io.NopCloser(body)
	case Gzip:
		opened, err = gzip.NewReader(body)
	case Deflate:
		opened, err = zlib.NewReader(body)
	default:
		return nil, Errorf(http.StatusUnsupportedMediaType, "the content encoding %s is not supported: send gzip, deflate or nothing", quoted(encoding))
	}
	if err != nil {
		return nil, unreadable(err)
	}
	var all bytes.Buffer
	n, err := io.Copy(&all, io.LimitReader(opened, limit+1))
	if err != nil {
		return nil, unreadable(err)
	}
	if n > limit {
		return nil, Errorf(http.StatusRequestEntityTooLarge, "the body has more than the %d bytes that are allowed", limit)
	}
	if err := opened.Close(); err != nil {
		return nil, unreadable(err)
	}
	return all.Bytes(), nil
}

// unreadable returns the error of a body that cannot be read. What comes from the body's own reader is passed on: only
// its owner knows what it means.
func unreadable(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.As(err, &corrupt), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum),
		errors.Is(err, zlib.ErrHeader), errors.Is(err, zlib.ErrChecksum), errors.Is(err, zlib.ErrDictionary):
		return invalid("the body is not in its content encoding: %v", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("the body ends too early")
	}
	return err
}

// AcceptedEncoding returns the encoding that an answer may have by a header Accept-Encoding: gzip, deflate, or "" for
// none. Of what the client likes equally gzip is taken.
func AcceptedEncoding(header string) string {
	best, weight := "", 0.0
	for part := range strings.SplitSeq(header, ",") {
		name, parameters, _ := strings.Cut(part, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		if name != Gzip && name != Deflate {
			continue
		}
		q := 1.0
		if value, ok := strings.CutPrefix(strings.TrimSpace(parameters), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(value, 64); err != nil || !(q >= 0 && q <= 1) {
				continue
			}
		}
		if q > weight || q == weight && q > 0 && name == Gzip {
			best, weight = name, q
		}
	}
	return best
}

// Compressor compresses bodies. It keeps what that needs, which is much for small bodies. It is safe for concurrent use;
// the zero value is ready.
type Compressor struct{ gzip, deflate sync.Pool }

// compressing is what both encodings have.
type compressing interface {
	io.WriteCloser
	Reset(to io.Writer)
}

// Compress appends body in an encoding, gzip or deflate, to dst.
func (c *Compressor) Compress(dst []byte, encoding string, body []byte) ([]byte, error) {
	var pool *sync.Pool
	var fresh func() (compressing, error)
	switch encoding {
	case Gzip:
		pool, fresh = &c.gzip, func() (compressing, error) { return gzip.NewWriterLevel(nil, flate.BestSpeed) }
	case Deflate:
		pool, fresh = &c.deflate, func() (compressing, error) { return zlib.NewWriterLevel(nil, flate.BestSpeed) }
	default:
		return nil, invalid("the content encoding %s is not supported", quoted(encoding))
	}
	w, ok := pool.Get().(compressing)
	if !ok {
		var err error
		if w, err = fresh(); err != nil {
			return nil, err
		}
	}
	defer pool.Put(w)
	out := bytes.NewBuffer(dst)
	w.Reset(out)
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
