package main

import (
	"bytes"
	"context"
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

	"mtad/directory"
	"mtad/mailbox"
)

// devFiles are the templates of the directory that --dev makes.
//
//go:embed dev
var devFiles embed.FS

// devPorts are the ports of dev mode: the well-known ones above a base.
type devPorts struct {
	SMTP, Submission, Submissions, IMAP, IMAPS, HTTP, Sink int
	DKIM                                                   string
}

func portsFrom(base int) devPorts {
	return devPorts{
		SMTP: base + 25, Submission: base + 587, Submissions: base + 465,
		IMAP: base + 143, IMAPS: base + 993, HTTP: base + 80, Sink: base + 2525,
	}
}

// maxBase leaves room for the highest port.
const maxBase = 65535 - 2525

// devUsers are the demo accounts; each password is the name.
var devUsers = []string{"alice", "bob", "carol"}

const devDomain = "example.test"

// serveDev makes the directory if it is not there, and serves from it.
func serveDev(ctx context.Context, dir string, base int, out, logTo io.Writer) error {
	if base < 1024 || base > maxBase {
		return exitf(exitUsage, "--base-port must be from 1024 to %d", maxBase)
	}
	d := dev{dir: dir, ports: portsFrom(base)}
	if err := d.prepare(); err != nil {
		return exitf(exitIO, "dev mode: %w", err)
	}
	sink, err := startSink(filepath.Join(dir, "sink"), d.ports.Sink)
	if err != nil {
		return &exitError{exitTemp, busyPort("sink", fmt.Sprintf("127.0.0.1:%d", d.ports.Sink), err)}
	}
	defer sink.Close()
	return serve(ctx, filepath.Join(dir, configName), logTo, func(h *house) error {
		if err := seed(ctx, h); err != nil {
			return err
		}
		return d.screen(out)
	})
}

// dev is a directory of dev mode.
type dev struct {
	dir   string
	ports devPorts
}

// portsFile remembers the ports that mtad.hcl was written for.
const portsFile = "base-port"

// prepare writes what is missing. Files that are there are the user's.
func (d *dev) prepare() error {
	for _, sub := range []string{"rules", "mail", "sink"} {
		if err := os.MkdirAll(filepath.Join(d.dir, sub), 0o700); err != nil {
			return err
		}
	}
	if err := d.keepBase(); err != nil {
		return err
	}
	if err := makeCertificates(d.dir, time.Now()); err != nil {
		return err
	}
	key, err := d.dkimKey()
	if err != nil {
		return err
	}
	d.ports.DKIM = "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	if err := d.writeTemplates(); err != nil {
		return err
	}
	return d.writeMail(key)
}

// keepBase refuses other ports than those that the directory's configuration
// has.
func (d *dev) keepBase() error {
	path := filepath.Join(d.dir, portsFile)
	want := fmt.Sprintln(d.ports.SMTP - 25)
	had, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return os.WriteFile(path, []byte(want), 0o600)
	}
	if err == nil && string(had) != want {
		return fmt.Errorf("%s was made with --base-port %s: give that again, or another --dir", d.dir, bytes.TrimSpace(had))
	}
	return err
}

// writeTemplates writes each file that is missing.
func (d *dev) writeTemplates() error {
	return fs.WalkDir(devFiles, "dev", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel("dev", path)
		if err != nil {
			return err
		}
		text, err := devFiles.ReadFile(path)
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
			if err := t.Execute(&b, d.ports); err != nil {
				return err
			}
			text = b.Bytes()
		}
		return writeNew(filepath.Join(d.dir, string(name)), text)
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
func (d *dev) dkimKey() (ed25519.PrivateKey, error) {
	path := filepath.Join(d.dir, "good.test.key")
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
func (d *dev) writeMail(key ed25519.PrivateKey) error {
	date := time.Now().Format(time.RFC1123Z)
	var good bytes.Buffer
	err := dkim.Sign(&good, bytes.NewReader(fmt.Appendf(nil, goodMail, date)), &dkim.SignOptions{
		Domain: "good.test", Selector: "dev", Signer: key, HeaderKeys: []string{"From", "To", "Subject", "Date", "Message-ID"},
	})
	if err != nil {
		return err
	}
	return errors.Join(
		writeNew(filepath.Join(d.dir, "mail", "good.eml"), good.Bytes()),
		writeNew(filepath.Join(d.dir, "mail", "forged.eml"), fmt.Appendf(nil, forgedMail, date)),
	)
}

// seed makes the demo accounts, once.
func seed(ctx context.Context, h *house) error {
	domains, err := h.directory.Domains(ctx)
	if err != nil || len(domains) > 0 {
		return err
	}
	if err := h.directory.AddDomain(ctx, devDomain, directory.Local); err != nil {
		return err
	}
	for _, name := range devUsers {
		u, err := h.directory.AddUser(ctx, name+"@"+devDomain, name)
		if err != nil {
			return err
		}
		if err := h.mailboxes.Provision(ctx, mailbox.AccountID(u.ID)); err != nil {
			return err
		}
	}
	return h.directory.AddAlias(ctx, "root@"+devDomain, "alice@"+devDomain)
}

// screen is what the user sees when everything runs.
func (d *dev) screen(w io.Writer) error {
	t, err := template.New("screen").Parse(devScreen)
	if err != nil {
		return err
	}
	return t.Execute(w, map[string]any{"P": d.ports, "Dir": d.dir, "Mtad": os.Args[0], "Config": d.configFlag()})
}

// configFlag is what other commands need to find the directory: nothing, if it
// is where they look.
func (d *dev) configFlag() string {
	if filepath.Clean(d.dir) == devDir {
		return ""
	}
	return " -c " + filepath.Join(d.dir, configName)
}

const devScreen = `mtad runs. SMTP {{.P.SMTP}}, submission {{.P.Submission}} and {{.P.Submissions}} (TLS), IMAP {{.P.IMAP}} and {{.P.IMAPS}} (TLS), HTTP {{.P.HTTP}}.
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
