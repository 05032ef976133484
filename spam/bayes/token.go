package bayes

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"

	"mtad/spam/mail"
)

// Hash is what is stored of a token: the last five octets of its SHA-1.
type Hash [5]byte

// HashOf is a token's hash.
func HashOf(token []byte) Hash {
	sum := sha1.Sum(token)
	return Hash(sum[len(sum)-5:])
}

// String is the hash as backups have it.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Token is a token of a message: its hash, and for explanations its text, of which no
// more than 200 octets are kept.
type Token struct {
	Hash Hash
	Text string
}

// Input is what tokens are made of.
type Input struct {
	Fields             []mail.Field
	Visible, Invisible [][]byte // the text, as mail.Message.Text gives it
	// URIs are the links of text, in all their forms, and HTMLURIs those of HTML: of
	// these SpamAssassin sees characters (of ISO-8859-1, no others) instead of octets.
	URIs, HTMLURIs []string
	// Metadata is what was found about the message, by names in small letters and
	// sorted by them: "x-spam-relays-trusted", "x-spam-relays-untrusted" and so on.
	Metadata []Metadata
	// Digests are the parts: SHA-1 in hexadecimal, colon, type (Digests makes them).
	Digests []string
	// Addresses takes a field with addresses apart; without it they make no tokens.
	Addresses func(value string) []Address
	// Cut, if it is not nil, is told which source had more tokens than are made of one.
	Cut func(format string, bound int)
}

func (in *Input) cut(format string, bound int) {
	if in.Cut != nil {
		in.Cut(format, bound)
	}
}

// Metadata is a fact about a message in a field's form.
type Metadata struct{ Name, Value string }

// Address is one of a field: a phrase, an address, or both.
type Address struct{ Phrase, Address string }

// Input begins an Input with what the message itself has. Links, relays and the
// reader of addresses are the caller's to add.
func (s *Settings) Input(m *mail.Message) *Input {
	in := &Input{Fields: m.Fields}
	if s.Visible {
		in.Visible = m.Text(mail.Visible)
	}
	if s.Invisible {
		in.Invisible = m.Text(mail.Invisible)
	}
	if s.MIMEPart {
		in.Digests = Digests(m)
	}
	return in
}

// Digests are the digests of a message's parts.
func Digests(m *mail.Message) []string {
	var out []string
	for _, p := range m.Leaves() {
		sum := sha1.Sum(p.Decoded())
		out = append(out, hex.EncodeToString(sum[:])+":"+p.Type)
	}
	return out
}

// plainDigests are names for parts that have nothing in them, or next to nothing.
var plainDigests = map[string]string{
	"da39a3ee5e6b4b0d3255bfef95601890afd80709:text/plain": "Empty-Plaintext",
	"da39a3ee5e6b4b0d3255bfef95601890afd80709:text/html":  "Empty-HTML",
	"da39a3ee5e6b4b0d3255bfef95601890afd80709:text/xml":   "Empty-XML",
	"adc83b19e793491b1c6ea0fd8b46cd9f32e592fc:text/plain": "OneNL-Plaintext",
	"adc83b19e793491b1c6ea0fd8b46cd9f32e592fc:text/html":  "OneNL-HTML",
	"71853c6197a6a7f222db0f1978c7cb232b87c5ee:text/plain": "TwoNL-Plaintext",
	"71853c6197a6a7f222db0f1978c7cb232b87c5ee:text/html":  "TwoNL-HTML",
}

// Bounds of the tokens of one source, of which the same may be several. They are
// looked at behind each line, link or field.
const (
	maxText   = 50000
	maxURI    = 10000
	maxHeader = 10000
	maxKept   = 200 // octets of a token's text
)

// region says where a text is from.
type region int

const (
	inHeader region = iota
	inBody
	inURI
)

// Tokens makes the tokens of a message, each once.
func (s *Settings) Tokens(in *Input) []Token {
	c := newCollector(s)
	if s.Visible {
		c.texts(in, in.Visible, "")
	}
	if s.URI {
		c.made = 0
		c.links(in)
	}
	if s.Invisible {
		c.texts(in, in.Invisible, "I*:")
	}
	if s.MIMEPart {
		for _, d := range in.Digests {
			if name, ok := plainDigests[d]; ok {
				d = name
			}
			c.add("MIME:", []byte(d))
		}
	}
	if s.Header {
		c.header(in)
	}
	return c.tokens
}

// collector gathers tokens. What it does most is find one that it has already.
type collector struct {
	s       *Settings
	tokens  []Token
	index   map[Hash]int
	stopped map[string]bool // what is known of stop words
	made    int             // tokens of this source so far, the same ones too
	kept    arena
	latin   bool // octets are characters of ISO-8859-1

	text, clean, spare, token []byte // scratch
}

func newCollector(s *Settings) *collector {
	return &collector{s: s, index: make(map[Hash]int, 512), stopped: make(map[string]bool, 256), tokens: make([]Token, 0, 512)}
}

// arena keeps short texts, many in one piece of memory.
type arena struct{ strings.Builder }

func (a *arena) keep(text []byte) string {
	if a.Cap()-a.Len() < len(text) {
		a.Builder = strings.Builder{}
		a.Grow(max(4096, len(text)))
	}
	n := a.Len()
	a.Write(text)
	return a.String()[n:]
}

// links makes tokens of links.
func (c *collector) links(in *Input) {
	for _, u := range in.URIs {
		if c.line([]byte(u), "", inURI); c.made >= maxURI {
			in.cut("tokens: %d of the links", maxURI)
			return
		}
	}
	for _, u := range in.HTMLURIs {
		text, latin := latin1(u)
		c.latin = latin
		c.line(text, "", inURI)
		if c.latin = false; c.made >= maxURI {
			in.cut("tokens: %d of the links", maxURI)
			return
		}
	}
}

func (c *collector) texts(in *Input, lines [][]byte, prefix string) {
	c.made = 0
	for _, l := range lines {
		if c.line(l, prefix, inBody); c.made >= maxText {
			in.cut("tokens: %d of the text", maxText)
			return
		}
	}
}

// add adds a token; an empty one is none.
func (c *collector) add(prefix string, token []byte) {
	c.made++
	c.text = append(append(c.text[:0], prefix...), token...)
	if len(c.text) == 0 {
		return
	}
	h := HashOf(c.text)
	text := c.text[:min(len(c.text), maxKept)]
	if i, ok := c.index[h]; !ok {
		c.index[h] = len(c.tokens)
		c.tokens = append(c.tokens, Token{h, c.kept.keep(text)})
	} else if c.tokens[i].Text != string(text) {
		c.tokens[i].Text = c.kept.keep(text)
	}
}

// stopWord reports whether a token is a stop word, and remembers it for the message.
func (c *collector) stopWord(token []byte) bool {
	if len(c.s.stop) == 0 {
		return false
	}
	stop, known := c.stopped[string(token)]
	if !known {
		stop = c.s.stopped(token)
		c.stopped[c.kept.keep(token)] = stop
	}
	return stop
}
