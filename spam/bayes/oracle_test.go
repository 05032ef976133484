package bayes

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mtad/internal/mtatest"
	"mtad/spam/conf"
	"mtad/spam/mail"
	"mtad/spam/spamtest"
)

// room is the way to the directory "spam".
const room = ".."

// seen is what SpamAssassin makes tokens of, and the tokens.
type seen struct {
	Tokens              map[string]spamtest.Bytes
	URIs, HTMLURIs, IDs []spamtest.Bytes
	Date                int64
	Metadata            []struct{ Name, Value spamtest.Bytes }
	Addresses           map[string][]struct{ Phrase, Address spamtest.Bytes }
}

// octets undoes what JSON has made of octets in a key.
func octets(key string) string {
	var out []byte
	for _, r := range key {
		out = append(out, byte(r))
	}
	return string(out)
}

// input makes an Input of a message and of what other packages would find in it.
func (w *seen) input(s *Settings, m *mail.Message) *Input {
	in := s.Input(m)
	for _, u := range w.URIs {
		in.URIs = append(in.URIs, string(u))
	}
	for _, u := range w.HTMLURIs {
		in.HTMLURIs = append(in.HTMLURIs, string(u))
	}
	for _, f := range w.Metadata {
		in.Metadata = append(in.Metadata, Metadata{string(f.Name), string(f.Value)})
	}
	addresses := map[string][]Address{}
	for value, list := range w.Addresses {
		for _, a := range list {
			addresses[octets(value)] = append(addresses[octets(value)], Address{string(a.Phrase), string(a.Address)})
		}
	}
	in.Addresses = func(value string) []Address { return addresses[value] }
	return in
}

// settings are those of Debian's files with more text.
func settings(t testing.TB, more string) (*conf.Ruleset, *Settings) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "more.cf")
	mtatest.Check(t, os.WriteFile(path, []byte(more), 0o600))
	files := []string{spamtest.Stock, spamtest.Site, path}
	if mtatest.Race { // without the rules, which take long to read
		files[0] = options(t)
	}
	r, err := conf.Load(files, conf.Options{Local: true})
	mtatest.Check(t, err)
	for _, p := range r.Problems {
		t.Errorf("%v", p)
	}
	return r, NewSettings(r)
}

// options writes what Debian's rules say of Bayes to a file.
func options(t testing.TB) string {
	t.Helper()
	all, err := filepath.Glob(spamtest.Stock + "/*.cf")
	mtatest.Check(t, err)
	var out strings.Builder
	for _, path := range all {
		text, err := os.ReadFile(path)
		mtatest.Check(t, err)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(strings.TrimSpace(line), "bayes_") {
				out.WriteString(line)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "options.cf")
	mtatest.Write(t, path, out.String())
	return path
}

// stock are Debian's rules with more text.
func stock(t testing.TB, more string) *conf.Ruleset {
	t.Helper()
	path := filepath.Join(t.TempDir(), "more.cf")
	mtatest.Write(t, path, more)
	r, err := conf.Load([]string{spamtest.Stock, spamtest.Site, path}, conf.Options{Local: true})
	mtatest.Check(t, err)
	return r
}

// asker asks an oracle about messages.
type asker struct{ *spamtest.Oracle }

func ask(t testing.TB, options ...string) *asker {
	t.Helper()
	return &asker{spamtest.Start(t, room, spamtest.Stock, spamtest.Site, options...)}
}

// lesson is a message as it would be learned.
func (a *asker) lesson(t testing.TB, s *Settings, text []byte) (Lesson, *seen) {
	t.Helper()
	var w seen
	a.About(t, "tokens", text, &w)
	m := mail.Parse(text, mail.Limits{Body: 50000, RawBody: 500000})
	return Lesson{IDs: MessageIDs(m), Tokens: s.Tokens(w.input(s, m))}, &w
}

func texts(tokens []Token) []string {
	var out []string
	for _, t := range tokens {
		out = append(out, t.Hash.String()+" "+t.Text)
	}
	slices.Sort(out)
	return out
}

// difference lists what only one side has.
func difference(got, want []string) (only, missing []string) {
	in := func(list []string) map[string]bool {
		out := map[string]bool{}
		for _, s := range list {
			out[s] = true
		}
		return out
	}
	g, w := in(got), in(want)
	for _, s := range got {
		if !w[s] {
			only = append(only, s)
		}
	}
	for _, s := range want {
		if !g[s] {
			missing = append(missing, s)
		}
	}
	return only, missing
}

func TestTokensAgainstPerl(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]string{
		"stock": "",
		"other": "bayes_token_sources none\nbayes_token_sources all nouri\nbayes_stopword_languages fr\nbayes_stopword_languages de, ru\n" +
			"bayes_max_token_length 10\nbayes_ignore_header X-Mailer list-unsubscribe to",
		"parts": "bayes_token_sources none mimepart uri\nbayes_stopword_languages disable",
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t, "text="+more)
			_, s := settings(t, more)
			messages := corpus(mtatest.Fewer(60))
			all := 0
			for _, m := range slices.Concat(messages, odd(mtatest.Fewer(30)), linked(mtatest.Fewer(20)), named(mtatest.Fewer(20))) {
				l, w := a.lesson(t, s, m.Text)
				var want, ids []string
				for h, text := range w.Tokens {
					want = append(want, h+" "+string(text[:min(len(text), maxKept)]))
				}
				for _, id := range w.IDs {
					ids = append(ids, string(id))
				}
				if only, missing := difference(texts(l.Tokens), want); only != nil || missing != nil {
					t.Errorf("%s: only here %q, only there %q", m.Name, only, missing)
				}
				if !slices.Equal(l.IDs, ids) {
					t.Errorf("%s: names %q, want %q", m.Name, l.IDs, ids)
				}
				all += len(want)
			}
			t.Logf("%d tokens", all)
		})
	}
}

