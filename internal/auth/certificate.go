package auth

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
)

// Certificate gives roles to client certificates: to those whose common name, or one of whose subject alternative names (a DNS
// name, an address, an email address or a URI, as a whole), is Name.
type Certificate struct {
	Name  string
	Roles []Role
}

// certified returns whom the certificate of a connection is for, or nil. The connection has checked it.
func certified(state *tls.ConnectionState, list []Certificate) *Principal {
	if state == nil || len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return nil
	}
	var p *Principal
	names := namesOf(state.PeerCertificates[0])
	for _, c := range list {
		if !slices.Contains(names, c.Name) {
			continue
		}
		if p == nil {
			p = &Principal{Name: c.Name}
		}
		p.Roles = append(p.Roles, c.Roles...)
	}
	return p
}

func namesOf(c *x509.Certificate) []string {
	names := slices.Concat([]string{c.Subject.CommonName}, c.DNSNames, c.EmailAddresses)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	return slices.DeleteFunc(names, func(s string) bool { return s == "" })
}
