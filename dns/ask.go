package dns

import (
	"context"
	"net/netip"
	"strings"

	mdns "github.com/miekg/dns"
)

// Addrs asks for the IPv4 and IPv6 addresses of a name. A name with neither is
// ErrNoData or ErrNoName.
func Addrs(ctx context.Context, r Resolver, name string) ([]netip.Addr, error) {
	var out []netip.Addr
	var last error
	for _, t := range []Type{A, AAAA} {
		ans, err := r.Lookup(ctx, name, t)
		if err != nil {
			if !NotFound(err) {
				return nil, err
			}
			last = err
		}
		for _, rec := range ans.Records {
			if a, err := netip.ParseAddr(rec.Text); err == nil {
				out = append(out, a)
			}
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	return nil, last
}

// Texts asks for the texts of a name, the strings of each joined.
func Texts(ctx context.Context, r Resolver, name string) ([]string, error) {
	ans, err := r.Lookup(ctx, name, TXT)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(ans.Records))
	for i, rec := range ans.Records {
		out[i] = rec.Text
	}
	return out, nil
}

// ReverseName is the name under which an address has its PTR record (RFC 1035,
// 3.5; RFC 3596, 2.5), without suffix if zone is given: the form of DNS lists.
func ReverseName(a netip.Addr, zone string) string {
	full, err := mdns.ReverseAddr(a.Unmap().WithZone("").String())
	if err != nil {
		return ""
	}
	full = strings.TrimSuffix(full, ".")
	if zone == "" {
		return full
	}
	full = strings.TrimSuffix(strings.TrimSuffix(full, ".in-addr.arpa"), ".ip6.arpa")
	return full + "." + zone
}

// maxNames bounds how many names of an address are checked (RFC 7208, 5.5).
const maxNames = 10

// HostName finds the name of an address: verified is one that leads back to it,
// claimed the first that the address gives itself. temporary says that a server
// did not answer, and either may be missing for that.
func HostName(ctx context.Context, r Resolver, a netip.Addr) (verified, claimed string, temporary bool) {
	if !a.IsValid() {
		return "", "", false
	}
	ans, err := r.Lookup(ctx, ReverseName(a, ""), PTR)
	if err != nil {
		return "", "", !NotFound(err)
	}
	for i, rec := range ans.Records {
		if i >= maxNames {
			break
		}
		if claimed == "" {
			claimed = rec.Text
		}
		addrs, err := Addrs(ctx, r, rec.Text)
		if err != nil && !NotFound(err) {
			temporary = true
		}
		for _, b := range addrs {
			if b == a.Unmap().WithZone("") {
				return rec.Text, claimed, false
			}
		}
	}
	return "", claimed, temporary
}
