package relay

import (
	"regexp"
	"strings"
)

// authProtocols are words behind "with" that stand for a client that has named itself:
// of RFC 3848, RFC 4954 and RFC 6531, and of web mail.
var authProtocols = map[string]bool{"ESMTPA": true, "ESMTPSA": true, "LMTPA": true, "LMTPSA": true, "UTF8SMTPA": true, "UTF8SMTPSA": true,
	"UTF8LMTPA": true, "UTF8LMTPSA": true, "ASMTP": true, "HTTP": true, "HTTPS": true, "HTTPU": true}

var (
	gmailID      = regexp.MustCompile(` by mx\.google\.com with ESMTPS id [a-z0-9]{1,4}sm[0-9]{2,9}[a-z]{3}\.[0-9]{1,3}\.[0-9]{4}\.(?:[0-6][0-9]\.){4}[0-6][0-9]`)
	gmailTLS     = regexp.MustCompile(`\(version=([^ ]+) cipher=([^)]+)\)`)
	courierAuth  = regexp.MustCompile(`^from .*?(?:\]\)|\)\]) \(AUTH: (LOGIN|PLAIN|DIGEST-MD5|CRAM-MD5) \S+(?:, .*?)?\) by `)
	sendmailAuth = regexp.MustCompile(`^from .*?(?:\](?: \([^)]*\))?\)|\)\]) .*?\(.*?authenticated.*?\).*? by`)
	criticalPath = regexp.MustCompile(`\) by .+ \(\d{1,2}\.\d\.\d{3}(?:\.\d{1,3})?\) \(authenticated as .+\) id `)
	postfixAuth  = regexp.MustCompile(`\) \(Authenticated sender: \S+\) by \S+ \(([^)]+)\) with `)
	communigate  = regexp.MustCompile(`CommuniGate Pro (?:HTTP|SMTP|XIMSS|IMAP)`)
	viaHTTP      = regexp.MustCompile(`(?i) \(via (HTTP.?)\)(?: |;|$)`)
	gmx          = compile("from {*} ({HELO} {*}) [{address}] by mail.gmx.{net|com} ({!)}) with {sub}")
	gmxBy        = regexp.MustCompile(` by (mail\.gmx\.(?:net|com)) \(`)
)

// protocol is the word behind "with" that says that a client has authenticated, as
// the line writes it.
func protocol(s string) string {
	const with = " with "
	for i := 0; ; {
		j := indexFold(s[i:], with)
		if j < 0 {
			return ""
		}
		i += j + len(with)
		word := s[i:]
		if n := strings.IndexAny(word, " ;"); n >= 0 {
			word = word[:n]
		}
		if authProtocols[strings.ToUpper(word)] {
			return word
		}
		i--
	}
}

// indexFold finds a text that begins with a space; letters count alike.
func indexFold(s, text string) int {
	for i := 0; ; i++ {
		j := strings.IndexByte(s[i:], ' ')
		if j < 0 {
			return -1
		}
		i += j
		if fold(s[i:], text) {
			return i
		}
	}
}

// authentication says how the client has authenticated, "" if it has not.
func authentication(s string) string {
	by := strings.Contains(s, " by ")
	if by {
		if p := protocol(s); p != "" {
			return p
		}
	}
	if strings.Contains(s, " by mx.google.com with ESMTPS id ") && gmailID.MatchString(s) {
		if m := gmailTLS.FindStringSubmatch(s); m != nil {
			return "GMail - transport=" + m[1] + " cipher=" + m[2]
		}
	}
	if strings.Contains(s, " (AUTH: ") {
		if m := courierAuth.FindStringSubmatch(s); m != nil {
			return m[1]
		}
	}
	if strings.Contains(s, "authenticated") && sendmailAuth.MatchString(s) {
		return "Sendmail"
	}
	if strings.Contains(s, " by mail.gmx.") {
		if a := gmxAuth(s); a != "" {
			return a
		}
	}
	return lateAuthentication(s, by)
}

func lateAuthentication(s string, by bool) string {
	switch {
	case strings.Contains(s, " (authenticated as ") && criticalPath.MatchString(s):
		return "CriticalPath"
	case strings.Contains(s, ") (Authenticated sender: "):
		switch m := postfixAuth.FindStringSubmatch(s); {
		case m == nil:
		case m[1] == "Postfix":
			return m[1]
		default:
			return "Postfix (" + m[1] + ")"
		}
	}
	if strings.Contains(s, "CommuniGate Pro ") && strings.Contains(s, " (account ") && communigate.MatchString(s) {
		return "Communigate"
	}
	if markedWord(s, " with Microsoft Exchange Server HTTP-DAV") {
		return "HTTP-DAV"
	}
	if by && indexFold(s, " (via HTTP") >= 0 {
		if m := viaHTTP.FindStringSubmatch(s); m != nil {
			return m[1]
		}
	}
	return ""
}

// gmxAuth: GMX does not say that its users authenticate, but they do.
func gmxAuth(s string) string {
	m := matcher{s: s, steps: maxSteps}
	if !m.search(gmx) {
		return ""
	}
	how := m.text(sub)
	switch {
	case strings.HasPrefix(how, "ESMTP"):
		how = "ESMTP"
	case strings.HasPrefix(how, "SMTP"):
		how = "SMTP"
	default:
		return ""
	}
	return "GMX (" + how + " / " + gmxBy.FindStringSubmatch(s)[1] + ")"
}
