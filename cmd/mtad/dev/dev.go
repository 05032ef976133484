// Package dev is dev mode's directory: a configuration, certificates, a zone
// file, rules and two messages to try, and the sink where mail for foreign
// domains ends. What is there already is the user's and stays.
package dev

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"embed"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/template"
	"time"

	"github.com/emersion/go-msgauth/dkim"
)

// files are the templates of the directory that --dev makes.
//
//go:embed files
var files embed.FS

// Ports are the ports of dev mode: the well-known ones above a base.
type Ports struct {
	SMTP, LMTP, Submission, Submissions, IMAP, IMAPS, ManageSieve, HTTP, Sink int
	DKIM                                                                      string
}

// PortsFrom adds a base to the well-known ports.
func PortsFrom(base int) Ports {
	return Ports{
		SMTP: base + 25, LMTP: base + 24, Submission: base + 587, Submissions: base + 465,
		IMAP: base + 143, IMAPS: base + 993, ManageSieve: base + 4190, HTTP: base + 80, Sink: base + 2525,
	}
}

// MaxBase leaves room for the highest port.
const MaxBase = 65535 - 4190

// Dir is a directory of dev mode.
type Dir struct {
	Path  string
	Ports Ports
}

// portsFile remembers the ports that mtad.hcl was written for.
const portsFile = "base-port"

// Prepare writes what is missing. Files that are there are the user's.
func (d *Dir) Prepare() error {
	for _, sub := range []string{"rules", "mail", "sink"} {
		if err := os.MkdirAll(filepath.Join(d.Path, sub), 0o700); err != nil {
			return err
		}
	}
	if err := d.keepBase(); err != nil {
		return err
	}
	if err := makeCertificates(d.Path, time.Now()); err != nil {
		return err
	}
	key, err := d.dkimKey()
	if err != nil {
		return err
	}
	d.Ports.DKIM = "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	if err := d.writeTemplates(); err != nil {
		return err
	}
	return d.writeMail(key)
}

// keepBase refuses other ports than those that the directory's configuration
// has.
func (d *Dir) keepBase() error {
	path := filepath.Join(d.Path, portsFile)
	want := fmt.Sprintln(d.Ports.SMTP - 25)
	had, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return os.WriteFile(path, []byte(want), 0o600)
	}
	if err == nil && string(had) != want {
		return fmt.Errorf("%s was made with --base-port %s: give that again, or another --dir", d.Path, bytes.TrimSpace(had))
	}
	return err
}

// writeTemplates writes each file that is missing.
func (d *Dir) writeTemplates() error {
	return fs.WalkDir(files, "files", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel("files", path)
		if err != nil {
			return err
		}
		text, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		name, isTemplate := bytes.CutSuffix([]byte(rel), []byte(".tmpl"))
		if isTemplate {
			t, err := template.New(rel).Parse(string(text))
			if err != nil {
				return err
			}
			var b bytes.Buffer
			if err := t.Execute(&b, d.Ports); err != nil {
				return err
			}
			text = b.Bytes()
		}
		return writeNew(filepath.Join(d.Path, string(name)), text)
	})
}

// writeNew writes a file unless it is there.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// dkimKey is the key that good.test signs with.
func (d *Dir) dkimKey() (ed25519.PrivateKey, error) {
	path := filepath.Join(d.Path, "good.test.key")
	if b, err := os.ReadFile(path); err == nil {
		block, _ := pem.Decode(b)
		if block == nil {
			return nil, fmt.Errorf("%s is not PEM; delete it and zone.txt to have new ones", path)
		}
		k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if key, ok := k.(ed25519.PrivateKey); err == nil && ok {
			return key, nil
		}
		return nil, fmt.Errorf("%s is no Ed25519 key; delete it and zone.txt to have new ones", path)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeNew(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

const (
	goodMail   = "From: Ann <ann@good.test>\r\nTo: alice@example.test\r\nSubject: A good mail\r\nDate: %s\r\nMessage-ID: <good-1@good.test>\r\n\r\nSigned by good.test, and sent from where good.test sends.\r\n"
	forgedMail = "From: The Boss <boss@forged.test>\r\nTo: alice@example.test\r\nSubject: Please pay this invoice\r\nDate: %s\r\nMessage-ID: <forged-1@forged.test>\r\n\r\nforged.test says that it never sends mail.\r\n"
)

// writeMail writes one message that is what it says, and one that is not.
func (d *Dir) writeMail(key ed25519.PrivateKey) error {
	date := time.Now().Format(time.RFC1123Z)
	var good bytes.Buffer
	err := dkim.Sign(&good, bytes.NewReader(fmt.Appendf(nil, goodMail, date)), &dkim.SignOptions{
		Domain: "good.test", Selector: "dev", Signer: key, HeaderKeys: []string{"From", "To", "Subject", "Date", "Message-ID"},
	})
	if err != nil {
		return err
	}
	return errors.Join(
		writeNew(filepath.Join(d.Path, "mail", "good.eml"), good.Bytes()),
		writeNew(filepath.Join(d.Path, "mail", "forged.eml"), fmt.Appendf(nil, forgedMail, date)),
	)
}

// Screen tells the user, when everything runs, what to type next. program is
// the binary, config the flag that other commands need to find the directory.
func (d *Dir) Screen(w io.Writer, program, config string) error {
	t, err := template.New("screen").Parse(screenText)
	if err != nil {
		return err
	}
	return t.Execute(w, map[string]any{"P": d.Ports, "Dir": d.Path, "Mtad": program, "Config": config})
}

const screenText = `mtad runs. SMTP {{.P.SMTP}}, LMTP {{.P.LMTP}}, submission {{.P.Submission}} and {{.P.Submissions}} (TLS), IMAP {{.P.IMAP}} and {{.P.IMAPS}} (TLS), ManageSieve {{.P.ManageSieve}}, HTTP {{.P.HTTP}}.
Accounts alice, bob, carol at example.test; each password is the name. Ctrl-C stops.
In a second shell:

  send   {{.Mtad}} smtp send{{.Config}} --client 192.0.2.10 --file {{.Dir}}/mail/good.eml
  why    {{.Mtad}} trace last{{.Config}}
  read   curl -s --cacert {{.Dir}}/ca.pem -u alice:alice "imaps://localhost:{{.P.IMAPS}}/INBOX;MAILINDEX=1"
         mutt -F {{.Dir}}/muttrc

  A forged mail is refused, with the reason:
         {{.Mtad}} smtp send{{.Config}} --client 203.0.113.5 --file {{.Dir}}/mail/forged.eml

  A rule of your own: take the two dashes off the last lines of {{.Dir}}/rules/sort.lua, then
         {{.Mtad}} smtp send{{.Config}} --to alice@example.test --subject "invoice 42"
         {{.Mtad}} trace last{{.Config}}

`
