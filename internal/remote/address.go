package remote

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// place is where a server is: what of its URL is needed to call it.
type place struct {
	scheme string
	host   string // in lower case: a name, or the text of an address
	port   uint16
	path   string // without a slash at the end
	addr   netip.Addr
}

// parsePlace reads the URL of a server. It is strict, since hosts that programs read in different ways are how a check of addresses is
// got round: numbers that some take for addresses (0x7f.1, 2130706433), names that are not ASCII, dots at the end, zones.
func parsePlace(text string) (place, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return place{}, errors.New("the URL cannot be read") // without err, which has the URL, and a password that may be in it
	case u.Scheme != "http" && u.Scheme != "https":
		return place{}, errors.New("the URL has to begin with http:// or https://")
	case u.User != nil:
		return place{}, errors.New("the URL must not hold a user or a password: name a file with model.serve.token_file")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(text, "#"):
		return place{}, errors.New("the URL must not have a query or a fragment")
	case u.RawPath != "" || strings.ContainsAny(u.Path, "\\ ") || strings.Contains(u.Path, "//") || dotted(u.Path):
		return place{}, errors.New("the path of the URL must be plain: no escapes, no empty parts, no dots alone")
	}
	p := place{scheme: u.Scheme, path: strings.TrimSuffix(u.Path, "/"), port: 80}
	if u.Scheme == "https" {
		p.port = 443
	}
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port[0] == '0' {
			return place{}, errors.New("the port of the URL has to be a number from 1 to 65535")
		}
		p.port = uint16(n)
	}
	p.host, p.addr, err = parseHost(u.Hostname(), strings.HasPrefix(u.Host, "["))
	return p, err
}

func dotted(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

// parseHost returns a host as it is compared, and its address if it is one.
func parseHost(host string, brackets bool) (string, netip.Addr, error) {
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil && addr.Zone() != "":
		return "", addr, errors.New("the address must not have a zone")
	case err == nil && addr.Is4In6():
		return "", addr, errors.New("write the address as IPv4: one within IPv6 is refused")
	case err == nil && brackets == addr.Is6():
		return addr.String(), addr, nil
	case err == nil || brackets:
		return "", addr, errors.New("the address cannot be read")
	}
	host = strings.ToLower(host)
	return host, netip.Addr{}, checkName(host)
}

// maxName is the longest name that the domain name system has.
const maxName = 253

// checkName tells whether a host is a name, and a name to everybody.
func checkName(host string) error {
	if host == "" || len(host) > maxName {
		return errors.New("the URL has no host")
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return errors.New("the host is no name: it has a dot too many, or a part that is too long or ends in a hyphen")
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return errors.New("the host is no name: it may have letters of ASCII, digits, hyphens and dots; write others as xn--")
			}
		}
	}
	// As the URL standard has it, a host whose last part is a number is an address, however odd; no top-level domain is one.
	last := labels[len(labels)-1]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return errors.New("the host is a number: write an address with four parts in decimal")
	}
	return nil
}

// allowed says which servers may be called.
type allowed struct {
	names    map[string]bool
	networks []netip.Prefix
}

// parseHosts reads an allow-list of names, addresses and networks.
func parseHosts(hosts []string) (allowed, error) {
	a := allowed{names: map[string]bool{}}
	for _, entry := range hosts {
		if network, err := netip.ParsePrefix(entry); err == nil {
			if network != network.Masked() || network.Addr().Is4In6() {
				return a, fmt.Errorf("the network %s has bits below its length, or is IPv4 within IPv6", entry)
			}
			a.networks = append(a.networks, network)
			continue
		}
		host, addr, err := parseHost(entry, strings.Contains(entry, ":"))
		if err != nil {
			return a, fmt.Errorf("the entry %q: %w", entry, err)
		}
		if addr.IsValid() {
			a.networks = append(a.networks, netip.PrefixFrom(addr, addr.BitLen()))
		} else {
			a.names[host] = true
		}
	}
	return a, nil
}

func (a *allowed) lists(addr netip.Addr) bool {
	for _, network := range a.networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// check tells whether the address may be called that the place's host has led to.
func (a *allowed) check(p *place, addr netip.Addr) error {
	if addr.Zone() != "" {
		return errors.New("an address with a zone is never called")
	}
	kind, plain := classify(addr)
	listed := a.lists(plain)
	switch {
	case kind == never:
		return errors.New("it leads to an address that is never called: link-local, of a metadata service, or none of a server")
	case listed:
		return nil
	case len(a.names)+len(a.networks) > 0 && !a.names[p.host]:
		return errors.New("neither the host nor the address that it leads to is in model.serve.hosts")
	case kind == loopback && !p.addr.IsValid() && p.host != "localhost":
		return errors.New("the name leads to this machine itself: if that is meant, list the address in model.serve.hosts")
	default:
		return nil
	}
}

// lookup is how names are resolved: [net.Resolver.LookupNetIP].
type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// errNoAddress is for a name that exists and leads nowhere.
var errNoAddress = errors.New("the name has no address")

// resolve returns the addresses of the place, all of which were checked; where one of them is refused, all are. An *Error of class
// Forbidden says which host.
func (a *allowed) resolve(ctx context.Context, p *place, look lookup) ([]netip.AddrPort, error) {
	found := []netip.Addr{p.addr}
	if !p.addr.IsValid() {
		var err error
		if found, err = look(ctx, "ip", p.host); err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, errNoAddress
		}
	}
	out := make([]netip.AddrPort, len(found))
	for i, addr := range found {
		if err := a.check(p, addr); err != nil {
			return nil, &Error{Class: Forbidden, Where: p.String(), Err: err}
		}
		_, plain := classify(addr)
		if addr.Is4In6() {
			addr = plain
		}
		out[i] = netip.AddrPortFrom(addr, p.port)
	}
	return out, nil
}

// String returns the URL of the place.
func (p *place) String() string {
	host := p.host
	if p.addr.Is6() {
		host = "[" + host + "]"
	}
	if p.port != 80 && p.scheme == "http" || p.port != 443 && p.scheme == "https" {
		host += ":" + strconv.Itoa(int(p.port))
	}
	return p.scheme + "://" + host + p.path
}
