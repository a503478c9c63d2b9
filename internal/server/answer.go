package server

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer is a response that is counted, and that a client has to take: from when a part of it is written, the client has a
// time for it that goes by its size.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int // 0: none was written
	refused int // what the status would be if the answer were not one of gRPC
	bytes   int64
}

// Pace at which a client has to take an answer.
const (
	takeTime = 5 * time.Second
	takeRate = 64 << 10 // bytes a second, beyond that time
)

func (a *answer) await(n int) {
	_ = a.control.SetWriteDeadline(time.Now().Add(takeTime + time.Duration(n)*time.Second/takeRate)) // where there is none, nothing is written to a network
}

// WriteHeader writes the status.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
		a.await(0)
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write writes a part of the body.
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	a.await(len(b))
	n, err := a.ResponseWriter.Write(b)
	a.bytes += int64(n)
	return n, err
}

// Flush sends what was written.
func (a *answer) Flush() {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	_ = a.control.Flush() // the next write fails too
}

// Unwrap returns the response, for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// reported returns the status for people: of an answer of gRPC, what the server meant.
func (a *answer) reported() int {
	switch {
	case a.refused != 0:
		return a.refused
	case a.status == 0:
		return http.StatusOK // of a handler that wrote nothing
	default:
		return a.status
	}
}

// grpcStatus returns the status of an answer of gRPC, which is in its trailer, or "".
func (a *answer) grpcStatus() string {
	h := a.Header()
	for _, key := range []string{"Grpc-Status", http.TrailerPrefix + "Grpc-Status"} {
		if code := h.Get(key); code != "" {
			return code
		}
	}
	return ""
}

// Error answers a request with an error: {"error": message} as JSON, or for a request of gRPC a status of gRPC. Answers with 429
// and 503 say that the request can be sent again after a second, unless Retry-After is set already.
func Error(w http.ResponseWriter, r *http.Request, status int, message string) {
	h := w.Header()
	if (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	if a, ok := w.(*answer); ok {
		a.refused = status
	}
	if kind := grpcKind(r); kind != "" {
		h.Set("Content-Type", kind)
		h.Set("Grpc-Status", strconv.Itoa(grpcCode(status)))
		h.Set("Grpc-Message", grpcMessage(message))
		w.WriteHeader(http.StatusOK)
		return
	}
	h.Set("Content-Type", "application/json")
	b, err := json.Marshal(struct {
		Error string `json:"error"`
	}{message})
	if err != nil {
		panic("server: a text that JSON cannot hold: " + err.Error())
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the client is gone
}

// grpcKind returns the content type of an answer where a request is one of gRPC, else "".
func grpcKind(r *http.Request) string {
	kind := r.Header.Get("Content-Type")
	switch {
	case strings.HasPrefix(kind, "application/grpc-web"):
		return "application/grpc-web+proto"
	case kind == "application/grpc", strings.HasPrefix(kind, "application/grpc+"), strings.HasPrefix(kind, "application/grpc;"):
		return "application/grpc"
	default:
		return ""
	}
}

// grpcCode returns the code of gRPC that says what a status of HTTP says.
func grpcCode(status int) int {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return 3 // invalid argument
	case http.StatusUnauthorized:
		return 16 // unauthenticated
	case http.StatusForbidden, http.StatusMisdirectedRequest:
		return 7 // permission denied
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return 12 // unimplemented: of a procedure. That there is no such model the handler says itself
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return 8 // resource exhausted
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return 4 // deadline exceeded
	case http.StatusServiceUnavailable:
		return 14 // unavailable
	case http.StatusInternalServerError:
		return 13 // internal
	default:
		return 2 // unknown
	}
}

// grpcMessage writes a text as the header has it: percent signs stand before bytes that are not printable ASCII.
func grpcMessage(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// seconds returns a time as Retry-After has it, at least 1.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}
