package bayes

import (
	"regexp"
	"strings"

	"mtad/spam/mail"
)

// maxFields bounds all fields together, in octets.
const maxFields = 65536

// header makes tokens of the fields: of all but those that say nothing or too much, the
// first two of Received, and of what was found about the message.
func (c *collector) header(in *Input) {
	c.made = 0
	var received []mail.Field
	for _, f := range bounded(in.Fields) {
		switch {
		case strings.EqualFold(f.Name, "Received"):
			received = append(received, f)
		case ignoredField(f.Name):
		case !c.field(in, f.Name, " "+f.Value):
			return
		}
	}
	for _, m := range in.Metadata {
		if !c.field(in, m.Name, " "+m.Value) {
			return
		}
	}
	for i := len(received) - 1; i >= 0 && i >= len(received)-2; i-- {
		if !c.field(in, received[i].Name, " "+received[i].Value) {
			return
		}
	}
}

// bounded leaves out fields where all of them are too long: names come in the order of
// their first field, and from the first that does not fit on, nothing counts.
func bounded(fields []mail.Field) []mail.Field {
	size := 0
	for _, f := range fields {
		size += len(f.Name) + len(f.Value) + 3
	}
	if size <= maxFields {
		return fields
	}
	groups := map[string][]mail.Field{}
	var names []string
	for _, f := range fields {
		name := strings.ToLower(f.Name)
		if groups[name] == nil {
			names = append(names, name)
		}
		groups[name] = append(groups[name], f)
	}
	var out []mail.Field
	size = 0
	for _, name := range names {
		for _, f := range groups[name] {
			if size += len(f.Name) + len(f.Value) + 3; size > maxFields {
				return out
			}
			out = append(out, f)
		}
	}
	return out
}

// together are fields of which the tokens are also counted as those of one kind.
var together = map[string]string{
	"in-reply-to": "H*MI:", "references": "H*MI:", "message-id": "H*MI:",
	"from": "H*Ad:", "to": "H*Ad:", "cc": "H*Ad:",
	"x-mailer": "H*UA:", "user-agent": "H*UA:",
}

// short are what stands for names in tokens; capitals count.
var short = map[string]string{
	"Message-Id": "H*m:", "Message-ID": "H*M:", "Received": "H*r:", "User-Agent": "H*u:", "References": "H*f:",
	"In-Reply-To": "H*i:", "From": "H*F:", "Reply-To": "H*R:", "Return-Path": "H*p:", "Return-path": "H*rp:",
	"X-Mailer": "H*x:", "X-Authentication-Warning": "H*a:", "Organization": "H*o:", "Organisation": "H*o:",
	"Content-Type": "H*ct:", "Content-Disposition": "H*cd:", "Content-Transfer-Encoding": "H*ce:",
	"x-spam-relays-trusted": "H*RT:", "x-spam-relays-untrusted": "H*RU:",
}

// field makes tokens of one field; false if there are enough.
func (c *collector) field(in *Input, name, value string) bool {
	low := strings.ToLower(name)
	if c.s.ignore[low] {
		return true
	}
	value = prepare(in, name, low, value)
	if value == "" {
		return true
	}
	text := []byte(value)
	if prefix, ok := together[low]; ok {
		c.line(text, prefix, inHeader)
	}
	prefix, ok := short[name]
	if !ok {
		prefix = "H" + name + ":"
	}
	c.line(text, prefix, inHeader)
	if c.made >= maxHeader {
		in.cut("tokens: %d of the header", maxHeader)
		return false
	}
	return true
}

// prepare changes a value so that what differs in every message makes no tokens.
func prepare(in *Input, name, low, value string) string {
	switch kindOf(name, low) {
	case messageID:
		return prepareID(value)
	case addresses:
		return prepareAddresses(in, value)
	case present:
		return "" // that it is there is too little for a token
	case relays:
		return relayKey.ReplaceAllLiteralString(value, " ")
	}
	switch name {
	case "Received":
		return prepareReceived(value)
	case "Content-Type":
		return prepareType(value)
	case "MIME-Version":
		return strings.Replace(value, "1.0", "", 1)
	}
	return value
}

