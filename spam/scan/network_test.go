package scan

import (
	"testing"
	"time"

	"mtad/spam/conf"
	"mtad/spam/regex"
)

func TestBlocks(t *testing.T) {
	b, now := &Blocks{}, time.Now()
	if b.Find("x.list.test", now) != "" || !b.Add("list.test", now, time.Minute) || b.Add("list.test", now.Add(time.Second), time.Minute) {
		t.Error("a zone is blocked once")
	}
	for name, want := range map[string]string{"2.0.0.127.list.test": "list.test", "list.test": "list.test", "otherlist.test": "", "test": ""} {
		if got := b.Find(name, now.Add(59*time.Second)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if later := now.Add(time.Minute); b.Find("list.test", later) != "" || !b.Add("list.test", later, time.Minute) {
		t.Error("a zone stays blocked")
	}
	if (*Blocks)(nil).Find("list.test", now) != "" {
		t.Error("nothing blocks")
	}
}

// TestCommon: the tags that every message has.
func TestCommon(t *testing.T) {
	const text = "Received: from a.example.com (rdns.example.com [198.51.100.7]) by mx.example.org (Postfix) with ESMTP id ABC; Thu, 26 Nov 2026 10:00:00 +0000\nReply-To: r@mail.example.net\n\nx\n"
	f := Facts{DKIM: []Signature{{Domain: "a.test", Selector: "s1", Identity: "@a.test", Result: "pass"}, {Domain: "b.test", Result: "fail"}, {Domain: "a.test", Selector: "s2", Result: "pass"}}}
	s := New(t.Context(), &Settings{Rules: conf.Parse("x.cf", "util_rb_tld net\n", conf.Options{})}, []byte(text), f, &regex.Budget{Steps: 1 << 20})
	defer s.Close()
	for _, c := range []struct{ name, arg, want string }{{"LASTEXTERNALIP", "", "198.51.100.7"}, {"LASTEXTERNALREVIP", "", "7.100.51.198"}, {"LASTEXTERNALRDNS", "", "rdns.example.com"}, {"LASTEXTERNALHELO", "", "a.example.com"},
		{"HEADER", "Reply-To:addr:domain", "example.net"}, {"FIRSTTRUSTEDIP", "", ""}} {
		if got, ok := s.Common(c.name, c.arg); got != c.want || !ok {
			t.Errorf("%s: %q %v", c.name, got, ok)
		}
	}
	if _, ok := s.Common("NOSUCH", ""); ok {
		t.Error("a tag that there is not")
	}
	for name, want := range map[string]int{"DKIMDOMAIN": 1, "DKIMSELECTOR": 2, "DKIMIDENTITY": 1} {
		if got := s.Tag(name); len(got) != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if s.Ask != nil {
		t.Error("without a resolver the DNS is asked")
	}
}
