package spam_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"mtad/dns"
	"mtad/internal/mtatest"
	"mtad/spam"
	"mtad/spam/conf"
	"mtad/spam/resolve"
	"mtad/spam/scan"
)

// hostileServer is a name server, by UDP and TCP, that misbehaves in the way that the end
// of a name says.
func hostileServer(t testing.TB) string {
	t.Helper()
	pc, l := samePort(t)
	for _, srv := range []*mdns.Server{{PacketConn: pc}, {Listener: l}} {
		ready := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(ready) }
		tcp := srv.Listener != nil
		srv.Handler = mdns.HandlerFunc(func(w mdns.ResponseWriter, r *mdns.Msg) { misbehave(w, r, tcp) })
		go srv.ActivateAndServe()
		<-ready
		t.Cleanup(func() { srv.Shutdown() })
	}
	return pc.LocalAddr().String()
}

// samePort listens at a port that is free for UDP and TCP.
func samePort(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 100 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		mtatest.Check(t, err)
		if l, err := net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			return pc, l
		}
		pc.Close()
	}
	t.Fatal("no port is free for both")
	return nil, nil
}

func misbehave(w mdns.ResponseWriter, r *mdns.Msg, tcp bool) {
	m := new(mdns.Msg)
	m.SetReply(r)
	name := r.Question[0].Name
	add := func(text string) {
		rr, err := mdns.NewRR(name + " 300 IN " + text)
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	switch labels[len(labels)-2] {
	case "silent":
		return
	case "otherid":
		m.Id++
		add("A 127.0.0.2")
	case "othername":
		add("A 127.0.0.2")
		m.Question[0].Name = "x.test."
	case "cut":
		if tcp {
			return
		}
		m.Truncated = true
	case "large":
		if m.Truncated = !tcp; tcp {
			add("TXT" + strings.Repeat(` "`+strings.Repeat("x", 250)+`"`, 250))
		}
	case "many":
		if m.Truncated = !tcp; tcp {
			m.Compress = true
			head := mdns.RR_Header{Name: name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 300}
			for i := range 3900 {
				m.Answer = append(m.Answer, &mdns.A{Hdr: head, A: net.IPv4(127, 0, byte(i>>8), byte(i))})
			}
		}
	case "loop":
		add("CNAME " + name)
	case "servfail":
		m.Rcode = mdns.RcodeServerFailure
	case "rubbish":
		w.Write([]byte("\x00\x01rubbish"))
		return
	case "good":
		add("A 127.0.0.2")
	default:
		m.Rcode = mdns.RcodeNameError
	}
	w.WriteMsg(m)
}

// TestHostileDNS: whatever name servers do, a check ends in its time and holds its memory,
// and what they do not answer is unknown.
func TestHostileDNS(t *testing.T) {
	addr := hostileServer(t)
	rules := "util_rb_tld com\ndns_available yes\nheader GOOD eval:check_rbl('good', 'good.test.')\n" +
		"header LOOP eval:check_rbl('loop', 'loop.test.')\nmeta NOT_GOOD !GOOD\nmeta NOT_LOOP !LOOP\n"
	lost := []string{"silent", "otherid", "othername", "cut", "many", "servfail", "rubbish"}
	for _, how := range lost {
		name := strings.ToUpper(how)
		rules += fmt.Sprintf("header %s eval:check_rbl('%s', '%s.test.')\nmeta NOT_%s !%s\n", name, how, how, name, name)
	}
	rules += "askdns LARGE _AUTHORDOMAIN_.large.test TXT /x/\nmeta NOT_LARGE !LARGE\nurirhsbl LINKS many.test A\nbody LINKS eval:check_uridnsbl('LINKS')\n"
	rs := conf.Parse("x.cf", "uridnsbl_max_domains 40\n"+rules, conf.Options{})
	for _, p := range rs.Problems {
		t.Fatal(p)
	}
	client, err := dns.NewClient(dns.ClientConfig{Servers: []string{addr}})
	mtatest.Check(t, err)
	e := spam.New(rs, spam.Options{Net: true, Resolver: resolve.With(client)})
	text := "Received: from a.example.com (a.example.com [203.0.113.9]) by mx.example.org (Postfix) with ESMTP id A; Thu, 26 Nov 2026 10:00:00 +0000\nFrom: a@example.com\nSubject: x\n\n"
	for i := range 40 {
		text += fmt.Sprintf("http://h%d.com/\n", i)
	}
	before := runtime.NumGoroutine()
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	was := mem.HeapAlloc
	const limit = 4 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	r := e.Check(ctx, []byte(text), scan.Facts{})
	if took := time.Since(start); took > limit {
		t.Errorf("it took %v", took)
	}
	unknown := map[string]string{}
	for _, u := range r.Unknown {
		unknown[u.Rule] = u.Why
	}
	for _, how := range append(lost, "large", "links") {
		name := strings.ToUpper(how)
		if unknown[name] == "" || how != "links" && unknown["NOT_"+name] == "" {
			t.Errorf("%s: %q, %q: it is to be unknown", name, unknown[name], unknown["NOT_"+name])
		}
	}
	if !strings.Contains(unknown["SERVFAIL"], "SERVFAIL") || !strings.Contains(unknown["MANY"], "more than 256 records") {
		t.Errorf("why: %q, %q", unknown["SERVFAIL"], unknown["MANY"])
	}
	if got := strings.Join(r.Names(), " "); got != "GOOD NOT_LOOP" {
		t.Errorf("hits %q, unknown %q", got, unknown)
	}
	runtime.GC()
	runtime.ReadMemStats(&mem)
	if grown := int64(mem.HeapAlloc) - int64(was); grown > 60<<20 {
		t.Errorf("%d MiB are held", grown>>20)
	}
	t.Logf("%v, %d MiB held", time.Since(start).Round(time.Millisecond), (int64(mem.HeapAlloc)-int64(was))>>20)
	mtatest.Eventually(t, "nothing is asked any more", 20*time.Second, func() bool { return runtime.NumGoroutine() <= before+5 })
	runtime.KeepAlive(r)
}