var relayKey = regexp.MustCompile(` [a-z]+=`)

// kind is what a field's value is made of.
type kind int

const (
	other     kind = iota
	messageID      // an identifier of messages
	addresses      // mailboxes
	present        // nothing that could be known again
	relays         // of X-Spam-Relays-External and its like
)

func kindOf(name, low string) kind {
	base := strings.TrimPrefix(strings.TrimPrefix(low, "x-"), "resent-")
	if low != base && low != "x-"+base && low != "resent-"+base {
		base = low
	}
	switch base {
	case "message-id":
		return messageID
	case "return-path", "from", "to", "cc", "reply-to", "errors-to", "mail-followup-to", "sender":
		return addresses
	}
	switch {
	case presenceOnly.MatchString(low):
		return present
	case name == "x-spam-relays-external", name == "x-spam-relays-internal", name == "x-spam-relays-trusted", name == "x-spam-relays-untrusted":
		return relays
	}
	return other
}

var presenceOnly = regexp.MustCompile(`^(?:x-face|x-(?:gnu-?pg|pgp|gpg)(?:-key)?-fingerprint|dkim-signature|domainkey-signature|x-google-dkim-signature|arc-message-signature|arc-seal|autocrypt)$`)

// ignoredField reports whether a field makes no tokens: mailing lists, marks of other
// filters and of mail readers, and what is in all mail.
func ignoredField(name string) bool {
	low := strings.ToLower(name)
	return ignored[low] || ignoredForm.MatchString(low)
}

var ignored = func() map[string]bool {
	out := map[string]bool{}
	for name := range strings.FieldsSeq(`delivered-to delivery-date x-mime-autoconverted x-converted-to-plain-text subject date
		x-list x-unsub x-unsubscribe x-mailman-version x-beenthere x-loop mail-followup-to x-egroups-return x-egroups-from
		x-mdmailing-list x-xemacs-list x-sympa-to x-mailscanner x-mailscanner-spamcheck x-spam x-spam-status x-spam-level x-spam-flag
		x-spam-report x-spam-hits x-spam-score x-spam-checker-version x-antispam x-rbl-warning x-mdaemon-deliver-to x-virus-scanned
		x-mass-check-id x-pyzor x-filtered-by x-scanned-by x-scanner x-ap-spam-score x-ap-spam-status x-ripe-spam-status x-smtpd spam
		x-perlmx-spam x-bogosity content-class thread-index thread-topic x-originalarrivaltime x-flags x-keywords replied forwarded
		lines content-length x-uid x-uidl x-imapbase x-gnus-mail-source xref`) {
		out[name] = true
	}
	for name := range strings.FieldsSeq(`sender envelope-to mailing-list list-archive list-help list-id list-owner list-post list-subscribe
		list-unsubscribe list-host list-manager list-admin list-comment list-name list-url resent-from resent-to resent-date
		original-from original-to original-date spam-apparently-to status`) {
		out[name], out["x-"+name] = true, true
	}
	return out
}()

var ignoredForm = regexp.MustCompile(`^x-(?:dcc-[^\s\v]{2,25}-metrics|spamcop-.+|bugzilla-.+|vm-(?:bookmark|pop-retrieved|imap-retrieved|labels|last-modified|summary-format|vheader|v[0-9]-data|message-order))$`)

var (
	typeBoundary = regexp.MustCompile(`(?i)boundary=["'](.*?)["']`)
	boundaryHex  = regexp.MustCompile(`[a-fA-F0-9]`)
	boundarySign = regexp.MustCompile(`[-_.=]+`)
	typeWords    = regexp.MustCompile(`\b(?:text|charset)\b`)
)

// prepareType keeps the form of a boundary, not its digits.
func prepareType(v string) string {
	if m := typeBoundary.FindAllStringSubmatch(v, -1); m != nil {
		b := boundaryHex.ReplaceAllLiteralString(m[len(m)-1][1], "H")
		v = typeBoundary.ReplaceAllLiteralString(v, " ") + boundarySign.ReplaceAllString(b, " $0 ")
	}
	return typeWords.ReplaceAllLiteralString(v, " ")
}

