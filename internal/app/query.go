package app

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/query"
)

// queryTokenVariable names the variable of the environment that has the token of who asks.
const queryTokenVariable = "MILLRACE_TOKEN"

// QueryOptions say what to ask of an instance that runs.
type QueryOptions struct {
	File      string   // the pipeline file, for the address of the instance where Server is ""
	Set       []string // overrides of it
	Server    string   // the URL of an instance
	TokenFile string   // that has the bearer token; "" is that of $MILLRACE_TOKEN
	CAFile    string   // of the instance's certificate; "" is that of the pipeline file where Server is "", else the authorities of the system
	CertFile  string   // the certificate to show, with KeyFile; "" is none
	KeyFile   string
	Store     string
	Key       *string // nil: of all keys
	Bytes     bool    // Key is the bytes of a key, in base64
	From, To  *string // keys, the first included and the second not
	Start     *string // windows from this start on
	End       *string // up to and including this start
	At        *string // windows that hold this time
	Partition string  // numbers with commas between; "" is that of the key, or all
	Limit     int     // rows, in all
	After     string  // go on from there
	Partial   bool    // leave out what cannot be read now
}

// QueryStores returns the stores of the application of an instance.
func (a *App) QueryStores(ctx context.Context, o QueryOptions) (*query.Stores, error) {
	c, err := a.querier(&o)
	if err != nil {
		return nil, err
	}
	var out query.Stores
	return &out, c.get(ctx, c.base.JoinPath("v1", "stores"), &out)
}

// QueryRows returns rows of a store.
func (a *App) QueryRows(ctx context.Context, o QueryOptions) (*query.Answer, error) {
	c, err := a.querier(&o)
	if err != nil {
		return nil, err
	}
	v := url.Values{}
	set := func(name string, value *string) {
		if value != nil {
			v.Set(name, *value)
		}
	}
	key := "key"
	if o.Bytes {
		key = "key_base64"
	}
	for name, value := range map[string]*string{key: o.Key, "from": o.From, "to": o.To, "window_start_from": o.Start, "window_start_to": o.End, "window_at": o.At} {
		set(name, value)
	}
	if o.Partition != "" {
		v.Set("partition", o.Partition)
	}
	if o.Partial {
		v.Set("partial", "true")
	}
	all := &query.Answer{}
	var parts []query.Part
	var missing []query.Missing
	for next := o.After; ; next = all.Next {
		if next != "" {
			v.Set("after", next)
		}
		v.Set("limit", strconv.Itoa(min(o.Limit-len(all.Rows), query.MaxLimit)))
		u := c.base.JoinPath("v1", "stores", url.PathEscape(o.Store), "rows")
		u.RawQuery = v.Encode()
		var page query.Answer
		if err := c.get(ctx, u, &page); err != nil {
			return nil, err
		}
		rows := append(all.Rows, page.Rows...) //nolint:gocritic // they are put back
		// What a page misses is missing of all, although the next page may have rows of it; and the rows are as of the commit of the first
		// page, or of a later one.
		parts, missing = merge(parts, page.Partitions, ofPart), merge(missing, page.Missing, ofMissing)
		*all = page
		all.Partitions, all.Missing = parts, missing
		if all.Rows = rows; all.Next == "" || len(rows) >= o.Limit {
			return all, nil
		}
	}
}

func ofPart(p query.Part) int32       { return p.Partition }
func ofMissing(m query.Missing) int32 { return m.Partition }

// merge returns what there was, and what has come for partitions that were not there, in their order.
func merge[T any](all, more []T, partition func(T) int32) []T {
	for _, x := range more {
		i, there := slices.BinarySearchFunc(all, partition(x), func(y T, p int32) int { return cmp.Compare(partition(y), p) })
		if !there {
			all = slices.Insert(all, i, x)
		}
	}
	return all
}

// querier asks an instance.
type querier struct {
	base   *url.URL
	token  string
	client *http.Client
}

