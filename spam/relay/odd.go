package relay

import (
	"regexp"
	"strings"
)

// markedWord reports whether a text stands in s with the end of a word behind it.
func markedWord(s, text string) bool {
	for i := 0; ; {
		j := strings.Index(s[i:], text)
		if j < 0 {
			return false
		}
		i += j + len(text)
		if edge(s, i) {
			return true
		}
	}
}

func squirrel(l *line) outcome {
	if strings.Contains(l.s, " (SquirrelMail authenticated user ") || strings.Contains(l.s, " (NaSMail authenticated user ") {
		return found
	}
	return differs
}

func aol(l *line) outcome {
	if strings.Contains(l.s, "aol.com") {
		return found
	}
	return differs
}

var exchangeVersion = regexp.MustCompile(` with (?:Microsoft SMTP Server|mapi id) (?:\([^)]+\) )?\d+\.\d+\.\d+\.\d+(?:$| )`)

func exchange(l *line) bool {
	return (strings.Contains(l.s, " with mapi id ") || strings.Contains(l.s, " with Microsoft SMTP Server ")) && exchangeVersion.MatchString(l.s)
}

func withoutID(l *line) outcome {
	l.parts[id] = ""
	return found
}

// wordIn finds a word in brackets behind a text: the longest that ">" follows.
func wordIn(s, text string) (string, bool) {
	for i := 0; ; {
		j := strings.Index(s[i:], text)
		if j < 0 {
			return "", false
		}
		i += j + len(text)
		word, _, _ := strings.Cut(s[i:], " ")
		if k := strings.LastIndexByte(word, '>'); k > 0 {
			return word[:k], true
		}
	}
}

func xmail(l *line) outcome {
	if w, ok := wordIn(l.s, " id <"); ok {
		l.parts[id] = w
	}
	if w, ok := wordIn(l.s, " from <"); ok {
		l.parts[env], l.hasEnv = w, true
	}
	l.brackets = l.s[l.got[ip].from-1] == '['
	return found
}

// eximParts reads "helo=a.example.com ident=ann".
func eximParts(l *line) outcome {
	s := l.parts[sub]
	for i := 0; ; {
		j := strings.Index(s[i:], "helo=")
		if j < 0 {
			break
		}
		i += j + len("helo=")
		if word, rest, _ := strings.Cut(s[i:], " "); word != "" {
			l.parts[helo] = word
			s = s[:i-len("helo=")] + s[len(s)-len(rest):]
			break
		}
	}
	if _, text, ok := strings.Cut(s, "ident="); ok {
		l.parts[ident], _, _ = strings.Cut(text, " ")
	}
	return found
}

func eximNamed(l *line) outcome {
	l.parts[helo] = l.parts[rdns]
	return eximParts(l)
}

func heloIsName(l *line) outcome {
	l.parts[helo] = l.parts[rdns]
	return found
}

var (
	eximHelo = compile(" ({helo}) ")
	eximIP   = compile(" [{ip}{?.{#}?}] ")
	eximBy   = compile("by {by} ")
)

// eximOther takes what bits it can. They stay, even if it is another server's line.
func eximOther(l *line) outcome {
	if name, _, more := strings.Cut(l.s, " "); more && name != "" {
		l.parts[rdns] = name
	}
	if l.search(eximHelo) {
		l.parts[helo] = l.text(helo)
	}
	if l.search(eximIP) {
		l.parts[ip] = l.text(ip)
	}
	if !l.search(eximBy) {
		return differs
	}
	l.parts[by] = l.text(by)
	if l.parts[ip] == "" {
		return differs
	}
	return found
}

var (
	qmailLDAP = compile(" by {} (qmail-{}) with ")
	overWeb   = compile("{\\b}with HTTP{\\b}")
)

func overHTTP(l *line) outcome {
	got := l.got
	defer func() { l.got = got }()
	if l.search(overWeb) {
		return found
	}
	return differs
}

