package milter

import (
	"strings"
	"testing"
	"time"

	"mtad/internal/mtatest"
	"mtad/pipeline"
)

func TestSpamassMilter(t *testing.T) {
	socket := mtatest.SpamassMilter(t, mtatest.Spamd(t))
	f := newTestFilter(t, `connect = "unix:`+socket+`"`)
	p := newTestPipeline(t, patient(f))
	m := mail{client: testClient, from: "alice@example.org", to: []string{"bob@example.net"}, data: plainMail}

	r := drive(t, p, m)
	if len(f.pool.idle) != 1 {
		t.Error("libmilter's connection is not kept")
	}
	if v, ok := r.view.Message().Header().Get("X-Spam-Status"); !ok || !strings.HasPrefix(v, "No") {
		t.Fatalf("X-Spam-Status: %q\n%s%s", v, explain(r.trace), r.message)
	}
	if !strings.HasSuffix(r.message, "\r\n\r\nHello,\r\n\r\nworld.  \r\n") {
		t.Errorf("the body of ham was changed:\n%s", r.message)
	}

	// It marks spam: the Subject, a new Content-Type, and a report for a body.
	m.data = strings.Replace(plainMail, "Hello", mtatest.GTUBE, 1)
	r = drive(t, p, m)
	h := r.view.Message().Header()
	if v, _ := h.Get("X-Spam-Flag"); v != "YES" {
		t.Fatalf("X-Spam-Flag: %q\n%s%s", v, explain(r.trace), r.message)
	}
	if v, _ := h.Get("Content-Type"); !strings.HasPrefix(v, "multipart/mixed") {
		t.Errorf("Content-Type: %q", v)
	}
	if strings.Contains(strings.ReplaceAll(r.message, "\r\n", ""), "\n") {
		t.Error("the new body has bare line feeds")
	}
	if !strings.Contains(r.message, mtatest.GTUBE) || !strings.Contains(r.message, "Content analysis details") {
		t.Errorf("the report is not there:\n%s", r.message)
	}
}

func TestSpamassMilterRejects(t *testing.T) {
	socket := mtatest.SpamassMilter(t, mtatest.Spamd(t), "-r", "15")
	p := newTestPipeline(t, patient(newTestFilter(t, `connect = "unix:`+socket+`"`)))
	m := mail{
		client: testClient, from: "alice@example.org", to: []string{"bob@example.net"},
		data: strings.Replace(plainMail, "Hello", mtatest.GTUBE, 1),
	}
	for _, early := range []bool{false, true} {
		m.early = early
		r := drive(t, p, m)
		if r.fate.Action != pipeline.Reject || r.fate.Reply.String() != "550 5.7.1 Blocked by SpamAssassin" {
			t.Errorf("%v\n%s", r.fate, explain(r.trace))
		}
	}
}

// patient is a step that gives the milter as long as SpamAssassin may need.
func patient(f *filter) *pipeline.Step {
	st := step(f)
	f.ContentTimeout, st.Timeout = time.Minute, time.Minute
	return st
}
