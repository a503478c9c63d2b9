package api

import (
	"net/http"

	"millrace.dev/internal/server"
)

// mostUnpacked is how many requests whose bodies are compressed are worked on at a time. The server bounds the memory of bodies
// as they come, and a body can become a thousand times as large; more of them than this wait.
const mostUnpacked = 16

// unpackers are places for requests whose bodies are compressed.
type unpackers chan struct{}

// wrap has a handler wait for a place where the body of a request is compressed, over HTTP or in a message of gRPC.
func (u unpackers) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if packed(r.Header.Get("Content-Encoding")) || packed(r.Header.Get("Grpc-Encoding")) {
			select {
			case u <- struct{}{}:
				defer func() { <-u }()
			case <-r.Context().Done():
				server.Error(w, r, http.StatusServiceUnavailable, "too many compressed requests are worked on: send it again later, or without compression")
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

func packed(encoding string) bool { return encoding != "" && encoding != "identity" }