var (
	outlookID  = regexp.MustCompile(`<([0-9a-f]{4})[0-9a-f]{8}\$([0-9a-f]{4})[0-9a-f]{4}\$([0-9a-f]{8})@([^\s\v]+)>`)
	eximID     = regexp.MustCompile(`<[A-Za-z0-9]{7}-[A-Za-z0-9]{6}-0[A-Za-z0-9]@`)
	sendmailID = regexp.MustCompile(`<20[0-9]{2}[01][0-9][0-3][0-9][0-2][0-9][0-5][0-9][0-5][0-9]\.[A-F0-9]{10,12}@`)
)

// prepareID parts identifiers: what programs make them of is no sign, but for the
// parts that stay the same.
func prepareID(v string) string {
	v = outlookID.ReplaceAllString(v, " OEA$1 OEB$2 OEC$3 $4 ")
	if at := eximID.FindStringIndex(v); at != nil {
		v = v[:at[0]] + v[at[1]:]
	}
	v = sendmailID.ReplaceAllLiteralString(v, "")
	out := []byte(v)
	for i, x := range out {
		if !wordByte(x) {
			out[i] = ' '
		}
	}
	return string(out)
}

var (
	receivedIDs = []*regexp.Regexp{
		regexp.MustCompile(`[\s\v]with[\s\v]SMTP[\s\v]id[\s\v]g[0-9A-Z]{10,12}[\s\v]`),
		regexp.MustCompile(`[\s\v]with[\s\v]ESMTP[\s\v]id[\s\v][0-9A-F]{10,12}[\s\v]`),
		regexp.MustCompile(`\bid[\s\v][a-zA-Z0-9]{7,20}\b`),
		regexp.MustCompile(`\bid[\s\v][A-Za-z0-9]{7}-[A-Za-z0-9]{6}-0[A-Za-z0-9]`),
	}
	receivedDate = regexp.MustCompile(`(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),[\s\v])?[0-3\s\v]?[0-9][\s\v]` +
		`(?:Jan|Feb|Mar|May|Apr|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[\s\v](?:19|20)?[0-9]{2}[\s\v][0-2][0-9](?::[0-5][0-9]){1,2}[\s\v]` +
		`(?:[\s\v]*\(|\)|[\s\v]*[+-][0-9]{4}|[\s\v]*(?:UT|[A-Z]{2,3}T))*`)
	receivedIP    = regexp.MustCompile(`\b([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})(\.[0-9]{1,3})\b`)
	receivedWords = regexp.MustCompile(`\b(?:with|from|for|SMTP|ESMTP)\b`)
)

// prepareReceived takes out identifiers, dates and words that are in all fields, and
// puts the first three octets of an address beside the whole of it.
func prepareReceived(v string) string {
	for _, re := range receivedIDs {
		v = re.ReplaceAllLiteralString(v, " ")
	}
	v = receivedDate.ReplaceAllLiteralString(v, "")
	v = receivedIP.ReplaceAllString(v, "$1 ip*$1$2 ")
	return receivedWords.ReplaceAllLiteralString(v, " ")
}

// prepareAddresses makes words of names and of addresses' parts.
func prepareAddresses(in *Input, v string) string {
	if in.Addresses == nil {
		return ""
	}
	var out []byte
	for _, a := range in.Addresses(v) {
		for word := range strings.FieldsFuncSeq(a.Phrase, func(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }) {
			out = append(append(append(out, "N*"...), word...), ' ')
		}
		at := strings.LastIndexByte(a.Address[:max(0, len(a.Address)-1)], '@')
		if at <= 0 {
			continue
		}
		out = append(append(out, "U*"...), a.Address[:at]...)
		for domain := []byte(a.Address[at+1:]); domain != nil; domain = parent(domain) {
			out = append(append(out, " D*"...), domain...)
		}
		out = append(out, ' ')
	}
	return string(out)
}