func (a *App) querier(o *QueryOptions) (*querier, error) {
	server := o.Server
	if server == "" {
		p, err := a.Load(o.File, o.Set)
		if err != nil {
			return nil, err
		}
		if p.Query.HTTP == "" {
			return nil, &Error{Code: Usage, Op: "query", Where: o.File, Err: errors.New("it does not say where queries are answered"), Hint: "set query.http, or name an instance: --server URL"}
		}
		if o.CAFile == "" {
			o.CAFile = p.Query.CAFile
		}
		scheme := "http://"
		if p.Query.TLS.CertFile != "" {
			scheme = "https://"
		}
		if server = p.Query.Advertise; server == "" {
			server = scheme + p.Query.HTTP
		}
		if strings.HasPrefix(p.Query.HTTP, ":") && p.Query.Advertise == "" {
			server = scheme + "localhost" + p.Query.HTTP
		}
	}
	base, err := query.ParseAddress(server)
	if err != nil {
		return nil, &Error{Code: Usage, Op: "query", Where: server, Err: err}
	}
	c := &querier{base: base}
	c.token, _ = a.Env(queryTokenVariable)
	if o.TokenFile != "" {
		b, err := os.ReadFile(o.TokenFile)
		if err != nil {
			return nil, fileError("read token", o.TokenFile, err, "")
		}
		c.token = string(b)
	}
	c.token = strings.TrimSpace(c.token)
	if c.token != "" && base.Scheme == "http" && !loopback(base.Hostname()) {
		return nil, &Error{
			Code: Usage, Op: "query", Where: server, Err: errors.New("whoever listens in could read the token: the connection is not encrypted"),
			Hint: "use https, or ask on the machine of the instance",
		}
	}
	if o.CertFile != "" || o.KeyFile != "" {
		if _, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile); err != nil {
			return nil, &Error{Code: Usage, Op: "read certificate", Where: o.CertFile, Err: err, Hint: "give --cert-file and --key-file, which belong together"}
		}
	}
	t, err := query.NewTransport(o.CAFile, o.CertFile, o.KeyFile)
	if err != nil {
		return nil, certificateFault(o.CAFile, err)
	}
	t.Proxy = http.ProxyFromEnvironment
	c.client = &http.Client{Transport: t, Timeout: queryTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// queryTime is how long an answer may take: longer than the longest query.limits.timeout.
const queryTime = 11 * time.Minute

// certificateFault says why the certificates of a file cannot be had.
func certificateFault(file string, err error) error {
	if errors.Is(err, query.ErrNoCertificate) {
		return &Error{Code: Usage, Op: "read certificate", Where: file, Err: err}
	}
	return fileError("read certificate", file, err, "")
}

// maxQueryAnswer is how long an answer may be.
const maxQueryAnswer = 256 << 20

// silenceHint says what to do where an instance does not answer. secure says that it was asked by TLS.
func silenceHint(err error, secure bool) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "name the file of the authority that signed its certificate: --ca-file FILE"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "name it with --server by a name that is in its certificate, which has to be valid"
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return "it does not speak TLS: name it with --server http://"
	}
	e, ok := errors.AsType[*net.OpError](err)
	slow, isNet := errors.AsType[net.Error](err)
	switch {
	case ok && e.Op == "dial", isNet && slow.Timeout():
	case secure, ok && e.Op == "remote error": // an alert of TLS, or the connection was closed before that was read: a request does not wait for it
		return "if it wants to see a certificate: --cert-file FILE --key-file FILE"
	}
	return "is an instance running there that answers queries? Name one with --server URL"
}

// get asks for what u names.
func (c *querier) get(ctx context.Context, u *url.URL, into any) error {
	fault := func(code Code, hint string, err error) error {
		return &Error{Code: code, Op: "query", Where: c.base.String(), Err: err, Hint: hint}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fault(Usage, "", err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the place is told already
		}
		return fault(Failed, silenceHint(err, c.base.Scheme == "https"), err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxQueryAnswer))
	if err != nil {
		return fault(Failed, "", err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(b, into); err != nil {
			return fault(Failed, "", errors.New("it answers what is no answer to a query"))
		}
		return nil
	}
	var f query.Fault
	if json.Unmarshal(b, &f) != nil || f.Error == "" {
		if c.base.Scheme == "http" && bytes.Contains(b, []byte("HTTP request to an HTTPS server")) { // as package net/http says
			return fault(Usage, "name it with https://", errors.New("it speaks TLS"))
		}
		return fault(Failed, "", fmt.Errorf("it answers with status %d", resp.StatusCode))
	}
	switch err := errors.New(f.Error); resp.StatusCode {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed:
		return fault(Usage, "", err)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault(Usage, "a token with the role reader is needed: --token-file FILE, or $"+queryTokenVariable, err)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusMisdirectedRequest:
		return fault(Failed, "try again in a moment; --partial shows what can be read now", err)
	default:
		return fault(Failed, "", err)
	}
}
