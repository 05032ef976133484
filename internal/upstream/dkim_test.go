package upstream

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
)

const goMsgauth = "emersion/go-msgauth"

const dkimBody = "Hello.\r\n"

// sign makes a message with one signature over From and the body, canonicalized
// simple/simple (RFC 6376, 3.4), with more tags in it. It is written out here
// because go-msgauth can not make these.
func sign(key ed25519.PrivateKey, domain, tags string) string {
	const from = "From: <a@example.test>\r\n"
	bh := sha256.Sum256([]byte(dkimBody))
	field := fmt.Sprintf("DKIM-Signature: v=1; a=ed25519-sha256; d=%s; s=sel; h=from; %sbh=%s; b=",
		domain, tags, base64.StdEncoding.EncodeToString(bh[:]))
	hash := sha256.Sum256([]byte(from + field))
	// RFC 8463, 3: the hash is what is signed.
	b := base64.StdEncoding.EncodeToString(ed25519.Sign(key, hash[:]))
	return field + b + "\r\n" + from + "\r\n" + dkimBody
}

// verify signs and verifies with a key record that has more tags.
func verify(t *testing.T, domain, tags, record string) *dkim.Verification {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	txt := "v=DKIM1; k=ed25519; " + record + "p=" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	vs, err := dkim.VerifyWithOptions(strings.NewReader(sign(key, domain, tags)), &dkim.VerifyOptions{
		LookupTXT: func(string) ([]string, error) { return []string{txt}, nil },
	})
	if err != nil || len(vs) != 1 {
		t.Fatal(vs, err)
	}
	return vs[0]
}

// The signer above is right.
func TestDKIMPlain(t *testing.T) {
	if v := verify(t, "example.test", "", ""); v.Err != nil {
		t.Fatal(v.Err)
	}
}

// RFC 6376, 3.5: l= of the whole body is a good signature. A safe refusal, but the
// result has to be told from a broken one.
func TestDKIMLengthFails(t *testing.T) {
	if v := verify(t, "example.test", fmt.Sprintf("l=%d; ", len(dkimBody)), ""); v.Err == nil {
		reconsider(t, goMsgauth, "signatures with l= verify")
	}
}

// RFC 6376, 3.5: i= is in the domain of d=, and domains have no case.
func TestDKIMIdentityHasCase(t *testing.T) {
	if v := verify(t, "Example.test", "i=@example.test; ", ""); v.Err == nil {
		reconsider(t, goMsgauth, "i= and d= are compared without case")
	}
}

// RFC 6376, 3.6.1: a key with t=s is not for subdomains in i=.
func TestDKIMStrictKeyIgnored(t *testing.T) {
	if v := verify(t, "example.test", "i=@sub.example.test; ", "t=s; "); v.Err != nil {
		reconsider(t, goMsgauth, "t=s is obeyed: "+v.Err.Error())
	}
}

// A result does not say which selector, algorithm and size of key it is about, so
// that Authentication-Results can not either (RFC 8601, 2.7.1).
func TestDKIMResultLacks(t *testing.T) {
	if n := has(names(&dkim.Verification{}), "Selector", "Algo", "KeySize", "Bits"); n != "" {
		reconsider(t, goMsgauth, "a verification has "+n)
	}
}

// The module has no ARC.
func TestNoARC(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/emersion/go-msgauth").Output()
	if err != nil {
		t.Fatal(err)
	}
	if found, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "arc*")); len(found) > 0 {
		reconsider(t, goMsgauth, "there is ARC: "+found[0])
	}
}
