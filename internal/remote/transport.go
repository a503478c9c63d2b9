package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// outside is what a client needs of the world; tests have another one.
type outside struct {
	look    lookup
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	environ func(name string) string
}

func theWorld() outside {
	d := &net.Dialer{KeepAlive: 15 * time.Second}
	return outside{look: net.DefaultResolver.LookupNetIP, dial: d.DialContext, environ: os.Getenv}
}

// transport makes calls to one place, and to no other: it follows no redirect, asks no proxy and keeps no cookie.
type transport struct {
	place   place
	allowed allowed
	out     outside
	o       *Options
	grpc    bool
	sign    func(*http.Request, []byte) // adds what says who calls; nil is nothing

	mu      sync.Mutex
	current *http.Transport
	files   stamps    // of the files that current was made with
	looked  time.Time // when files were last looked at
	closed  bool
}

// reply is an answer of status 200, read to its end.
type reply struct {
	header http.Header
	body   []byte
}

const (
	maxHeader    = 64 << 10
	maxDrain     = 16 << 10         // of an answer that is not read, so that its connection can be used again
	idleTimeout  = 30 * time.Second // after which a connection is closed, and the name resolved again for the next one
	fileInterval = 10 * time.Second // between looks at the files of TLS
)

// post makes a call and returns the answer. path goes behind that of the place; limit bounds the answer's body.
func (t *transport) post(ctx context.Context, path string, header http.Header, body []byte, limit int64) (*reply, *Error) {
	return t.do(ctx, http.MethodPost, path, header, body, limit)
}

func (t *transport) do(ctx context.Context, method, path string, header http.Header, body []byte, limit int64) (*reply, *Error) {
	req, err := http.NewRequestWithContext(ctx, method, t.place.String()+path, bytes.NewReader(body))
	if err != nil {
		return nil, invalid("see model.serve.model and model.serve.version", "the path of the request cannot be written")
	}
	maps.Copy(req.Header, header)
	if fault := t.authorize(req, body); fault != nil {
		return nil, fault
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return nil, connectFault(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // what was read is checked, and nothing was written
	if resp.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrain) // what it says is not used
		return nil, statusFault(resp.StatusCode, resp.Header, t.o.Now())
	}
	return readReply(ctx, resp, limit)
}

// authorize adds who calls, and what goes with each request.
func (t *transport) authorize(req *http.Request, body []byte) *Error {
	req.Header.Set("User-Agent", "millrace")
	// To predict twice does no harm: the transport may send again what went over a connection that the server was about to close.
	req.Header["Idempotency-Key"] = nil
	if t.sign != nil {
		t.sign(req, body)
	}
	if t.o.Token == nil {
		return nil
	}
	token, err := t.o.Token()
	if err != nil {
		return &Error{Class: Forbidden, Err: fmt.Errorf("the token cannot be read: %w", err), Hint: "see model.serve.token_file"}
	}
	for _, c := range []byte(token.Reveal()) {
		if c <= ' ' || c >= 0x7f {
			return &Error{Class: Forbidden, Err: errors.New("the token has a character that no token has"), Hint: "model.serve.token_file must hold the token and nothing else"}
		}
	}
	if token.IsZero() {
		return &Error{Class: Forbidden, Err: errors.New("the token is empty"), Hint: "see model.serve.token_file"}
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	return nil
}

// readReply reads a body, and no more of it than one for these rows can have.
func readReply(ctx context.Context, resp *http.Response, limit int64) (*reply, *Error) {
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, invalid("see what stands between this machine and the server", "%w", errEncoded)
	}
	if resp.ContentLength > limit {
		return nil, invalid("", "%w", errTooLarge)
	}
	var body bytes.Buffer
	if resp.ContentLength > 0 {
		body.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	n, err := body.ReadFrom(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		fault := connectFault(ctx, err)
		if errors.Is(fault.Err, errNotHTTP) {
			fault.Err = errHalf
		}
		return nil, fault
	case n > limit:
		return nil, invalid("", "%w", errTooLarge)
	}
	return &reply{header: resp.Header, body: body.Bytes()}, nil
}

// RoundTrip makes one request. It is what the client of gRPC uses, too.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	rt, err := t.connections()
	if err != nil {
		return nil, err
	}
	return rt.RoundTrip(req)
}

