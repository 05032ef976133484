package milter

import (
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"mtad/internal/mtatest"
	"mtad/pipeline"
)

const plainMail = "Received: from elsewhere\r\n\tby client.example.net; Mon, 1 Jan 2024 00:00:00 +0000\r\n" +
	"From: Alice <alice@example.org>\r\nTo: bob@example.net\r\nSubject:   two  spaces\r\n\tand a fold\r\n" +
	"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nHello,\r\n\r\nworld.  \r\n"

func TestOpenDKIMSigns(t *testing.T) {
	for _, canon := range []string{"simple/simple", "relaxed/relaxed"} {
		t.Run(canon, func(t *testing.T) {
			socket, txt := mtatest.OpenDKIM(t, "example.org", "s", "InternalHosts 192.0.2.7", "Canonicalization "+canon)
			p := newTestPipeline(t, step(newTestFilter(t, `connect = "unix:`+socket+`"`)))
			flow := p.Open(testClient)
			defer flow.Close()
			m := mail{client: testClient, from: "alice@example.org", to: []string{"bob@example.net"}, data: plainMail}
			for range 3 { // sessions, on the same connection if the milter lets us
				checkSigned(t, drive(t, p, m), txt)
			}
			for range 3 { // transactions of one session
				checkSigned(t, transact(t, flow, m), txt)
			}
		})
	}
}

func checkSigned(t *testing.T, r result, txt func(string) ([]string, error)) {
	t.Helper()
	if r.fate.Action != pipeline.Continue {
		t.Fatalf("%v\n%s", r.fate, explain(r.trace))
	}
	// OpenDKIM inserts at 0: above our Received.
	if !strings.HasPrefix(r.message, "DKIM-Signature: ") || !strings.Contains(r.message, "\r\n"+testReceived) {
		t.Fatalf("signature is not in its place:\n%s", r.message)
	}
	results, err := dkim.VerifyWithOptions(strings.NewReader(r.message), &dkim.VerifyOptions{LookupTXT: txt})
	if err != nil || len(results) != 1 || results[0].Err != nil {
		t.Fatalf("%v, %+v\n%s", err, results[0], r.message)
	}
}

func TestOpenDKIMVerifies(t *testing.T) {
	socket, _ := mtatest.OpenDKIM(t, "example.org", "s", "InternalHosts 192.0.2.7")
	signer := newTestPipeline(t, step(newTestFilter(t, `connect = "unix:`+socket+`"`)))
	m := mail{client: testClient, from: "alice@example.org", to: []string{"bob@example.net"}, data: plainMail}
	signed := strings.Replace(drive(t, signer, m).message, testReceived, "", 1)
	socket, _ = mtatest.OpenDKIM(t, "example.org", "v")
	verifier := newTestPipeline(t, step(newTestFilter(t, `connect = "unix:`+socket+`"`)))
	for _, c := range []struct{ name, data, want string }{
		{"as signed", signed, "dkim=pass"},
		{"changed", strings.Replace(signed, "Hello", "Hullo", 1), "dkim=fail"},
		{"unsigned", plainMail, "dkim=none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.data = c.data
			r := drive(t, verifier, m)
			got, ok := r.view.Message().Header().Get("Authentication-Results")
			if !ok || !strings.Contains(got, c.want) {
				t.Errorf("Authentication-Results: %q, want %s\n%s%s", got, c.want, explain(r.trace), r.message)
			}
		})
	}
}