// sendmail: its name of the client may have an ident before it, "IDENT:ann@". The
// lines of qmail-ldap look alike.
func sendmail(l *line) outcome {
	if strings.Contains(l.s, " (qmail-") && l.search(qmailLDAP) {
		return differs
	}
	name := l.parts[rdns]
	if rest, ok := strings.CutPrefix(name, "IDENT:"); ok {
		if who, host, ok := strings.Cut(rest, "@"); ok {
			l.parts[ident], name = who, host
		}
	}
	if who, host, ok := strings.Cut(name, "@"); ok {
		l.parts[ident], name = who, host
	}
	l.parts[rdns] = name
	return found
}

// dotted refuses a name without a dot in it.
func dotted(l *line) outcome {
	if n := l.parts[rdns]; len(n) > 2 && strings.Contains(n[1:len(n)-1], ".") {
		return found
	}
	return differs
}

func hotmail(l *line) outcome {
	const domain = ".hotmail.msn.com"
	for i := 0; ; {
		j := strings.Index(l.s[i:], "by ")
		if j < 0 {
			return differs
		}
		i += j + len("by ")
		word, _, more := strings.Cut(l.s[i:], " ")
		if more && len(word) > len(domain) && strings.HasSuffix(word, domain) {
			l.parts[by] = word
			break
		}
	}
	if l.match(addressFirst) {
		l.parts[ip] = l.text(ip)
	}
	return found
}

var addressFirst = compile("{ip} ")

// qmailForms say what stands where in qmail's line, with HELO, ident, both or none.
var qmailForms = []*node{
	compile("{rdns} ({HELO} {helo!()}) ({ident*}@{?[?}{ip}{?]?}){? (envelope-sender <{}>)?} by {by}"),
	compile("{rdns} ({HELO} {helo!()}) ({?[?}{ip}{?]?}){? (envelope-sender <{}>)?} by {by}"),
	compile("{rdns} ({ident*}@{?[?}{ip}{?]?}){? (envelope-sender <{}>)?} by {by}"),
	compile("{rdns} ({?[?}{ip}{?]?}){? (envelope-sender <{}>)?} by {by}"),
}

// qmail takes its name of the client from tcpserver, which has looked for it unless
// the name is "unknown". Without HELO that was the name.
func qmail(l *line) outcome {
	for i, f := range qmailForms {
		if !l.match(f) {
			continue
		}
		for s := range slots {
			if l.got[s].from >= 0 {
				l.parts[s] = l.text(s)
			}
		}
		if i > 1 {
			l.parts[helo] = l.parts[rdns]
		}
		break
	}
	l.lookup = l.parts[rdns] != "unknown"
	if !l.lookup {
		l.parts[rdns] = ""
	}
	return found
}

// courier says "softdnserr" if the DNS did not answer.
func courier(l *line) outcome {
	if name := l.parts[sub]; name != "softdnserr" {
		l.parts[rdns], l.lookup = name, true
	} else {
		l.lookup = false
	}
	return found
}

func fetched(l *line) outcome {
	l.fetched = true
	return ignored
}

func letterFirst(l *line) outcome {
	if c := l.parts[sub][0]; len(l.parts[sub]) > 1 && c != '_' && isWord(c) && !isDigit(c) {
		return found
	}
	return differs
}

func obtuse(l *line) outcome {
	if l.got[helo].from < 0 {
		l.parts[helo] = ""
	}
	l.lookup = l.parts[rdns] != "UNKNOWN"
	return found
}

func yahoo(l *line) outcome {
	if b := l.parts[by]; len(b) > len(".yahoo.com") && strings.HasSuffix(b, ".yahoo.com") {
		return found
	}
	return differs
}

func origin(l *line) outcome {
	l.parts[by] = ""
	return found
}

// qmailScanner tells the reverse-path of the hop that the next field is of.
func qmailScanner(l *line) outcome {
	l.scanner = true
	return ignored
}

var simtaFor = regexp.MustCompile(`^FOR <[^>]+>$`)

func simta(l *line) outcome {
	word, rest, more := strings.Cut(l.parts[sub], " ")
	if word == "" || more && !simtaFor.MatchString(rest) {
		return differs
	}
	if len(word) > 1 {
		word = strings.TrimPrefix(word, "<")
	}
	if len(word) > 1 {
		word = strings.TrimSuffix(word, ">")
	}
	l.parts[id] = word
	if l.parts[rdns] == "unverified" {
		l.parts[rdns] = ""
	}
	return found
}
