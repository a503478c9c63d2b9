// Package fakes3 is a server for tests that speaks as much of S3 as package objects asks for, keeps everything in
// memory, and fails on demand in the ways of a network: answers that get lost, requests that never arrive, errors after
// the work was done. It checks no signatures.
package fakes3

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is how a request fails.
type Fault int

// The faults.
const (
	// None lets the request pass.
	None Fault = iota
	// Drop cuts the connection before anything is done.
	Drop
	// Lose does the work, and cuts the connection instead of answering.
	Lose
	// Busy answers 503 before anything is done.
	Busy
	// Broken does the work, and answers 500.
	Broken
	// Conflict answers 409, as for a write beside another of the same name, before anything is done. Another request is Busy.
	Conflict
	// Half sends the head of the answer and half of its body, and cuts the connection.
	Half
	// Stall does nothing, and answers nothing, until the client goes away.
	Stall
	// Stuck sends the head of the answer and half of its body, and then nothing until the client goes away.
	Stuck
)

// Faults returns every fault that is over by itself.
func Faults() []Fault { return []Fault{Drop, Lose, Busy, Broken, Conflict, Half} }

// String names f for messages.
func (f Fault) String() string {
	return [...]string{"none", "drop", "lose", "busy", "broken", "conflict", "half", "stall", "stuck"}[f]
}

// Options change what the server does.
type Options struct {
	// Fault says how a request fails, given its number from 0. Default: none does.
	Fault func(n int, r *http.Request) Fault
	// Overwrites makes the server ignore the condition of a write, as old servers do.
	Overwrites bool
	// PageSize is the most names of one answer to a list. Default: 1000.
	PageSize int
	// Denies makes the server answer every request with 403 and this code.
	Denies string
}

// Server is a running server with one bucket. Its methods are safe for concurrent use.
type Server struct {
	bucket string
	http   *httptest.Server

	mu       sync.Mutex
	options  Options
	requests int
	objects  map[string]object
}

type object struct {
	data []byte
	time time.Time
}

// Start starts a server with an empty bucket, on a free port of the loopback interface. Close ends it.
func Start(bucket string, o Options) *Server {
	s := &Server{bucket: bucket, options: o, objects: map[string]object{}}
	s.http = httptest.NewServer(s)
	return s
}