// connections returns what holds the connections: another one, once the files of TLS have changed.
func (t *transport) connections() (*http.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.o.Now()
	switch {
	case t.closed:
		return nil, errClosed
	case t.current != nil && (t.o.TLS == TLS{} || now.Sub(t.looked) < fileInterval):
		return t.current, nil
	}
	t.looked = now
	files := stampsOf(t.o.TLS)
	if t.current != nil && files == t.files {
		return t.current, nil
	}
	config, err := tlsConfig(t.o.TLS)
	if err != nil {
		if t.current != nil { // files that are being written: what was read before is good until they are whole
			return t.current, nil
		}
		return nil, err
	}
	old := t.current
	t.current, t.files = t.newTransport(config), files
	if old != nil {
		old.CloseIdleConnections()
	}
	return t.current, nil
}

func (t *transport) newTransport(config *tls.Config) *http.Transport {
	protocols := new(http.Protocols)
	switch {
	case !t.grpc:
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(true)
	case t.place.scheme == "https":
		protocols.SetHTTP2(true)
	default:
		protocols.SetUnencryptedHTTP2(true)
	}
	return &http.Transport{
		DialContext: t.dial, TLSClientConfig: config, Protocols: protocols,
		MaxConnsPerHost: t.o.Connections, MaxIdleConnsPerHost: t.o.Connections, IdleConnTimeout: idleTimeout,
		TLSHandshakeTimeout: t.o.Timeout, ResponseHeaderTimeout: t.o.Timeout, MaxResponseHeaderBytes: maxHeader,
		DisableCompression: true,
		// Streams of HTTP/2 that time out leave their connection as it is: pings find out that nobody is there any more.
		HTTP2: &http.HTTP2Config{SendPingTimeout: time.Second, PingTimeout: time.Second},
	}
}

// dial connects to an address that was checked, whatever the name resolves to a moment later.
func (t *transport) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.o.Timeout) // the transport goes on with a dial whose request has ended
	defer cancel()
	addrs, err := t.allowed.resolve(ctx, &t.place, t.out.look)
	if err != nil {
		return nil, err
	}
	for i, addr := range addrs {
		var conn net.Conn
		if conn, err = t.dialOne(ctx, network, addr.String(), len(addrs)-i); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// dialOne gives an address its share of the time that is left, so that one that swallows packets leaves some for the others.
func (t *transport) dialOne(ctx context.Context, network, addr string, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	return t.out.dial(ctx, network, addr)
}

// close lets go of all connections; calls under way are ended by their contexts.
func (t *transport) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.current != nil {
		t.current.CloseIdleConnections()
	}
}

// stamps tell whether files have changed.
type stamps [3]struct {
	size int64
	at   time.Time
}

func stampsOf(files TLS) (s stamps) {
	for i, name := range []string{files.CAFile, files.CertFile, files.KeyFile} {
		if info, err := os.Stat(name); name != "" && err == nil {
			s[i].size, s[i].at = info.Size(), info.ModTime()
		}
	}
	return s
}

// tlsConfig reads the files of TLS.
func tlsConfig(files TLS) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if files.CAFile != "" {
		pem, err := os.ReadFile(files.CAFile)
		if err != nil {
			return nil, &Error{Class: Forbidden, Err: fmt.Errorf("the authorities cannot be read: %w", err), Hint: "see model.serve.tls.ca_file"}
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &Error{Class: Forbidden, Err: fmt.Errorf("%s has no certificate in PEM", files.CAFile), Hint: "see model.serve.tls.ca_file"}
		}
	}
	if files.CertFile != "" || files.KeyFile != "" {
		cert, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
		if err != nil {
			return nil, &Error{Class: Forbidden, Err: fmt.Errorf("the client's certificate cannot be read: %w", err), Hint: "see model.serve.tls.cert_file and key_file"}
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return config, nil
}
