package upstream

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"blitiri.com.ar/go/spf"
)

const goSPF = "blitiri.com.ar/go/spf"

// zone answers lookups and keeps them.
type zone struct {
	txt   map[string]string
	asked []string
}

func (z *zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	name = strings.TrimSuffix(name, ".")
	z.asked = append(z.asked, name)
	if s, ok := z.txt[name]; ok {
		return []string{s}, nil
	}
	return nil, &net.DNSError{Name: name, IsNotFound: true}
}

func (z *zone) LookupMX(context.Context, string) ([]*net.MX, error) { return nil, nil }

func (z *zone) LookupIPAddr(_ context.Context, name string) ([]net.IPAddr, error) {
	z.asked = append(z.asked, strings.TrimSuffix(name, "."))
	return []net.IPAddr{{IP: net.IPv4(192, 0, 2, 1)}}, nil
}

func (z *zone) LookupAddr(_ context.Context, addr string) ([]string, error) {
	z.asked = append(z.asked, addr)
	return []string{"host.c.test."}, nil
}

func (z *zone) check(t *testing.T) spf.Result {
	t.Helper()
	res, _ := spf.CheckHostWithSender(net.IPv4(192, 0, 2, 1), "c.test", "a@c.test", spf.WithResolver(z), spf.WithContext(t.Context()))
	return res
}

// RFC 7208, 6.2: exp= names the words of a refusal. They are not looked up.
func TestSPFIgnoresExp(t *testing.T) {
	z := &zone{txt: map[string]string{"c.test": "v=spf1 -all exp=why.c.test", "why.c.test": "Because"}}
	if res := z.check(t); res != spf.Fail {
		t.Fatal(res)
	}
	if slices.Contains(z.asked, "why.c.test") {
		reconsider(t, goSPF, "exp= is looked up")
	}
}

// RFC 7208, 7.3: %{p} is the validated name of the client. Here it is "unknown",
// always, as the RFC would have it for a client without a name.
func TestSPFIgnoresMacroP(t *testing.T) {
	z := &zone{txt: map[string]string{"c.test": "v=spf1 exists:%{p}.e.test -all"}}
	z.check(t)
	if !slices.Contains(z.asked, "unknown.e.test") {
		reconsider(t, goSPF, "%{p} is expanded: "+strings.Join(z.asked, " "))
	}
}
