package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"mtad/config"
	"mtad/dns"
	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
)

const mail = "From: Ann <ann@x.test>\r\nTo: bob@y.test\r\nSubject: folded\r\n  subject\r\nX-Other: a\r\n\r\nbody  with   space \r\n\r\n"

func newRSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// record is the key's TXT record.
func record(t testing.TB, k crypto.Signer) string {
	t.Helper()
	if pub, ok := k.Public().(ed25519.PublicKey); ok {
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}

func pkcs8(t testing.TB, k any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func zone(t testing.TB, lines ...string) *dns.Zone {
	t.Helper()
	z, err := dns.ParseZone(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func parse(t testing.TB, s string) *message.Message {
	t.Helper()
	m, err := message.Parse(message.FromBytes([]byte(s)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func ask(t testing.TB, f pipeline.Filter, s string) pipeline.Verdict {
	t.Helper()
	v, err := f.Filter(t.Context(), pipeline.Message, pipeline.NewView(pipeline.Client{}, pipeline.Mailing{}, parse(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// signed is the message with the filter's signature on top.
func signed(t testing.TB, f pipeline.Filter, s string) string {
	t.Helper()
	v := ask(t, f, s)
	if len(v.Mods) != 1 {
		t.Fatalf("not signed: %s %s", v, v.Note)
	}
	h := v.Mods[0].(pipeline.InsertHeader)
	return string(message.FormatRawField(h.Name, h.Value)) + s
}

func newTestSigner(t testing.TB, k crypto.Signer, more string) pipeline.Filter {
	t.Helper()
	body := fmt.Sprintf("domain = \"x.test\"\nselector = \"s\"\nkey = %q\n%s", pkcs8(t, k), more)
	b, diags := config.ParseBlock(body, config.BlockType{Options: signOptions})
	if diags != nil {
		t.Fatal(diags)
	}
	f, err := newSigner(b, pipeline.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func newTestVerifier(t testing.TB, body string, r dns.Resolver) pipeline.Filter {
	t.Helper()
	b, diags := config.ParseBlock(body, config.BlockType{Options: verifyOptions})
	if diags != nil {
		t.Fatal(diags)
	}
	f, err := newVerifier(b, pipeline.Env{DNS: r})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSignAndVerify(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for alg, k := range map[string]crypto.Signer{"rsa-sha256": newRSA(t, 2048), "ed25519-sha256": ed} {
		s := signed(t, newTestSigner(t, k, ""), mail)
		v := newTestVerifier(t, "on_fail = score(2)\non_none = score(1)", zone(t, `s._domainkey.x.test TXT "`+strings.Join(chunks(record(t, k)), `" "`)+`"`))
		for name, c := range map[string]struct{ mail, want string }{
			"whole":       {s, "dkim=pass header.d=x.test header.s=s header.a=" + alg},
			"white space": {strings.ReplaceAll(s, "body  with   space \r\n\r\n", "body with space\r\n"), "dkim=pass"},
			"new field":   {"X-New: y\r\n" + s, "dkim=pass"},
			"two From":    {"From: eve@z.test\r\n" + s, "dkim=fail"},
			"subject":     {strings.Replace(s, "folded", "other", 1), "dkim=fail"},
			"body":        {s + "more\r\n", "dkim=fail"},
			"unsigned":    {mail, "dkim=none"},
		} {
			got := ask(t, v, c.mail).String()
			if !strings.HasPrefix(got, "continue; add-auth-result "+c.want) {
				t.Errorf("%s %s: %s", alg, name, got)
			}
			points := map[string]string{"dkim=fail": "add-score dkim_fail 2.0", "dkim=none": "add-score dkim_none 1.0"}[c.want]
			if strings.Contains(got, "add-score") != (points != "") || !strings.Contains(got, points) {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
}

// chunks cuts a text to strings that a TXT record can hold.
func chunks(s string) []string {
	var out []string
	for len(s) > 200 {
		out, s = append(out, s[:200]), s[200:]
	}
	return append(out, s)
}

// Faults of the DNS and of keys are results of their own, and no guilt.
func TestKeys(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := signed(t, newTestSigner(t, ed, ""), mail)
	for name, c := range map[string]struct{ zone, want string }{
		"gone":    {"", "dkim=permerror"},
		"fail":    {"s._domainkey.x.test FAIL", "dkim=temperror"},
		"revoked": {`s._domainkey.x.test TXT "v=DKIM1; k=ed25519; p="`, "dkim=permerror"},
		"garbage": {`s._domainkey.x.test TXT "hello"`, "dkim=permerror"},
		"other":   {`s._domainkey.x.test TXT "` + "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"`, "dkim=fail"},
	} {
		got := ask(t, newTestVerifier(t, "on_fail = score(2)", zone(t, c.zone)), s).String()
		if !strings.Contains(got, c.want) || strings.Contains(got, "dkim_fail") != (c.want != "dkim=temperror") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// What the README says of the library.
func TestGaps(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v := newTestVerifier(t, "", zone(t, `s._domainkey.x.test TXT "`+record(t, ed)+`"`))
	s := signed(t, newTestSigner(t, ed, ""), mail)
	for name, c := range map[string]struct{ from, to, want string }{
		"length":   {"v=1;", "v=1; l=3;", "dkim=fail"},
		"sha1":     {"ed25519-sha256", "rsa-sha1", "dkim=permerror"},
		"identity": {"v=1;", "v=1; i=@other.test;", "dkim=permerror"},
		"no from":  {"v=1;", "v=1; h=To;", "dkim=permerror"},
	} {
		broken := strings.Replace(s, c.from, c.to, 1)
		if broken == s {
			t.Fatalf("%s: no %q in %s", name, c.from, s)
		}
		if got := ask(t, v, broken).String(); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestManySignatures(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := signed(t, newTestSigner(t, ed, ""), mail)
	top := strings.Repeat("DKIM-Signature: v=1; d=junk.test; s=j; a=rsa-sha256; b=; bh=; h=From\r\n", 4)
	v := newTestVerifier(t, "max_signatures = 5", zone(t, `s._domainkey.x.test TXT "`+record(t, ed)+`"`))
	got := ask(t, v, top+s)
	if len(got.Mods) != 5 || !strings.Contains(got.Mods[4].String(), "dkim=pass") || !strings.Contains(got.Mods[0].String(), "header.d=junk.test header.s=j header.a=rsa-sha256") {
		t.Errorf("%s", got)
	}
	if got := ask(t, v, top+top+s); len(got.Mods) != 5 || strings.Contains(got.String(), "pass") {
		t.Errorf("%s", got)
	}
}

// go-msgauth's own signer and ours agree.
func TestLibrarySigner(t *testing.T) {
	k := newRSA(t, 2048)
	var out bytes.Buffer
	err := msgauth.Sign(&out, strings.NewReader(mail), &msgauth.SignOptions{Domain: "x.test", Selector: "s", Signer: k, Identifier: "ann@x.test"})
	if err != nil {
		t.Fatal(err)
	}
	v := newTestVerifier(t, "", zone(t, `s._domainkey.x.test TXT "`+strings.Join(chunks(record(t, k)), `" "`)+`"`))
	if got := ask(t, v, out.String()).String(); !strings.Contains(got, "dkim=pass header.d=x.test header.s=s header.a=rsa-sha256 header.i=ann@x.test") {
		t.Error(got)
	}
}

// OpenDKIM finds our signatures good.
func TestOpenDKIM(t *testing.T) {
	bin, err := exec.LookPath("opendkim")
	if err != nil {
		t.Skip("opendkim is not installed")
	}
	k := newRSA(t, 2048)
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	keys := write("keys", "s._domainkey.x.test "+record(t, k)+"\n")
	conf := write("conf", "TestPublicKeys "+keys+"\n")
	good := signed(t, newTestSigner(t, k, ""), mail)
	for name, c := range map[string]struct {
		mail string
		ok   bool
	}{"good": {good, true}, "bad": {good + "more\r\n", false}} {
		cmd := exec.CommandContext(t.Context(), bin, "-x", conf, "-t", write(name, c.mail))
		out, err := cmd.CombinedOutput()
		t.Logf("%s: %v\n%s", name, err, out)
		if verified := bytes.Contains(out, []byte("verification (s=s, d=x.test, 2048-bit key)")) && bytes.Contains(out, []byte("succeeded")); verified != c.ok {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestSignerConfig(t *testing.T) {
	weak := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(newRSA(t, 512))}))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		`key = "hello"`:               "not PEM",
		fmt.Sprintf("key = %q", weak): "512 bits",
		fmt.Sprintf("key = %q", pkcs8(t, ed)) + "\nheaders = [\"To\"]": "From must be signed",
	} {
		b, diags := config.ParseBlock("domain = \"x.test\"\nselector = \"s\"\n"+body, config.BlockType{Options: signOptions})
		if diags != nil {
			t.Fatal(diags)
		}
		if _, err := newSigner(b, pipeline.Env{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if v := ask(t, newTestSigner(t, ed, ""), "To: x\r\n\r\n"); len(v.Mods) != 0 || v.Note == "" {
		t.Errorf("a message without From is signed: %s", v)
	}
}

func TestReadme(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	mtatest.Check(t, err)
	path := filepath.Join(t.TempDir(), "key")
	mtatest.Write(t, path, pkcs8(t, ed))
	text := mtatest.Readme(t, slices.Concat(verifyOptions, signOptions))
	mtatest.Examples(t, strings.ReplaceAll(text, "/run/secrets/dkim.pem", path), func(name, body string) error {
		kind := map[string]pipeline.Kind{"dkim": VerifyKind(), "dkim_sign": SignKind()}[name]
		block, diags := config.ParseBlock(body, config.BlockType{Options: kind.Options})
		if diags != nil {
			return diags
		}
		_, err := kind.New(block, pipeline.Env{})
		return err
	})
	mtatest.Check(t, config.CheckStruct(verifyOptions, &verifySettings{}))
	mtatest.Check(t, config.CheckStruct(signOptions, &signSettings{}))
}

func BenchmarkVerify(b *testing.B) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	s := signed(b, newTestSigner(b, ed, ""), mail+strings.Repeat("a line of text\r\n", 500))
	v := newTestVerifier(b, "", zone(b, `s._domainkey.x.test TXT "`+record(b, ed)+`"`))
	b.ReportAllocs()
	for b.Loop() {
		ask(b, v, s)
	}
}