// corpus makes n messages; SEED makes others, and more of them.
func corpus(n int) []spamtest.Message {
	return spamtest.Corpus(spamtest.Cases(n, 1000))
}

// long is said by MTAD_LONG: as many messages as SpamAssassin asks for by default, where
// fewer are told to do.
func long() bool { return os.Getenv("MTAD_LONG") != "" }

// odd makes messages with fields and texts that are hard to take apart.
func odd(n int) []spamtest.Message {
	var out []spamtest.Message
	for i := range n {
		r := rand.New(rand.NewPCG(7, uint64(i)))
		var b strings.Builder
		for range r.IntN(12) {
			fmt.Fprintf(&b, "%s: %s\n", oddNames[r.IntN(len(oddNames))], oddLine(r))
		}
		b.WriteString("Content-Type: text/plain; charset=utf-8\n\n")
		for range r.IntN(20) {
			b.WriteString(oddLine(r) + "\n")
		}
		out = append(out, spamtest.Message{Name: fmt.Sprintf("odd-%d", i), Text: []byte(b.String())})
	}
	return out
}

// linked makes messages of HTML with links that have more than ASCII in them.
func linked(n int) []spamtest.Message {
	var out []spamtest.Message
	for i := range n {
		r := rand.New(rand.NewPCG(9, uint64(i)))
		var b strings.Builder
		b.WriteString("Content-Type: text/html; charset=utf-8\n\n")
		for range 5 {
			fmt.Fprintf(&b, "<a href=\"http://%s.example.com/\u00c9t\u00e9\u00a0%s\">x</a>\n", oddPieces[r.IntN(len(oddPieces))], strings.Trim(oddLine(r), "\"<>"))
		}
		out = append(out, spamtest.Message{Name: fmt.Sprintf("linked-%d", i), Text: []byte(strings.ToValidUTF8(b.String(), ""))})
	}
	return out
}

// named makes messages of HTML in ASCII, with letters and signs by their names.
func named(n int) []spamtest.Message {
	var out []spamtest.Message
	for i := range n {
		r := rand.New(rand.NewPCG(11, uint64(i)))
		var b strings.Builder
		b.WriteString("Content-Type: text/html\n\n")
		for range 20 {
			b.WriteString([]string{"caf&eacute; ", "&copy; ", "&copy;Example", "&#160;", "&nbsp;", "na&iuml;vet&eacute; ", "word ", "<p>", "<font color=white>", "</font>", "&Agrave;&Eacute;", "&#xa0;\n"}[r.IntN(12)])
		}
		if r.IntN(4) == 0 {
			b.WriteString("&euro; ")
		}
		out = append(out, spamtest.Message{Name: fmt.Sprintf("named-%d", i), Text: []byte(b.String())})
	}
	return out
}

