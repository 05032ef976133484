package relay

import (
	"regexp"
	"strings"
)

// line is a Received field while it is read.
type line struct {
	matcher
	parts    [slots]string
	hasEnv   bool // the field names a reverse-path
	auth     string
	lookup   bool // see form
	brackets bool // the address stood in brackets in a form that keeps what is in them
	fetched  bool // a program has fetched the message from a mailbox
	scanner  bool // parts[env] is of the hop that the next field tells of
}

// readLine reads one field. The outcome is found, ignored or unknown.
func readLine(text string) (*line, outcome) {
	text = strings.TrimSuffix(strings.TrimPrefix(squeeze(text), " "), " ")
	for strings.HasSuffix(text, ";") {
		text = strings.TrimSuffix(text[:len(text)-1], " ")
	}
	l := &line{}
	if !begins(text) || passedOn(text) {
		return l, ignored
	}
	text = withoutDate(text)
	if i := strings.Index(text, ")by "); i >= 0 {
		text = text[:i+1] + " " + text[i+1:]
	}
	l.matcher = matcher{s: text, steps: maxSteps}
	l.general()
	l.auth = authentication(text)
	o := l.forms()
	if o == differs {
		o = l.anyAddress()
	}
	return l, o
}

// squeeze makes one space of each run of white space.
func squeeze(s string) string {
	plain := true
	for i := range len(s) {
		if isSpace(s[i]) && (s[i] != ' ' || i > 0 && s[i-1] == ' ') {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		switch {
		case !isSpace(s[i]):
			out = append(out, s[i])
		case i == 0 || !isSpace(s[i-1]):
			out = append(out, ' ')
		}
	}
	return string(out)
}

// begins reports whether a line tells whom a message came from: others do not count.
func begins(s string) bool {
	s = strings.TrimPrefix(s, "(")
	return len(s) >= 5 && strings.EqualFold(s[:5], "from ")
}

var numbers = octetSet(func(c byte) bool { return isDigit(c) || c == '.' })

// passedOn reports whether a line is of a program ("with local for"), or names two
// servers and nothing else.
func passedOn(s string) bool {
	for i := 0; ; {
		j := strings.Index(s[i:], "with local for")
		if j < 0 {
			break
		}
		i += j
		if edge(s, i) && edge(s, i+len("with local for")) {
			return true
		}
		i++
	}
	const from, by = "from ", " by "
	if len(s) < len(from) || !strings.EqualFold(s[:len(from)], from) {
		return false
	}
	rest := s[len(from):]
	i := strings.IndexByte(rest, ' ')
	if i <= 0 || len(rest) < i+len(by) || !strings.EqualFold(rest[i:i+len(by)], by) {
		return false
	}
	client, server := rest[:i], rest[i+len(by):]
	n := strings.IndexAny(server, "; ")
	if n <= 0 || !strings.HasPrefix(strings.TrimPrefix(server[n:], " "), ";") {
		return false
	}
	return !bracketedNumbers(client)
}

// bracketedNumbers reports whether s is "[192.0.2.1]".
func bracketedNumbers(s string) bool {
	if len(s) < 3 || s[0] != '[' || s[len(s)-1] != ']' {
		return false
	}
	for _, c := range []byte(s[1 : len(s)-1]) {
		if !numbers[c] {
			return false
		}
	}
	return true
}

const (
	months = " Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec "
	days   = " Mon, Tue, Wed, Thu, Fri, Sat, Sun, "
)

// withoutDate takes "; Tue, 23 May 2006 13:06:35 -0400" off the end of a line.
func withoutDate(s string) string {
	rest, zone := lastWord(s)
	rest, clock := lastWord(rest)
	rest, year := lastWord(rest)
	rest, month := lastWord(rest)
	if zone == "" || !isClock(clock) || !isNumber(year) || len(month) != 3 || !strings.Contains(months, " "+month+" ") {
		return s
	}
	n := len(rest)
	for n > 0 && isDigit(rest[n-1]) {
		n--
	}
	if n == len(rest) || n == 0 || rest[n-1] != ' ' && rest[n-1] != ';' {
		return s
	}
	if n >= 6 && strings.Contains(days, " "+rest[n-5:n]) && (rest[n-6] == ' ' || rest[n-6] == ';') {
		n -= 5
	}
	return strings.TrimRight(rest[:n], " ;")
}

func lastWord(s string) (rest, word string) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return "", ""
	}
	return s[:i], s[i+1:]
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func isClock(s string) bool {
	f := strings.Split(s, ":")
	if len(f) < 2 || len(f) > 3 {
		return false
	}
	for _, n := range f {
		if !isNumber(n) {
			return false
		}
	}
	return true
}

