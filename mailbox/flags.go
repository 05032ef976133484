package mailbox

import (
	"slices"
	"strings"
)

// MaxKeywords is how many keywords a message can have.
const MaxKeywords = 64

const maxKeywordLen = 128

// normal sorts keywords and drops doubles.
func normal(keywords []string) []string {
	if len(keywords) == 0 {
		return nil
	}
	out := slices.Clone(keywords)
	slices.SortStableFunc(out, compareFold)
	return slices.CompactFunc(out, strings.EqualFold)
}

func compareFold(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }

// ValidKeyword reports whether a message can be given the keyword: an atom
// (RFC 3501, 9: flag-keyword) of at most 128 octets.
func ValidKeyword(s string) bool {
	return s != "" && len(s) <= maxKeywordLen &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r) })
}

// validKeywords refuses what would not survive storing.
func validKeywords(keywords []string) error {
	for _, k := range keywords {
		if !ValidKeyword(k) {
			return ErrTooMany
		}
	}
	if len(keywords) > MaxKeywords {
		return ErrTooMany
	}
	return nil
}

// apply is what f becomes.
func (op FlagOp) apply(f, with Flags) Flags {
	switch op {
	case Add:
		return Flags{f.System | with.System, normal(append(slices.Clone(f.Keywords), with.Keywords...))}
	case Remove:
		left := slices.DeleteFunc(slices.Clone(f.Keywords), func(k string) bool {
			return slices.ContainsFunc(with.Keywords, func(w string) bool { return strings.EqualFold(k, w) })
		})
		return Flags{f.System &^ with.System, normal(left)}
	}
	return Flags{with.System, normal(with.Keywords)}
}

func (f Flags) equal(g Flags) bool {
	return f.System == g.System && slices.Equal(f.Keywords, g.Keywords)
}

// Has says whether all of flags are set.
func (s SystemFlags) Has(flags SystemFlags) bool { return s&flags == flags }

func joinKeywords(k []string) string { return strings.Join(k, " ") }

// keywordReader turns stored keywords into slices, which rows that follow each
// other mostly share.
type keywordReader struct {
	text string
	list []string
}

func (r *keywordReader) read(text string) []string {
	if text == "" {
		return nil
	}
	if text != r.text {
		r.text, r.list = text, strings.Fields(text)
	}
	return r.list
}
