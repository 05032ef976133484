package milter

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"mtad/milterd/wire"
	"mtad/smtp"
)

// parseReply reads the data of a reply code: "550 5.7.1 text", a NUL, or several
// lines "550-5.7.1 text" with CRLF between them.
func parseReply(data []byte) (smtp.Reply, error) {
	data, _, ok := bytes.Cut(data, []byte{0})
	if !ok {
		return smtp.Reply{}, fmt.Errorf("%w: reply code without an end", wire.ErrProtocol)
	}
	var out smtp.Reply
	var lines []string
	// Sendmail takes the text for a format: a per cent sign comes doubled.
	text := strings.ReplaceAll(strings.TrimRight(string(data), "\r\n"), "%%", "%")
	for line := range strings.SplitSeq(text, "\n") {
		code, enhanced, rest, ok := splitLine(strings.TrimRight(line, "\r"))
		if !ok || out.Code != 0 && code != out.Code {
			return smtp.Reply{}, fmt.Errorf("%w: reply code %q", wire.ErrProtocol, cut(text))
		}
		if out.Code == 0 {
			out.Code, out.Enhanced = code, enhanced
		}
		lines = append(lines, printable(rest))
	}
	out.Text = strings.Join(lines, "\n")
	return out, nil
}

// splitLine reads one line: a 4xx or 5xx code (RFC 5321, 4.2), a space or a
// hyphen, an enhanced code of the same class (RFC 3463, 2) if there is one.
func splitLine(s string) (code int, enhanced smtp.Code, text string, ok bool) {
	if len(s) < 3 || len(s) > 3 && s[3] != ' ' && s[3] != '-' {
		return 0, enhanced, "", false
	}
	code, err := strconv.Atoi(s[:3])
	if err != nil || code < 400 || code > 599 {
		return 0, enhanced, "", false
	}
	if len(s) > 4 {
		text = s[4:]
	}
	word, rest, _ := strings.Cut(text, " ")
	if c, is := smtp.ParseCode(word); is {
		return code, c, rest, c[0] == code/100
	}
	return code, enhanced, text, true
}

// printable replaces what no SMTP reply may hold.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

func cut(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