var heloChar = octetSet(func(c byte) bool {
	return c != '_' && isWord(c) || strings.IndexByte(`-.^+_&:=?!@%*$\/`, c) >= 0
})

// general finds the parts that most forms have alike. What a form says counts more.
func (l *line) general() {
	s := l.s
	for i := 0; ; {
		j := strings.Index(s[i:], " id ")
		if j < 0 {
			break
		}
		i += j + 3
		word := strings.TrimPrefix(s[i+1:], "<")
		if n := strings.IndexAny(word, " <>;"); n >= 0 {
			word = word[:n]
		}
		if len(word) >= 3 {
			l.parts[id] = word
			break
		}
	}
	if h := after(s, "helo="); h != "" {
		l.parts[helo] = h
	} else if h := firstOf(s, "HELO ", "EHLO "); h != "" {
		l.parts[helo] = h
	}
	for i := 0; ; {
		j := strings.Index(s[i:], " by ")
		if j < 0 {
			break
		}
		i += j + 3
		if word, _, _ := strings.Cut(s[i+1:], " "); word != "" {
			l.parts[by] = word
			break
		}
	}
}

// after finds what a client may have said in HELO, behind a key that begins a word.
func after(s, key string) string {
	_, text := afterAt(s, key)
	return text
}

func afterAt(s, key string) (at int, text string) {
	for i := 0; ; {
		j := strings.Index(s[i:], key)
		if j < 0 {
			return len(s), ""
		}
		at, i = i+j, i+j+len(key)
		e := i
		for e < len(s) && heloChar[s[e]] {
			e++
		}
		if e > i && edge(s, at) {
			return at, s[i:e]
		}
	}
}

func firstOf(s, a, b string) string {
	at, text := afterAt(s, a)
	if bt, other := afterAt(s, b); bt < at {
		return other
	}
	return text
}

// forms tries the forms that the beginning of the line asks for.
func (l *line) forms() outcome {
	if rest, ok := strings.CutPrefix(l.s, "from "); ok {
		l.s = rest
		return l.from()
	}
	if rest, ok := strings.CutPrefix(l.s, "FROM "); ok {
		l.s = rest
		return l.tryAll(capital)
	}
	if rest, ok := strings.CutPrefix(l.s, "(from "); ok {
		l.s = rest
		return l.tryAll(bracketed)
	}
	return differs
}

func (l *line) from() outcome {
	l.parts[env], l.hasEnv = reversePath(l.s)
	if o := l.tryAll(webmail); o != differs {
		return o
	}
	for _, f := range families {
		if f.mark(l) {
			if o := l.tryAll(f.forms); o != differs {
				return o
			}
			break
		}
	}
	if o := l.tryAll(common); o != differs {
		return o
	}
	for i := range apart {
		if o := l.try(&apart[i]); o != differs {
			return ignored
		}
	}
	if !truth(l.parts[helo]) {
		l.parts[helo] = l.guessHelo()
	}
	return differs
}

// truth reports whether Perl takes a text for true: rules depend on it.
func truth(s string) bool { return s != "" && s != "0" }

// guessHelo takes the first word of a line for what the client said.
func (l *line) guessHelo() string {
	word, _, more := strings.Cut(l.s, " ")
	if more && word != "" {
		return word
	}
	for k := len(word) - 1; k > 0; k-- {
		if c := word[k]; c != '-' && c != '.' && (c == '_' || !isWord(c)) {
			return word[:k]
		}
	}
	return l.parts[helo]
}

func (l *line) tryAll(forms []form) outcome {
	for i := range forms {
		if o := l.try(&forms[i]); o != differs {
			return o
		}
	}
	return differs
}

