package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"mtad/config"
	"mtad/message"
	"mtad/pipeline"
)

// SignKind is filter "dkim_sign".
func SignKind() pipeline.Kind {
	return pipeline.Kind{
		Name: "dkim_sign", Doc: "Signs messages with DKIM.",
		Stages: pipeline.At(pipeline.Message), Options: signOptions, New: newSigner,
	}
}

type signSettings struct {
	Domain   string        `mtad:"domain"`
	Selector string        `mtad:"selector"`
	Key      config.Secret `mtad:"key"`
	Headers  []string      `mtad:"headers"`
}

// signedHeaders are the fields of RFC 6376, 5.4.1.
var signedHeaders = []string{
	"From", "Reply-To", "Subject", "Date", "To", "Cc", "In-Reply-To", "References", "Message-ID",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-ID", "Content-Description",
	"Resent-Date", "Resent-From", "Resent-To", "Resent-Cc", "List-Id", "List-Help", "List-Unsubscribe", "List-Subscribe",
	"List-Post", "List-Owner", "List-Archive",
}

var signOptions = []config.Option{
	{Name: "domain", Type: config.TypeString, Required: true, Reload: true, Doc: "The domain that signs (d=).", Example: `"example.org"`},
	{Name: "selector", Type: config.TypeString, Required: true, Reload: true, Doc: "The selector under which the public key is published (s=).", Example: `"s2026"`},
	{Name: "key", Type: config.TypeSecret, Required: true, Reload: true, Secret: true, Doc: "The private key, PEM: RSA of at least 1024 bits, or Ed25519.", Example: `file("/run/secrets/dkim.pem")`},
	{Name: "headers", Type: config.TypeStrings, Default: signedHeaders, Reload: true, Doc: "The fields that are signed, where the message has them. From must be among them.", Example: `["From", "Subject", "Date"]`},
}

type signer struct {
	signSettings
	key crypto.Signer
}

func newSigner(b config.Block, _ pipeline.Env) (pipeline.Filter, error) {
	f := &signer{}
	if err := b.Decode(&f.signSettings); err != nil {
		return nil, err
	}
	var err error
	if f.key, err = parseKey([]byte(f.Key)); err != nil {
		return nil, b.Errorf("key", "%v", err)
	}
	for _, h := range f.Headers {
		if strings.EqualFold(h, "From") {
			return f, nil
		}
	}
	return nil, b.Errorf("headers", "From must be signed (RFC 6376, 5.4)")
}

// parseKey reads a private key in PKCS #8 or PKCS #1.
func parseKey(b []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("the key is not PEM; `openssl genpkey -algorithm ed25519` makes one")
	}
	if k, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return strong(k)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the key can not be read: %w", err)
	}
	switch k := k.(type) {
	case *rsa.PrivateKey:
		return strong(k)
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, fmt.Errorf("the key is a %T; DKIM takes RSA and Ed25519", k)
}

// strong refuses RSA keys that verifiers ignore (RFC 8301, 3.2).
func strong(k *rsa.PrivateKey) (crypto.Signer, error) {
	if bits := k.N.BitLen(); bits < 1024 {
		return nil, fmt.Errorf("the RSA key has %d bits; verifiers want 1024 at least, better 2048", bits)
	}
	return k, nil
}

func (*signer) Stages() pipeline.Stages { return pipeline.At(pipeline.Message) }

func (*signer) Access(pipeline.Stage) (reads, writes pipeline.Facts) {
	return pipeline.Header | pipeline.Body, pipeline.Header
}

// Filter adds a signature on top of the header.
func (f *signer) Filter(_ context.Context, _ pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	m := v.Message()
	if _, ok := m.Header().First("From"); !ok {
		return pipeline.Verdict{Note: "not signed: no From"}, nil
	}
	s, err := dkim.NewSigner(&dkim.SignOptions{
		Domain: f.Domain, Selector: f.Selector, Signer: f.key, HeaderKeys: f.present(m),
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
	})
	if err != nil {
		return pipeline.Verdict{}, fmt.Errorf("dkim: sign: %w", err)
	}
	defer s.Close()
	if _, err := message.Copy(s, m.Bytes()); err != nil {
		return pipeline.Verdict{}, fmt.Errorf("dkim: sign: %w", err)
	}
	if err := s.Close(); err != nil {
		return pipeline.Verdict{}, fmt.Errorf("dkim: sign: %w", err)
	}
	_, value, _ := bytes.Cut([]byte(s.Signature()), []byte(":"))
	return pipeline.Verdict{Mods: []pipeline.Modification{
		pipeline.InsertHeader{At: 0, Name: "DKIM-Signature", Value: string(value), Raw: true},
	}}, nil
}

// present is the signed fields that the message has, From once more than it
// occurs, so that none can be added (RFC 6376, 8.15).
func (f *signer) present(m *message.Message) []string {
	keys := []string{"From"}
	for _, h := range f.Headers {
		for range m.Header().All(h) {
			keys = append(keys, h)
		}
	}
	return keys
}
