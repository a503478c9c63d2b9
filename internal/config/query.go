package config

import (
	"fmt"
	"net/url"
	"strings"
)

// Query says whether and how the rows of stores can be read while a pipeline runs: see docs/queries.md.
type Query struct {
	// HTTP is the address to listen at, host:port; "" is that nobody can read them.
	HTTP string
	// Advertise is the URL at which other instances reach this one; "" is that of HTTP.
	Advertise string
	// CAFile has the authorities that the certificates of other instances are checked against; "" is those of the system.
	CAFile string
	TLS    ServeTLS
	Auth   ServeAuth
	Limits ServeLimits
}

func queryFields() []field {
	return []field{
		{
			key: "http", kind: kindText, defDoc: "none: nobody can read them", example: "127.0.0.1:8090", check: checkListen,
			doc: "The address at which millrace run answers queries; one that other machines reach needs auth",
		},
		{
			key: "advertise", kind: kindText, defDoc: "the address that it listens at, unless that is all addresses of the machine", example: "https://10.1.2.3:8090", check: checkAdvertise,
			doc: "The URL at which other instances of the pipeline reach this one, which they learn from the consumer group",
		},
		{key: "ca_file", kind: kindPath, defDoc: "the certificate authorities of the system", doc: "The certificates of the authorities that those of other instances are checked against, PEM"},
		{key: "tls", kind: kindMapping, doc: "Encryption; the certificate is also shown to other instances that are asked", fields: serveTLSFields()},
		{key: "auth", kind: kindMapping, doc: "Who may read: whoever has the role reader", fields: serveAuthFields()},
		{key: "limits", kind: kindMapping, doc: "What clients can ask at most", fields: serveLimitFields()},
	}
}

// maxAdvertise is how long the URL may be: others pass over one that is longer.
const maxAdvertise = 2048

func checkAdvertise(s string) *fault {
	u, err := url.Parse(s)
	if len(s) > maxAdvertise {
		return &fault{fmt.Sprintf("want a URL of at most %d bytes", maxAdvertise), "such as https://10.1.2.3:8090"}
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return &fault{"want a URL", "such as https://10.1.2.3:8090"}
	}
	return nil
}

// lintQuery makes what says how queries are answered.
func (d *decoder) lintQuery(v value) {
	f := v.fields
	q := &d.p.Query
	*q = Query{
		HTTP: f["http"].text, Advertise: f["advertise"].text, CAFile: f["ca_file"].text,
		TLS: serveTLS(f["tls"].fields), Auth: serveAuth(f["auth"].fields), Limits: serveLimits(f["limits"].fields),
	}
	d.lintServer("query", &q.TLS, &q.Auth, &q.Limits)
	if q.TLS.CertFile != "" && strings.HasPrefix(q.Advertise, "http://") {
		d.reportAt("query.advertise", "query.advertise begins with http://, and query.tls has the address speak TLS", "begin it with https://")
	}
}