// Close ends the server.
func (s *Server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// URL returns the endpoint.
func (s *Server) URL() string { return s.http.URL }

// Location returns the location of a store below a prefix of the bucket.
func (s *Server) Location(prefix string) string {
	return fmt.Sprintf("s3://%s/%s?endpoint=%s&region=us-east-1", s.bucket, prefix, s.URL())
}

// Set changes the options, and counts the requests from 0 again.
func (s *Server) Set(o Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options, s.requests = o, 0
}

// Requests returns how many requests there were since the last [Server.Set].
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Keys returns the names of the objects, sorted.
func (s *Server) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for k := range s.objects {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Put makes an object hold data, whether or not there is one; nil removes it. It stands for whoever has the right to.
func (s *Server) Put(key string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data == nil {
		delete(s.objects, key)
		return
	}
	s.objects[key] = object{data, time.Now()}
}

// Get returns what an object holds, nil if there is none.
func (s *Server) Get(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[key].data
}

// Age makes an object older.
func (s *Server) Age(key string, by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[key]
	o.time = o.time.Add(-by)
	s.objects[key] = o
}

// answer is what is sent back.
type answer struct {
	status int
	head   http.Header
	body   []byte
}

func failure(status int, code string) answer {
	return answer{status: status, body: fmt.Appendf(nil, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>said by the test's server</Message></Error>", code)}
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone away
	}
	s.mu.Lock()
	o, n := s.options, s.requests
	s.requests++
	s.mu.Unlock()
	fault := None
	if o.Fault != nil {
		fault = o.Fault(n, r)
	}
	if fault == Conflict && r.Method != http.MethodPut {
		fault = Busy
	}
	var a answer
	switch fault {
	case Stall:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case Drop:
		panic(http.ErrAbortHandler)
	case Busy:
		a = failure(http.StatusServiceUnavailable, "SlowDown")
	case Conflict:
		a = failure(http.StatusConflict, "ConditionalRequestConflict")
	default:
		a = s.handle(o, r, body)
	}
	switch fault {
	case Lose:
		panic(http.ErrAbortHandler)
	case Broken:
		a = failure(http.StatusInternalServerError, "InternalError")
	default:
	}
	maps.Copy(w.Header(), a.head)
	if r.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if r.Method == http.MethodHead {
		return
	}
	if fault == Half || fault == Stuck {
		_, _ = w.Write(a.body[:len(a.body)/2])
		if f, ok := w.(http.Flusher); ok && fault == Stuck {
			f.Flush()
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(a.body) // the client may have gone away
}

func (s *Server) handle(o Options, r *http.Request, body []byte) answer {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case o.Denies != "":
		return failure(http.StatusForbidden, o.Denies)
	case r.Header.Get("Authorization") == "":
		return failure(http.StatusForbidden, "AccessDenied")
	case bucket != s.bucket:
		return failure(http.StatusNotFound, "NoSuchBucket")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if key == "" {
		if r.Method == http.MethodGet && r.URL.Query().Get("list-type") == "2" {
			return s.list(o, r)
		}
		return failure(http.StatusNotImplemented, "NotImplemented")
	}
	old, ok := s.objects[key]
	switch r.Method {
	case http.MethodPut:
		sum := sha256.Sum256(body)
		if r.Header.Get("X-Amz-Content-Sha256") != hex.EncodeToString(sum[:]) {
			return failure(http.StatusBadRequest, "XAmzContentSHA256Mismatch")
		}
		if ok && r.Header.Get("If-None-Match") == "*" && !o.Overwrites {
			return failure(http.StatusPreconditionFailed, "PreconditionFailed")
		}
		s.objects[key] = object{body, time.Now()}
		return answer{status: http.StatusOK, head: head(body, time.Now())}
	case http.MethodDelete:
		delete(s.objects, key)
		return answer{status: http.StatusNoContent}
	case http.MethodGet, http.MethodHead:
		if !ok {
			return failure(http.StatusNotFound, "NoSuchKey")
		}
		h := head(old.data, old.time)
		if r.Method == http.MethodHead {
			h.Set("Content-Length", strconv.Itoa(len(old.data)))
		}
		return answer{status: http.StatusOK, head: h, body: old.data}
	default:
		return failure(http.StatusNotImplemented, "NotImplemented")
	}
}

func head(data []byte, at time.Time) http.Header {
	return http.Header{
		"Etag":          {fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(data))[:32])},
		"Last-Modified": {at.UTC().Format(http.TimeFormat)},
	}
}

// list answers a page of a list. The token of the next page is the last key of this one.
func (s *Server) list(o Options, r *http.Request) answer {
	pageSize := cmp.Or(o.PageSize, 1000)
	q := r.URL.Query()
	after := max(q.Get("start-after"), q.Get("continuation-token"))
	var keys []string
	for k := range s.objects {
		if strings.HasPrefix(k, q.Get("prefix")) && k > after {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	type content struct {
		Key  string `xml:"Key"`
		Size int    `xml:"Size"`
		ETag string `xml:"ETag"`
	}
	page := struct {
		XMLName   xml.Name  `xml:"ListBucketResult"`
		Name      string    `xml:"Name"`
		Prefix    string    `xml:"Prefix"`
		Truncated bool      `xml:"IsTruncated"`
		Next      string    `xml:"NextContinuationToken,omitempty"`
		Contents  []content `xml:"Contents"`
	}{Name: s.bucket, Prefix: q.Get("prefix"), Truncated: len(keys) > pageSize}
	for _, k := range keys[:min(len(keys), pageSize)] {
		page.Contents = append(page.Contents, content{Key: k, Size: len(s.objects[k].data), ETag: `"x"`})
		if page.Truncated {
			page.Next = k
		}
	}
	body, err := xml.Marshal(page)
	if err != nil {
		return failure(http.StatusInternalServerError, "InternalError")
	}
	return answer{status: http.StatusOK, head: http.Header{"Content-Type": {"application/xml"}}, body: body}
}
