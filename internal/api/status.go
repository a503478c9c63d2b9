package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"millrace.dev/internal/oip"
	"millrace.dev/internal/serve"
	"millrace.dev/internal/server"
)

// statusGone is what is logged of a request whose client has gone: no client sees it.
const statusGone = 499

// Status returns how an error of package serve is answered: the status of HTTP, and the text.
func Status(err error) (status int, text string) {
	if load, ok := errors.AsType[*serve.LoadError](err); ok { // what is in it of the registry is not for clients
		return http.StatusServiceUnavailable, load.Public()
	}
	for _, known := range []struct {
		err    error
		status int
	}{
		{serve.ErrUnknownModel, http.StatusNotFound},
		{serve.ErrUnknownVersion, http.StatusNotFound},
		{serve.ErrNotReady, http.StatusServiceUnavailable},
		{serve.ErrBusy, http.StatusServiceUnavailable},
		{serve.ErrDraining, http.StatusServiceUnavailable},
		{serve.ErrWindows, http.StatusNotImplemented},
	} {
		if errors.Is(err, known.err) {
			return known.status, err.Error()
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable, "the request was not answered within its time limit"
	case errors.Is(err, context.Canceled):
		return statusGone, "the client has gone"
	}
	return http.StatusInternalServerError, "the server has failed: its log says why"
}

// statusOf is Status for the errors of this package and of a protocol too.
func statusOf(err error) (status int, text string) {
	if own, ok := errors.AsType[*refusal](err); ok {
		return own.status, own.Error()
	}
	if of, ok := errors.AsType[*oip.Error](err); ok {
		return of.Status, of.Message
	}
	return Status(err)
}

// retryAfter returns the header Retry-After of an answer with an error, in seconds; "" is none.
func retryAfter(status int, err error) string {
	if busy, ok := errors.AsType[*serve.BusyError](err); ok {
		return strconv.Itoa(int(max(1, (busy.RetryAfter+time.Second-1)/time.Second)))
	}
	if status == http.StatusServiceUnavailable {
		return "1"
	}
	return ""
}

// refuse answers with an error.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, text := statusOf(err)
	if after := retryAfter(status, err); after != "" {
		w.Header().Set("Retry-After", after)
	}
	if status == http.StatusInternalServerError {
		a.log.LogAttrs(r.Context(), slog.LevelError, "a request has failed", slog.String("request_id", server.RequestID(r.Context())), slog.Any("error", err))
	}
	server.Error(w, r, status, text)
}

// send answers with a body, compressed where the client takes that and it is worth it.
func (a *API) send(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	h := w.Header()
	h.Add("Vary", "Accept-Encoding")
	if encoding := oip.AcceptedEncoding(r.Header.Get("Accept-Encoding")); encoding != "" && len(body) >= leastCompressed {
		packed, err := a.compressor.Compress(nil, encoding, body)
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		h.Set("Content-Encoding", encoding)
		body = packed
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // nobody to tell
}
