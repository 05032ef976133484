package svtest

import (
	"context"
	"io/fs"
	"strings"
	"time"

	"mtad/message"
	"mtad/pipeline"
	lang "mtad/sieve"
	"mtad/smtp"
)

// house is the account of a suite, in memory: folders, annotations, and what
// scripts remember.
type house struct {
	folders     map[string][]filed
	annotations map[string]string // by folder and name; the server's by "" and name
	marks       map[string]mark
	uses        map[string]string // folders by special use
	ids         map[string]string // folders by mailbox ID
}

// filed is a message in a folder.
type filed struct {
	m     *message.Message
	flags []string
}

type mark struct {
	n    int64
	ends time.Time
}

func newHouse() *house {
	return &house{folders: map[string][]filed{"INBOX": nil}, annotations: map[string]string{}, marks: map[string]mark{}, uses: map[string]string{}, ids: map[string]string{}}
}

func inbox(name string) string {
	if name == "" || strings.EqualFold(name, "INBOX") {
		return "INBOX"
	}
	return name
}

func (h *house) file(folder string, m *message.Message, flags []string) {
	folder = inbox(folder)
	h.folders[folder] = append(h.folders[folder], filed{m, flags})
}

// Script is none: suites name their scripts.
func (h *house) Script(context.Context, smtp.Address) (text, version string, ok bool, err error) {
	return "", "", false, nil
}

// ScriptNamed is none.
func (h *house) ScriptNamed(context.Context, smtp.Address, string) (string, error) {
	return "", fs.ErrNotExist
}

// SieveState is the account's own.
func (h *house) SieveState(smtp.Address) (pipeline.KV, error) { return h, nil }

// Folders are the account's own.
func (h *house) Folders(smtp.Address) lang.Mailboxes { return h }

// Exists reports whether a folder is there.
func (h *house) Exists(_ context.Context, name string) (bool, error) {
	_, ok := h.folders[inbox(name)]
	return ok, nil
}

// Special finds the folder that was created for that use.
func (h *house) Special(_ context.Context, mailbox, use string) (string, bool, error) {
	folder, ok := h.uses[strings.ToLower(use)]
	return folder, ok && (mailbox == "" || inbox(mailbox) == folder), nil
}

// ByID finds the folder that was created with that ID.
func (h *house) ByID(_ context.Context, id string) (string, bool, error) {
	folder, ok := h.ids[id]
	return folder, ok, nil
}

// Annotation is what test_imap_metadata_set has set.
func (h *house) Annotation(_ context.Context, mailbox, name string) (string, bool, error) {
	if mailbox != "" {
		mailbox = inbox(mailbox)
	}
	s, ok := h.annotations[mailbox+"\x00"+strings.ToLower(name)]
	return s, ok, nil
}

// Get is a mark that has not expired.
func (h *house) Get(_ context.Context, key string) ([]byte, bool, error) {
	m, ok := h.marks[key]
	return nil, ok && time.Now().Before(m.ends), nil
}

// Set sets a mark.
func (h *house) Set(_ context.Context, key string, _ []byte, ttl time.Duration) error {
	h.marks[key] = mark{1, time.Now().Add(ttl)}
	return nil
}

// Add counts.
func (h *house) Add(_ context.Context, key string, delta int64, ttl time.Duration) (int64, error) {
	m := h.marks[key]
	if time.Now().After(m.ends) {
		m = mark{ends: time.Now().Add(ttl)}
	}
	m.n += delta
	h.marks[key] = m
	return m.n, nil
}