var oddNames = strings.Fields(`Message-Id Message-ID X-Message-Id Resent-Message-Id x-resent-message-id Received received From Resent-From To X-To cc
	Return-path Sender Content-Type content-type MIME-Version mime-version X-Face ARC-Seal DomainKey-Signature X-Spam-Relays-External
	x-spam-relays-external X-Spam-Foo X-Spam-Status X-DCC-Foo-Metrics X-DCC-x-Metrics X-SpamCop-Foo X-VM-v5-Data X-VM-Foo Organisation
	References In-Reply-To X-Mailer User-Agent Keywords *MI X-GnuPG-Fingerprint X-Gnu-PG-Key-Fingerprint Lines Xref SPAM X-Odd Content-Disposition`)

var oddPieces = []string{"Hello", "world", "...", "....", ".......", "--", "---", "-------", ". ", " ", "  ", "FREE", "Foo", "a", "_", "$31,000,000", "f*ck",
	"it's", "You", "the", "und", "avec", "user@example.com", "@", "a@b@c.d.example", "www.clock-speed.co.uk", ".com", "x.", "é", "ü", "日本語", "中文字符測試漢字", "😀",
	"\xff", "\xc3", "\xa0", "\x80", "supercalifragilistic", "ABCDEFGHIJKLMNOPQ", "éééééééééééé", "1.2.3.4", "10.1.2.3", "192.168.7.9", "ip=1.2.3.4", " helo=x ",
	"<0123456789ab$01234567$89abcdef@pc>", "<1abcDEF-0001Ab-0C@host>", "<20261126100000.0123456789AB@host>", " with ESMTP id ABCDEF0123 ", " id 1abcDEF-0001Ab-0C ",
	"Thu, 26 Nov 2026 10:00:00 +0100 (CET)", "1.0", "boundary=\"--=_Next.0A1b\"", "boundary='x'", "charset=utf-8", "text/plain", "\"", "'", ",", "!", "(", ")", "<", ">", ":", ";",
	"\"Q. Name\" <q@example.net>", "=?utf-8?q?J=C3=BCrgen?=", "\t", "for ", "SMTP ", "http://example.com/Path?Query=1&b=%41"}

func oddLine(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(15) {
		b.WriteString(oddPieces[r.IntN(len(oddPieces))])
		if r.IntN(3) == 0 {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// TestLinesAgainstPerl compares lines of any octets, which messages do not have.
func TestLinesAgainstPerl(t *testing.T) {
	t.Parallel()
	for _, length := range []string{"15", "4"} {
		more := "bayes_max_token_length " + length
		a := ask(t, "text="+more)
		_, s := settings(t, more)
		r := rand.New(rand.NewPCG(3, 4))
		for range mtatest.Fewer(1500) {
			line := []byte(oddLine(r))
			if r.IntN(2) == 0 {
				for range r.IntN(10) {
					line = append(line, byte(r.IntN(256)))
				}
				r.Shuffle(len(line), func(i, j int) { line[i], line[j] = line[j], line[i] })
			}
			where := region(r.IntN(3))
			var perl struct{ Tokens []spamtest.Bytes }
			a.Ask(t, fmt.Sprintf("line %d %s", where, hex.EncodeToString(line)), &perl)
			var want []string
			for _, text := range perl.Tokens {
				if text != "" {
					want = append(want, HashOf([]byte(text)).String()+" "+string(text[:min(len(text), maxKept)]))
				}
			}
			c := newCollector(s)
			c.line(line, "", where)
			if only, missing := difference(texts(c.tokens), want); only != nil || missing != nil {
				t.Errorf("%q in %d: only here %q, only there %q", line, where, only, missing)
			}
			if c.made != len(perl.Tokens) {
				t.Errorf("%q in %d: %d tokens, want %d", line, where, c.made, len(perl.Tokens))
			}
		}
	}
}
