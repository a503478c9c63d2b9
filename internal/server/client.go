package server

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// addressOf returns the address of one end of a connection; it is not valid where there is none, as with Unix sockets.
func addressOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// networkOf returns the network that counts as one client: an address of IPv4, and of IPv6 the /64 that somebody has to
// themselves.
func networkOf(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// trusted tells whether an address is that of a proxy.
func (s *Server) trusted(a netip.Addr) bool {
	for _, p := range s.o.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// clientOf returns the address of the client that sent a request: that of the connection, or, where a trusted proxy has it, the
// last one in X-Forwarded-For that is no trusted proxy. What stands before that anybody could have written.
func (s *Server) clientOf(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	client := at.Addr().Unmap()
	if !s.trusted(client) {
		return client
	}
	list := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(list) - 1; i >= 0 && s.trusted(client); i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(list[i]))
		if err != nil {
			break
		}
		client = a.Unmap().WithZone("")
	}
	return client
}

// local tells whether a request that came to an address of this machine alone also asks for a name of this machine alone.
// One that does not comes from a page whose author made their name lead here.
func local(r *http.Request) bool {
	to, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || !addressOf(to).IsLoopback() {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	a, err := netip.ParseAddr(host)
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && a.IsLoopback()
}
