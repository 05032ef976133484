package spam

import (
	"bytes"
	"regexp"
	"strings"

	"mtad/spam/mail"
)

var (
	wrapper   = regexp.MustCompile(`(?i)^\s*multipart/mixed;\s+boundary\s*=\s*["']?(.+?)["']?(?:;|$)`)
	wrapped   = regexp.MustCompile(`^(?:message/rfc822|text/plain);\s+x-spam-type=original`)
	partType  = regexp.MustCompile(`(?i)^Content-Type:\s+(.+?)\s*$`)
	foldedOwn = regexp.MustCompile(`(?m)^(X-Spam-.+)\n[ \t]+(\S.*\n)`)
	prevOwn   = regexp.MustCompile(`(?m)^X-Spam-Prev-(([^:\n]+:)[ \t]*.*\n(?:[ \t]+\S.*\n)*)`)
	ownField  = regexp.MustCompile(`(?m)^X-Spam-.*\n`)
	noSubject = regexp.MustCompile(`(?m)^X-Spam-Prev-Subject:\s*\(nonexistent\)\n`)
	subject   = regexp.MustCompile(`(?m)^Subject:[ \t]*.*\n(?:[ \t]+\S.*\n)*`)
)

// unmarked gives a message as it was before SpamAssassin, or Report.Rewrite, marked it: out
// of a report's attachment, or without X-Spam fields and with those that they have replaced.
// One without X-Spam-Checker-Version stays as it is.
func unmarked(text []byte) []byte {
	if !bytes.Contains(text, []byte("X-Spam-Checker-Version")) {
		return text
	}
	m := mail.Parse(text, mail.Limits{})
	if !m.Has("X-Spam-Checker-Version") {
		return text
	}
	if inner, ok := attached(m); ok {
		return append([]byte(m.Separator), inner...)
	}
	head := strings.ReplaceAll(string(m.Head), "\r\n", "\n")
	for {
		unfolded := foldedOwn.ReplaceAllStringFunc(head, func(s string) string {
			if strings.HasPrefix(s, "X-Spam-Prev") {
				return s
			}
			return foldedOwn.ReplaceAllString(s, "$1 $2")
		})
		if unfolded == head {
			break
		}
		head = unfolded
	}
	if at := noSubject.FindStringIndex(head); at != nil {
		head = head[:at[0]] + head[at[1]:]
		head = replaceFirst(subject, head, "")
	}
	for {
		at := prevOwn.FindStringSubmatchIndex(head)
		if at == nil {
			break
		}
		field, name := head[at[2]:at[3]], head[at[4]:at[5]]
		head = head[:at[0]] + head[at[1]:]
		now := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `[ \t]*.*\n(?:[ \t]+\S.*\n)*`)
		if now.MatchString(head) {
			head = replaceFirst(now, head, field)
		} else {
			head = strings.Replace(head, "\n\n", "\n"+field+"\n", 1)
		}
	}
	head = ownField.ReplaceAllString(head, "")
	if bytes.Contains(m.Head, []byte("\r\n")) {
		head = strings.ReplaceAll(head, "\n", "\r\n")
	}
	return append([]byte(m.Separator+head), m.Body...)
}

func replaceFirst(re *regexp.Regexp, s, by string) string {
	if at := re.FindStringIndex(s); at != nil {
		return s[:at[0]] + by + s[at[1]:]
	}
	return s
}

// attached is the message in a report's attachment.
func attached(m *mail.Message) (inner []byte, ok bool) {
	b := wrapper.FindStringSubmatch(m.Header("Content-Type"))
	if b == nil {
		return nil, false
	}
	boundary, typ, inHead := []byte("--"+b[1]), "", false
	lines := bytes.SplitAfter(m.Body, []byte("\n"))
	for i, line := range lines {
		bare := bytes.TrimRight(line, "\r\n")
		switch {
		case !inHead && !bytes.Equal(bare, boundary):
		case len(bytes.TrimSpace(line)) == 0 && wrapped.MatchString(typ):
			return upTo(boundary, lines[i+1:]), true
		case len(bytes.TrimSpace(line)) == 0:
			inHead, typ = false, ""
		default:
			inHead = true
			if t := partType.FindSubmatch(bare); t != nil {
				typ = string(t[1])
			}
		}
	}
	return nil, false
}

// upTo is what stands before a boundary, without an empty line before it.
func upTo(boundary []byte, lines [][]byte) []byte {
	for i, line := range lines {
		if bytes.HasPrefix(line, boundary) {
			if i > 0 && len(bytes.TrimSpace(lines[i-1])) == 0 {
				i--
			}
			return bytes.Join(lines[:i], nil)
		}
	}
	return bytes.Join(lines, nil)
}
