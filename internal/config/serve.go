package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/auth"
)

// Serve says how millrace serve answers requests: see docs/serve_security.md.
type Serve struct {
	// HTTP is the address to listen at, host:port. Port 0 is one that is free.
	HTTP   string
	TLS    ServeTLS
	Auth   ServeAuth
	Limits ServeLimits
	Batch  ServeBatch
	// Refresh is how often the registry is asked for another model.
	Refresh time.Duration
	// VersionsKept is how many versions of a model that requests asked for by number are kept in memory.
	VersionsKept int
	// TrustedProxies are the addresses whose X-Forwarded-For is believed; none by default.
	TrustedProxies []netip.Prefix
}

// ServeTLS names the files of the server's certificate. All are empty for a server without TLS; a client is asked for a
// certificate where ClientCAFile is not.
type ServeTLS struct {
	CertFile, KeyFile, ClientCAFile string
}

// ServeAuth says who may do what. Without any of it everybody may do everything.
type ServeAuth struct {
	TokensFile   string     // "" is none
	OIDC         *ServeOIDC // nil is none
	Certificates []CertificateRoles
}

// Enabled tells whether somebody has to say who they are.
func (a *ServeAuth) Enabled() bool {
	return a.TokensFile != "" || a.OIDC != nil || len(a.Certificates) > 0
}

// ServeOIDC says which tokens of an OpenID Connect issuer are believed.
type ServeOIDC struct {
	Issuer     string // the URL that tokens name
	Audience   string // that tokens are for
	CAFile     string // of the issuer's certificate; "" is the authorities of the system
	NameClaim  string // that has the principal's name
	RolesClaim string // that has the roles: a text with blanks between, or a list; dots lead into nested claims
	// Roles gives the roles of values of that claim. Without any, a value is the name of a role.
	Roles []ClaimRoles
	// Require are claims that must have a value.
	Require []RequiredClaim
	// Algorithms are the signatures that are accepted.
	Algorithms []string
}

// ClaimRoles gives roles to a value of a claim.
type ClaimRoles struct {
	Value string
	Roles []auth.Role
}

// RequiredClaim is the value that a claim has to have, or to hold where it is a list.
type RequiredClaim struct{ Claim, Value string }

// CertificateRoles gives roles to the client certificate whose common name or subject alternative name is Name.
type CertificateRoles struct {
	Name  string
	Roles []auth.Role
}

// ServeLimits bound what clients can ask of the server.
type ServeLimits struct {
	BodyBytes            int64         // of a request, before and after it is uncompressed
	Connections          int           // open at the same time
	ConnectionsPerClient int           // the same, of one address
	Concurrency          int           // requests that are worked on at the same time
	Timeout              time.Duration // of a request, from when its body is there
	Rate                 ServeRate
	Drain                time.Duration // how long requests that are under way may take at the end
	DrainNotice          time.Duration // how long requests are still taken after readiness has said no
}

// ServeRate is how often a client may ask. PerSecond 0 is as often as it likes.
type ServeRate struct {
	PerSecond float64
	Burst     int
}

// ServeBatch says how requests are put together for the model.
type ServeBatch struct {
	MaxRows int
	MaxWait time.Duration // of the first request of a batch for others; 0 is none
}

func serveFields() []field {
	return []field{
		{
			key: "http", kind: kindText, def: "127.0.0.1:8080", check: checkListen,
			doc: "The address to listen at, for HTTP and gRPC; other machines reach it only where it is none of loopback",
		},
		{key: "tls", kind: kindMapping, doc: "Encryption; the files are read again when they change", fields: serveTLSFields()},
		{key: "auth", kind: kindMapping, doc: "Who may do what; without any of it everybody may do everything", fields: serveAuthFields()},
		{key: "limits", kind: kindMapping, doc: "What clients can ask of the server at most", fields: serveLimitFields()},
		{key: "batch", kind: kindMapping, doc: "How requests are put together for the model", fields: []field{
			{key: "max_rows", kind: kindInteger, def: "256", bounded: true, least: 1, most: 65536, doc: "How many rows of requests are predicted together, at most; a request with more rows is predicted in parts"},
			{key: "max_wait", kind: kindDuration, def: "0s", least: 0, most: float64(time.Second), doc: "How long a request waits for others, at most; 0s never waits, and puts together what came while the model was busy"},
		}},
		{key: "refresh", kind: kindDuration, def: "1s", least: float64(100 * time.Millisecond), most: float64(time.Hour), doc: "How often the registry is asked whether another model is promoted"},
		{key: "versions_kept", kind: kindInteger, def: "4", bounded: true, least: 1, most: 1000, doc: "How many versions of a model that requests ask for by number are kept in memory, beside the one that is promoted"},
		{
			key: "trusted_proxies", kind: kindList, commas: true, defDoc: "none",
			doc:  "The addresses or networks of proxies, whose X-Forwarded-For says who a client is; they are not held to connections_per_client",
			item: &field{kind: kindText, check: checkPrefix, doc: "An address, or a network such as 10.0.0.0/8"},
		},
	}
}