func (l *line) try(f *form) outcome {
	if f.need != "" && !strings.Contains(l.s, f.need) {
		return differs
	}
	if f.pattern == nil {
		return f.then(l)
	}
	if f.search && !l.search(f.pattern) || !f.search && !l.match(f.pattern) {
		return differs
	}
	if f.ignore {
		return ignored
	}
	before, env := l.parts, l.hasEnv
	for s := range slots {
		if l.got[s].from >= 0 {
			l.parts[s] = l.text(s)
		}
	}
	o := found
	if f.then != nil {
		o = f.then(l)
	}
	switch o {
	case differs:
		l.parts, l.hasEnv = before, env
	case found:
		l.lookup = l.lookup || f.lookup
	}
	return o
}

// anyAddress takes an address in brackets, wherever it stands, if the line says who
// wrote it.
func (l *line) anyAddress() outcome {
	if l.parts[ip] == "" && l.search(inBrackets) {
		l.parts[ip] = l.text(ip)
	}
	if l.parts[ip] != "" && truth(l.parts[by]) {
		return found
	}
	return unknown
}

var inBrackets = compile("[{ip}]")

// reversePath finds what a line says of the envelope: "envelope-from <a@example.org>".
func reversePath(s string) (path string, ok bool) {
	for i := 0; i < len(s); i++ {
		j := strings.IndexByte(s[i:], '-')
		if j < 0 {
			return "", false
		}
		i += j
		p := -1
		switch {
		case i >= 6 && fold(s[i-6:], "return-path"):
			p = i + len("-path")
			if p < len(s) && s[p] == ':' {
				p++
			}
			if p >= len(s) || s[p] != ' ' {
				continue
			}
		case i >= 8 && fold(s[i-8:], "envelope-sender"):
			p = i + len("-sender")
		case i >= 8 && fold(s[i-8:], "envelope-from"):
			p = i + len("-from")
		}
		if p < 0 || p >= len(s) || s[p] != ' ' && s[p] != '=' {
			continue
		}
		p++
		e := p
		for e < len(s) && s[e] != ' ' {
			e++
		}
		for ; e > p; e-- {
			if edge(s, e) {
				return s[p:e], true
			}
		}
	}
	return "", false
}

func fold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

var (
	mapped = regexp.MustCompile(`(?i)^0*:0*:(?:0*:)*ffff:(\d+\.\d+\.\d+\.\d+)$`)
	zone   = regexp.MustCompile(`(?i)%[A-Z0-9._~-]*$`)
)

// relay is what the line tells.
func (l *line) relay() *Relay {
	name := strings.TrimRight(l.parts[rdns], ".")
	if strings.EqualFold(name, "unknown") || strings.HasPrefix(name, "[") {
		name = ""
	}
	address := l.parts[ip]
	if !l.brackets && fold(address, "ipv6:") {
		address = address[5:]
	}
	if strings.IndexByte(address, '%') >= 0 {
		address = zone.ReplaceAllString(address, "")
	}
	if strings.IndexByte(address, ':') >= 0 {
		address = mapped.ReplaceAllString(address, "$1")
	}
	return &Relay{
		IP: plain(address), RDNS: plain(name), Helo: plain(l.parts[helo]), By: plain(strings.TrimSuffix(l.parts[by], ";")),
		Ident: plain(l.parts[ident]), EnvFrom: bare(l.parts[env]), HasEnvFrom: l.hasEnv, ID: l.parts[id], Auth: l.auth,
		Private: Private(address), NoReverse: name == "" && l.lookup,
	}
}

// bare is a reverse-path without the brackets around it.
func bare(s string) string {
	return plain(strings.TrimRight(strings.TrimLeft(s, "<"), ">"))
}

// plain puts "!" for what would make a relay's String ambiguous.
func plain(s string) string {
	const odd = " \t\n\r\f\v\x00#[]()<>|"
	if !strings.ContainsAny(s, odd) {
		return s
	}
	out := []byte(s)
	for i, c := range out {
		if strings.IndexByte(odd, c) >= 0 {
			out[i] = '!'
		}
	}
	return string(out)
}
