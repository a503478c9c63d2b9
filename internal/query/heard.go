package query

import (
	"bytes"
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
)

// maxPeerBytes is how long the answer of another instance may be.
const maxPeerBytes = 64 << 20

// decodePeer reads what another instance answers of partitions that it was asked for.
func decodePeer(resp *http.Response, q *ask, partitions []int32) (*result, error) {
	if resp.StatusCode/100 == 3 {
		return nil, fmt.Errorf("it sends on to another place, with status %d, where nobody follows: its address has to be its own", resp.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxPeerBytes+1))
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, silence(err)
	case err != nil:
		return nil, fmt.Errorf("its answer breaks off: %w", err)
	case len(b) > maxPeerBytes:
		return nil, fmt.Errorf("its answer is longer than %d MiB: ask for fewer partitions, or for one key", maxPeerBytes>>20)
	}
	var out struct {
		Answer

		Error string `json:"error"`
	}
	if err := json.Unmarshal(b, &out); err != nil {
		if bytes.Contains(b, []byte("HTTP request to an HTTPS server")) { // as package net/http says
			return nil, errors.New("it speaks TLS, and its address does not say so: its query.advertise has to begin with https://")
		}
		return nil, fmt.Errorf("it answers with status %d what is no answer: is it an instance of the application?", resp.StatusCode)
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return nil, fmt.Errorf("it answers with status %d: %.200s: it has to take what this instance takes, and for who comes without a token the certificate of this instance",
			resp.StatusCode, out.Error)
	case resp.StatusCode == http.StatusMisdirectedRequest && len(out.Missing) > 0:
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers with status %d: %.200s", resp.StatusCode, out.Error)
	}
	res := &result{rows: out.Rows, parts: out.Partitions, missing: out.Missing}
	if resp.StatusCode == http.StatusOK && out.Store != q.store.spec.Name || !res.isOf(partitions, q.limit) {
		return nil, errors.New("it answers what it was not asked")
	}
	return res, nil
}

// isOf tells whether a result says of each of some partitions once what is there, and of no other.
func (r *result) isOf(partitions []int32, limit int) bool {
	left, rows := map[int32]int{}, map[int32]int{} // how many times a partition may be told, and how many rows of it
	for _, p := range partitions {
		left[p] = 1
	}
	for _, p := range r.parts {
		left[p.Partition]--
		rows[p.Partition] = limit
	}
	for _, m := range r.missing {
		left[m.Partition]--
	}
	for i := range r.rows {
		p := r.rows[i].Partition
		if rows[p]--; rows[p] < 0 {
			return false
		}
	}
	for _, n := range left {
		if n != 0 {
			return false
		}
	}
	return true
}

// silence says why an instance did not answer, and what to do about it.
func silence(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // which does not repeat what is asked for
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("it does not answer in time")
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return errors.New("it does not speak TLS, and its address says so: its query.advertise has to begin with http://")
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("its certificate is not trusted: add the authority that signed it to query.ca_file (in Go, to Query.Transport): %w", e)
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Errorf("its certificate is not for its address: query.advertise has to have a name that is in it: %w", e)
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("its certificate is not valid: renew it: %w", e.Err)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" { // an alert of TLS
		return fmt.Errorf("it refuses the connection: an authority of its query.tls.client_ca_file has to have signed the certificate of query.tls here: %w", e.Err)
	}
	return fmt.Errorf("it does not answer: %w", err)
}