func serveTLSFields() []field {
	return []field{
		{key: "cert_file", kind: kindPath, defDoc: "none: connections are not encrypted", doc: "The certificate of the server, and those between it and the authority, PEM"},
		{key: "key_file", kind: kindPath, defDoc: "none", doc: "The key of that certificate, PEM"},
		{key: "client_ca_file", kind: kindPath, defDoc: "none: clients are not asked", doc: "The certificates of the authorities that client certificates are checked against, PEM; a client may still come without one, and then needs a token"},
	}
}

// rolesField is a list of roles.
func rolesField(doc string) field {
	names := make([]string, 0, len(auth.Roles()))
	for _, r := range auth.Roles() {
		names = append(names, string(r))
	}
	return field{kind: kindList, commas: true, least: 1, doc: doc, item: &field{kind: kindText, allowed: names, doc: "A role"}}
}

func serveAuthFields() []field {
	ofValue, ofCertificate := rolesField("The roles of the value"), rolesField("The roles of the certificate")
	return []field{
		{key: "tokens_file", kind: kindPath, defDoc: "none", doc: "The file of bearer tokens, by their SHA-256: millrace token new writes its lines; it is read again when it changes"},
		{key: "oidc", kind: kindMapping, doc: "The tokens of an OpenID Connect issuer", fields: []field{
			{key: "issuer", kind: kindText, required: true, check: checkIssuer, example: "https://login.example.com/realms/ml", doc: "The URL of the issuer, as tokens name it"},
			{key: "audience", kind: kindText, required: true, example: "millrace", doc: "The audience that tokens must be for"},
			{key: "ca_file", kind: kindPath, defDoc: "the certificate authorities of the system", doc: "The certificates of the authorities that the issuer is checked against, PEM"},
			{key: "name_claim", kind: kindText, def: "sub", doc: "The claim that has the name of the principal"},
			{key: "roles_claim", kind: kindText, def: "roles", doc: "The claim that has the roles, a list or a text with blanks between; dots lead into nested claims, as in realm_access.roles"},
			{key: "roles", kind: kindNamed, defDoc: "a value is the name of a role", doc: "The roles of values of that claim: values to lists of roles; other values give none", item: &ofValue},
			{
				key: "require", kind: kindNamed, defDoc: "none", doc: "Claims that a token must have: names to values",
				item: &field{kind: kindText, doc: "The value, or one of the values where the claim is a list"},
			},
			{
				key: "algorithms", kind: kindList, commas: true, least: 1, def: "RS256,ES256", doc: "The signatures that are accepted",
				item: &field{kind: kindText, allowed: auth.Algorithms(), doc: "An algorithm of JWS"},
			},
		}},
		{key: "certificates", kind: kindNamed, defDoc: "none", doc: "The roles of client certificates: common names, or subject alternative names, to lists of roles", item: &ofCertificate},
	}
}

func serveLimitFields() []field {
	return []field{
		{key: "body_bytes", kind: kindInteger, def: "8388608", bounded: true, least: 1024, most: 1 << 30, doc: "The size of a request's body in bytes, before and after it is uncompressed"},
		{key: "connections", kind: kindInteger, def: "4096", bounded: true, least: 1, most: 1_000_000, doc: "How many connections can be open; for one more, the one gives way that has been idle for longest"},
		{key: "connections_per_client", kind: kindInteger, def: "512", bounded: true, least: 1, most: 1_000_000, doc: "How many of them one address can have, and one network /64 of IPv6"},
		{key: "concurrency", kind: kindInteger, def: "256", bounded: true, least: 1, most: 100_000, doc: "How many requests are worked on at the same time; one more is answered with 503 at once"},
		{key: "timeout", kind: kindDuration, def: "10s", least: float64(10 * time.Millisecond), most: float64(10 * time.Minute), doc: "How long a request may take, from when its body is there"},
		{key: "rate", kind: kindMapping, doc: "How often a client may ask: a principal, or an address without one", fields: []field{
			{key: "per_second", kind: kindNumber, def: "0", bounded: true, least: 0, most: 1e6, doc: "How many requests a second on the long run; 0 is as many as it likes"},
			{key: "burst", kind: kindInteger, defDoc: "per_second, at least 1", bounded: true, least: 1, most: 1_000_000, doc: "How many at once, after a rest"},
		}},
		{key: "drain", kind: kindDuration, def: "30s", least: 0, most: float64(time.Hour), doc: "How long requests that are under way may take when the server is to end"},
		{key: "drain_notice", kind: kindDuration, def: "0s", least: 0, most: float64(5 * time.Minute), doc: "How long requests are still taken when the server is to end and readiness says so: as long as whoever sends them takes to notice"},
	}
}

func checkListen(s string) *fault {
	host, port, err := net.SplitHostPort(s)
	if _, numErr := strconv.ParseUint(port, 10, 16); err != nil || numErr != nil || strings.ContainsAny(host, "/@ \t") {
		return &fault{"want host:port", "such as 127.0.0.1:8080, or :8443 for all addresses of the machine"}
	}
	return nil
}

