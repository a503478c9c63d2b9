package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// The failures that have no cause of their own.
var (
	errOpen      = errors.New("the server is down, and is asked every second if it is well again")
	errTimeout   = errors.New("no answer within model.serve.timeout")
	errHalf      = errors.New("the connection ended before the answer did")
	errNotHTTP   = errors.New("the connection failed, or what came over it is not HTTP")
	errClosed    = errors.New("the client was closed")
	errTooLarge  = errors.New("the answer is larger than one for these rows can be")
	errEncoded   = errors.New("the answer is compressed, which was not asked for")
	errForbidden = errors.New("the server does not let us")
)

// invalid returns the error of an answer that is none.
func invalid(hint, format string, args ...any) *Error {
	return &Error{Class: Invalid, Err: fmt.Errorf(format, args...), Hint: hint}
}

// connectFault returns the error of a call that has brought no answer. Only causes that are known are told by their own text:
// package http quotes what the server has sent, which may be a part of a record.
func connectFault(ctx context.Context, err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok { // the address was refused, when it was dialled
		return known
	}
	e := &Error{Class: Unavailable, Err: errNotHTTP}
	var (
		dns     *net.DNSError
		number  syscall.Errno
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		cert    x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		op      *net.OpError
		record  tls.RecordHeaderError
		timeout net.Error
	)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Err = errTimeout
	case ctx.Err() != nil:
		e.Err = ctx.Err()
	case errors.Is(err, errClosed):
		e.Err = errClosed
	case errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &cert), errors.As(err, &verify):
		e.Class, e.Err = Forbidden, errors.New("the server's certificate is not believed")
		e.Hint = "name the authority that has signed it with model.serve.tls.ca_file; its names must have the host of the URL"
	case errors.As(err, &op) && op.Op == "remote error": // an alert of TLS, which has a fixed text and no type of its own
		e.Class, e.Err = Forbidden, fmt.Errorf("the server refuses the connection: %w", op.Err)
		e.Hint = "see if the server wants a client certificate: model.serve.tls.cert_file and key_file"
	case errors.As(err, &record):
		e.Class, e.Err = Forbidden, errors.New("the server does not speak TLS")
		e.Hint = "see if the URL should begin with http://"
	case errors.As(err, &dns):
		e.Err = errors.New("the host cannot be resolved")
		if dns.IsNotFound {
			e.Err = errors.New("there is no such host")
		}
	case errors.Is(err, errNoAddress):
		e.Err = errNoAddress
	case errors.As(err, &number):
		e.Err = number
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Err = errHalf
	case errors.As(err, &timeout) && timeout.Timeout():
		e.Err = errTimeout
	}
	return e
}

// statusFault returns the error of an answer whose status is not 200, without what the server says of it: that may hold values of
// records.
func statusFault(status int, header http.Header, now time.Time) *Error {
	err := fmt.Errorf("the server answers %d", status)
	if text := http.StatusText(status); text != "" {
		err = fmt.Errorf("the server answers %d (%s)", status, text)
	}
	e := &Error{Class: Refused, Err: err, Hint: "the server's log says what is wrong with the request"}
	switch {
	case status >= 300 && status < 400:
		e.Class, e.Hint = Forbidden, "redirects are not followed: write the address that it leads to in model.serve.url"
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		e.Class, e.Err, e.Hint = Forbidden, fmt.Errorf("%w: %w", errForbidden, err), "see what token or certificate the server wants: model.serve.token_file, model.serve.tls"
	}
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusGone, http.StatusLengthRequired,
		http.StatusUnsupportedMediaType, http.StatusUpgradeRequired, http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		e.Class, e.Hint = Invalid, "the server has no such model, or another protocol: compare model.serve.url, protocol, model and version with it"
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.Class, e.Hint, e.after = Unavailable, "", retryAfter(header.Get("Retry-After"), now)
		if status == http.StatusTooManyRequests { // it is well, and says when to come again, also where it leaves the header out
			e.after = max(e.after, minPause)
		}
	default:
		switch {
		case status >= 500:
			e.Class, e.Hint = Failed, "the server's log says what has failed"
		case status < 300:
			e.Class = Invalid
		}
	}
	return e
}

// maxRetryAfter is the longest that a server is left alone because it asks for it: it may be well again long before.
const maxRetryAfter = 10 * time.Second

// retryAfter reads the header of this name: seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}
