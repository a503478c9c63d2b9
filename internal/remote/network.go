package remote

import "net/netip"

// kind is what an address is for.
type kind uint8

const (
	ordinary kind = iota // public, or of a private network: model servers live there
	loopback             // this machine
	never                // not that of a model server
)

// reserved lists the networks whose addresses are never called. IANA's registries of special addresses say what they are for.
func reserved() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),          // this host: on Linux another way to 127.0.0.1
		netip.MustParsePrefix("169.254.0.0/16"),     // link-local, and the metadata services of most clouds
		netip.MustParsePrefix("192.0.0.0/24"),       // protocol assignments; 192.0.0.192 is Oracle's metadata service
		netip.MustParsePrefix("100.100.100.200/32"), // Alibaba's metadata service
		netip.MustParsePrefix("168.63.129.16/32"),   // Azure's host services
		netip.MustParsePrefix("192.0.2.0/24"),       // for documents
		netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"),
		netip.MustParsePrefix("192.88.99.0/24"), // relays of 6to4
		netip.MustParsePrefix("224.0.0.0/4"),    // multicast
		netip.MustParsePrefix("240.0.0.0/4"),    // reserved, and broadcast
		netip.MustParsePrefix("::/128"),         // this host
		netip.MustParsePrefix("64:ff9b:1::/48"), // translation within a network: no telling where it leads
		netip.MustParsePrefix("100::/64"),       // discarded
		netip.MustParsePrefix("2001::/23"),      // protocol assignments, and Teredo: tunnels
		netip.MustParsePrefix("2001:db8::/32"),  // for documents
		netip.MustParsePrefix("3fff::/20"),
		netip.MustParsePrefix("2002::/16"),              // 6to4: tunnels to any IPv4 address
		netip.MustParsePrefix("5f00::/16"),              // segments of routing
		netip.MustParsePrefix("fd00:ec2::/32"),          // Amazon's metadata service, and what is beside it
		netip.MustParsePrefix("fd20:ce::254/128"),       // Google's metadata service
		netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), // Oracle's metadata service
		netip.MustParsePrefix("fe80::/10"),              // link-local
		netip.MustParsePrefix("fec0::/10"),              // site-local, of old
		netip.MustParsePrefix("ff00::/8"),               // multicast
	}
}

// classify says what an address is for, and returns it without the forms of IPv6 that stand for one of IPv4.
func classify(addr netip.Addr) (kind, netip.Addr) {
	addr = embedded(addr)
	for _, network := range reserved() {
		if network.Contains(addr) {
			return never, addr
		}
	}
	if addr.IsLoopback() {
		return loopback, addr
	}
	if addr.Is6() && netip.MustParsePrefix("::/96").Contains(addr) { // IPv4-compatible, of old
		return never, addr
	}
	return ordinary, addr
}

// embedded returns the address of IPv4 that an address of IPv6 stands for, by a form that names resolve to where a network has
// only IPv6 (RFC 6052), or that programs use for both kinds alike (RFC 4291); others as they are.
func embedded(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	b := addr.As16()
	v4 := netip.AddrFrom4([4]byte(b[12:]))
	switch {
	case addr.Is4In6(),
		netip.MustParsePrefix("64:ff9b::/96").Contains(addr),
		netip.MustParsePrefix("::ffff:0:0:0/96").Contains(addr): // RFC 2765
		return v4
	default:
		return addr
	}
}