func checkPrefix(s string) *fault {
	if _, ok := parsePrefix(s); !ok {
		return &fault{"want an address or a network", "such as 10.1.2.3 or 10.0.0.0/8"}
	}
	return nil
}

// parsePrefix reads a network, or an address, which is a network of one.
func parsePrefix(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err == nil && !p.Addr().Is4In6()
}

func checkIssuer(s string) *fault {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && !loopbackURL(u) {
		return &fault{"want a URL with https", "such as https://login.example.com/realms/ml, as the tokens have it under iss"}
	}
	return nil
}

// loopbackURL tells whether a URL without TLS leads to this machine, where nobody listens in.
func loopbackURL(u *url.URL) bool {
	a, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && a.IsLoopback())
}

// lintServe makes what says how requests are answered.
func (d *decoder) lintServe(v value) {
	f := v.fields
	s := &d.p.Serve
	batch := f["batch"].fields
	*s = Serve{
		HTTP: f["http"].text, Refresh: f["refresh"].time, VersionsKept: int(f["versions_kept"].integer),
		TLS:   serveTLS(f["tls"].fields),
		Batch: ServeBatch{MaxRows: int(batch["max_rows"].integer), MaxWait: batch["max_wait"].time},
	}
	proxies := f["trusted_proxies"]
	for _, text := range proxies.texts() {
		p, _ := parsePrefix(text) // it was checked
		s.TrustedProxies = append(s.TrustedProxies, p)
	}
	s.Limits = serveLimits(f["limits"].fields)
	s.Auth = serveAuth(f["auth"].fields)
	d.lintServer("serve", &s.TLS, &s.Auth, &s.Limits)
}

func serveTLS(f map[string]value) ServeTLS {
	return ServeTLS{CertFile: f["cert_file"].text, KeyFile: f["key_file"].text, ClientCAFile: f["client_ca_file"].text}
}

func serveLimits(f map[string]value) ServeLimits {
	rate := f["rate"].fields
	l := ServeLimits{
		BodyBytes: f["body_bytes"].integer, Connections: int(f["connections"].integer), ConnectionsPerClient: int(f["connections_per_client"].integer),
		Concurrency: int(f["concurrency"].integer), Timeout: f["timeout"].time, Drain: f["drain"].time, DrainNotice: f["drain_notice"].time,
		Rate: ServeRate{PerSecond: rate["per_second"].number, Burst: int(rate["burst"].integer)},
	}
	if l.Rate.Burst == 0 {
		l.Rate.Burst = max(1, int(math.Ceil(l.Rate.PerSecond)))
	}
	return l
}

func serveAuth(f map[string]value) ServeAuth {
	a := ServeAuth{TokensFile: f["tokens_file"].text}
	certificates := f["certificates"]
	for i, name := range certificates.names {
		a.Certificates = append(a.Certificates, CertificateRoles{Name: name, Roles: rolesOf(&certificates.list[i])})
	}
	if f["oidc"].node == nil {
		return a
	}
	o := f["oidc"].fields
	algorithms, roles, require := o["algorithms"], o["roles"], o["require"]
	a.OIDC = &ServeOIDC{
		Issuer: o["issuer"].text, Audience: o["audience"].text, CAFile: o["ca_file"].text, NameClaim: o["name_claim"].text,
		RolesClaim: o["roles_claim"].text, Algorithms: algorithms.texts(),
	}
	for i, value := range roles.names {
		a.OIDC.Roles = append(a.OIDC.Roles, ClaimRoles{Value: value, Roles: rolesOf(&roles.list[i])})
	}
	for i, claim := range require.names {
		a.OIDC.Require = append(a.OIDC.Require, RequiredClaim{Claim: claim, Value: require.list[i].text})
	}
	return a
}

func rolesOf(v *value) []auth.Role {
	roles := make([]auth.Role, len(v.list))
	for i := range v.list {
		roles[i] = auth.Role(v.list[i].text)
	}
	return roles
}

// lintServer checks what the TLS of a section, the certificates of clients and the limits need of one another.
func (d *decoder) lintServer(section string, t *ServeTLS, a *ServeAuth, l *ServeLimits) {
	key := func(name string) string { return section + "." + name }
	switch {
	case (t.CertFile == "") != (t.KeyFile == ""):
		d.reportKey(key("tls"), key("tls")+" has one of cert_file and key_file, and needs both", "")
	case t.ClientCAFile != "" && t.CertFile == "":
		d.reportAt(key("tls.client_ca_file"), key("tls.client_ca_file")+": without TLS no client shows a certificate", "add cert_file and key_file")
	case len(a.Certificates) > 0 && t.ClientCAFile == "":
		d.reportKey(key("auth.certificates"), key("auth.certificates")+": clients are not asked for a certificate", "add "+key("tls.client_ca_file"))
	}
	if most := l.Connections; l.ConnectionsPerClient > most {
		at := key("limits.connections_per_client")
		if d.at[at] != nil {
			d.reportAt(at, fmt.Sprintf("%s is more than connections, which is %d", at, most), "")
		}
		l.ConnectionsPerClient = most
	}
}
