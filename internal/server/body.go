package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"
)

// pace is how fast a body has to come: each part of it has a time. So a large body may take long, and a slow one may not.
type pace struct {
	part int
	time time.Duration
}

func defaultPace() pace { return pace{part: 64 << 10, time: 5 * time.Second} }

// Body returns the body of a request, which was read before its handler ran. It belongs to the handler.
func Body(r *http.Request) []byte { return visitOf(r.Context()).body }

// MaxBody returns the limit of the body of a request in bytes, which also holds for what it uncompresses to.
func MaxBody(r *http.Request) int64 { return visitOf(r.Context()).maxBody }

// readBody reads the body before anything that is scarce is given to the request: a slow one holds its connection and nothing
// else. What it says of its own length is not believed before it is there.
func (s *Server) readBody(a *answer, r *http.Request, v *visit) *refusal {
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		r.Body = http.NoBody
		return nil
	}
	if r.ContentLength > v.maxBody {
		return tooLarge(v.maxBody)
	}
	if !v.route.Light && len(s.slots) == cap(s.slots) {
		return busy() // now and not after the body was sent
	}
	came := awaitBody(r)
	f := s.fill(a, r, v)
	came()
	if f != nil {
		return f
	}
	_ = a.control.SetReadDeadline(time.Time{}) // what is read now only tells whether the client is there
	r.Body = &again{body: v.body}
	return nil
}

// fill reads the body into the visit.
func (s *Server) fill(a *answer, r *http.Request, v *visit) *refusal {
	_ = a.control.SetWriteDeadline(time.Now().Add(takeTime)) // of 100 Continue
	for due := 0; ; {
		if len(v.body) >= due {
			_ = a.control.SetReadDeadline(time.Now().Add(s.pace.time)) // where there is none, nothing is read from a network
			due = len(v.body) + s.pace.part
		}
		if len(v.body) == cap(v.body) && !s.grow(r, v) {
			return busy()
		}
		n, err := r.Body.Read(v.body[len(v.body):cap(v.body)])
		v.body = v.body[:len(v.body)+n]
		switch {
		case int64(len(v.body)) > v.maxBody:
			return tooLarge(v.maxBody)
		case err == io.EOF:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return &refusal{status: http.StatusRequestTimeout, message: "the body comes too slowly"}
		case err != nil:
			return &refusal{status: http.StatusBadRequest, message: "the body ends before its end"}
		}
	}
}

// grow makes room for more of the body, up to one byte more than it may have; there is none where the bodies of all requests
// have it.
func (s *Server) grow(r *http.Request, v *visit) bool {
	size := int64(max(2*cap(v.body), 512))
	if r.ContentLength > 0 && cap(v.body) == 0 {
		size = min(r.ContentLength, int64(s.pace.part)) + 1 // with room to find its end
	}
	size = min(size, v.maxBody+1)
	if s.held.Add(size-v.held) > bodiesHeld*s.o.Limits.Body {
		s.held.Add(v.held - size)
		return false
	}
	v.held = size
	v.body = slices.Grow(v.body, int(size)-len(v.body))
	return true
}

func tooLarge(most int64) *refusal {
	if most == 0 {
		return &refusal{status: http.StatusRequestEntityTooLarge, message: "the request has a body: send it without one"}
	}
	return &refusal{status: http.StatusRequestEntityTooLarge, message: fmt.Sprintf("the body has more than %d bytes", most)}
}

// again gives the body to a handler that reads it.
type again struct {
	body []byte
	at   int
}

// Read reads the next bytes.
func (b *again) Read(p []byte) (int, error) {
	if b.at == len(b.body) {
		return 0, io.EOF
	}
	n := copy(p, b.body[b.at:])
	b.at += n
	return n, nil
}

// Close does nothing.
func (*again) Close() error { return nil }
