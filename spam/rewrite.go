package spam

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Rewrite gives the message as SpamAssassin would hand it on: with the fields of the
// rules' add_header lines on top and rewrite_header obeyed; spam in a report's
// attachment, if report_safe is not 0.
func (p *Report) Rewrite() []byte {
	m := p.Scan.Mail
	var out []byte
	if p.Spam() && p.rules.Number("report_safe") != 0 {
		out = p.wrapped()
	} else {
		out = append(p.marked(), m.Body...)
	}
	return append([]byte(m.Separator), out...)
}

// eol is the end of lines of the message.
func (p *Report) eol() string {
	if bytes.Contains(p.Scan.Mail.Head, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

var bareLF = regexp.MustCompile(`\r?\n`)

func (p *Report) lines(s string) string {
	if eol := p.eol(); eol != "\n" {
		return bareLF.ReplaceAllString(s, eol)
	}
	return s
}

var (
	oldField   = regexp.MustCompile(`(?i)^X-Spam-`)
	prevField  = regexp.MustCompile(`(?i)^X-Spam-Prev-`)
	markField  = regexp.MustCompile(`(?i)^(From|Subject|To):`)
	returnPath = regexp.MustCompile(`(?i)^Return-Path:`)
)

// marked is the header with fields added and marks put in.
func (p *Report) marked() []byte {
	head, marks, end := p.marks()
	for _, m := range marks {
		head[m.at] = m.Now
		if m.prev != "" {
			head = append(head, m.prev)
		}
	}
	pre := ""
	if len(head) > 0 && returnPath.MatchString(head[0]) {
		pre, head = head[0], head[1:]
	}
	return []byte(p.lines(pre + p.Headers() + strings.Join(head, "") + end))
}

// Mark is a field that rewrite_header and subjprefix change. Fields have their line ends.
type Mark struct {
	Name string // From, Subject or To
	Nth  int    // of that name, from 1; one that is not there is to be added
	Was  string // the field; "" if there is none
	Now  string
	prev string // the field X-Spam-Prev-... that keeps what it was; "" in ham
	at   int
}

// Marks are the fields that the rules change in the header; what is added to them comes to
// 256 KiB at most.
func (p *Report) Marks() []Mark {
	_, marks, _ := p.marks()
	return marks
}

// marks gives the old header, with a Subject if one is to be marked, and what changes in it.
func (p *Report) marks() (head []string, marks []Mark, end string) {
	head, end = p.oldHead()
	created := ""
	if _, ok := p.rules.Rewrite["Subject"]; ok && !p.Scan.Mail.Has("Subject") {
		head = append(head, "Subject: \n")
		created = "X-Spam-Prev-Subject: " + Nonexistent + "\n"
	}
	count, room := map[string]int{}, maxFilled
	for i, was := range head {
		count[nameOf(was)]++
		m := markField.FindStringSubmatch(was)
		if m == nil {
			continue
		}
		name := strings.ToUpper(m[1][:1]) + strings.ToLower(m[1][1:])
		mark, ok := p.rules.Rewrite[name]
		if !ok || name != "Subject" && !p.Spam() {
			continue
		}
		x := Mark{Name: name, Nth: count[strings.ToLower(name)], Was: was, Now: p.mark(was, name, mark), at: i}
		if p.Spam() {
			x.prev = cmp.Or(created, "X-Spam-Prev-"+was) // so SpamAssassin, of From too where there was no Subject
		}
		if created != "" && name == "Subject" {
			x.Was = ""
		}
		if room -= len(x.Now) - len(was); room < 0 {
			break
		}
		if was != x.Now {
			marks = append(marks, x)
		}
	}
	return head, marks, end
}

// oldHead is the header as it came, a string for each field, without fields that say
// what others thought of the message; and the line that ends it.
func (p *Report) oldHead() (head []string, end string) {
	head, end = split(p.Scan.Mail.Head)
	return slices.DeleteFunc(head, func(f string) bool { return oldField.MatchString(f) && !prevField.MatchString(f) }), end
}

// split parts a header into its fields, folds kept, and the line that ends it.
func split(head []byte) (fields []string, end string) {
	var field []string // its lines
	done := func() {
		if len(field) > 0 {
			fields = append(fields, strings.Join(field, ""))
		}
		field = field[:0]
	}
	for line := range strings.Lines(string(head)) {
		switch {
		case strings.TrimRight(line, "\r\n") == "":
			end = line
		case line[0] == ' ' || line[0] == '\t':
			field = append(field, line)
		default:
			done()
			field = append(field, line)
		}
	}
	done()
	return fields, end
}

// nameOf is a field's name in small letters.
func nameOf(field string) string {
	name, _, _ := strings.Cut(field, ":")
	return strings.ToLower(strings.TrimRight(name, " \t"))
}

// Nonexistent is the value of X-Spam-Prev-Subject where there was none.
const Nonexistent = "(nonexistent)"

// original is the last field of a name, as it stands.
func (p *Report) original(name string) string {
	out := ""
	head, _ := p.oldHead()
	for _, f := range head {
		if strings.Contains(f, ":") && nameOf(f) == strings.ToLower(name) {
			out = f
		}
	}
	return out
}

// mark puts a mark into a field, once.
func (p *Report) mark(field, name, mark string) string {
	if prefix := p.Prefix(); prefix != "" {
		field = put(field, strings.TrimRight(strings.ReplaceAll(p.Fill(prefix), "\n", " "), " "))
	}
	if !p.Spam() {
		return field
	}
	mark = strings.ReplaceAll(p.Fill(mark), "\n", " ")
	if name != "Subject" {
		mark = "(" + mark + ")"
	}
	return put(field, mark)
}

func put(field, mark string) string {
	name, value, _ := strings.Cut(field, ":")
	value = strings.TrimPrefix(strings.TrimLeft(value, " \t"), mark+" ")
	return name + ": " + mark + " " + value
}

// wrapped is a report with the message attached.
func (p *Report) wrapped() []byte {
	m := p.Scan.Mail
	var head strings.Builder
	for _, name := range []string{"From", "To", "Cc", "Subject", "Date", "Message-Id"} {
		if v, ok := p.carried(name); ok {
			head.WriteString(name + ": " + v)
		}
	}
	head.WriteString(p.Headers())
	received := p.copied(&head)
	received = "Received: from localhost by " + p.own + "\n\twith SpamAssassin (version " + p.Host.Version + ");\n\t" + p.Scan.Facts.Now.Format(time.RFC1123Z) + "\n" + received
	boundary := fmt.Sprintf("----------=_%08X.%08X", p.Scan.Facts.Now.Unix(), rand.Uint32())
	report, disposition := p.Text(), "inline"
	if ct := m.Header("content-type"); ct != "" && !strings.Contains(strings.ToLower(ct), "text/plain") {
		disposition = "attachment"
		report += p.Fill(p.rules.String("unsafe_report"))
	}
	typ := "message/rfc822"
	if p.rules.Number("report_safe") > 1 {
		typ = "text/plain"
	}
	charset := p.rules.String("report_charset")
	text := received + head.String() + "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"" + boundary + "\"\n\n" +
		"This is a multi-part message in MIME format.\n\n--" + boundary + "\nContent-Type: text/plain; charset=" + charset +
		"\nContent-Disposition: inline\nContent-Transfer-Encoding: 8bit\n\n" + report + "\n\n--" + boundary + "\nContent-Type: " + typ +
		"; x-spam-type=original\nContent-Description: original message before SpamAssassin\nContent-Disposition: " + disposition +
		"\nContent-Transfer-Encoding: 8bit\n\n"
	out := append([]byte(p.lines(text)), m.Head...)
	out = append(out, m.Body...)
	return append(out, p.lines("\n--"+boundary+"--\n\n")...)
}

// carried is the value of a field of the message for the report, marked; ok is false if
// it is not there.
func (p *Report) carried(name string) (string, bool) {
	_, v, ok := strings.Cut(p.original(name), ":")
	v = strings.TrimLeft(v, " \t")
	mark, has := p.rules.Rewrite[name]
	if !has {
		return v, ok
	}
	if !ok {
		v = "\n"
	}
	mark = strings.ReplaceAll(p.Fill(mark), "\n", " ")
	if name != "Subject" {
		bare := strings.TrimSuffix(strings.TrimRight(v, "\r\n"), "\t("+mark+")")
		return bare + "\t(" + mark + ")\n", true
	}
	if prefix := p.Prefix(); prefix != "" {
		v = p.Fill(prefix) + " " + v
	}
	return mark + " " + strings.TrimPrefix(v, mark+" "), true
}

// copied adds the fields that report_safe_copy_headers names, and gives those that go
// before all others: Received.
func (p *Report) copied(out *strings.Builder) string {
	var received strings.Builder
	done := map[string]bool{"from": true, "to": true, "cc": true, "subject": true, "date": true, "message-id": true}
	head, _ := p.oldHead()
	for _, name := range p.rules.Words("report_safe_copy_headers") {
		lower := strings.ToLower(name)
		if done[lower] {
			continue
		}
		done[lower] = true
		for _, f := range head {
			key, v, _ := strings.Cut(f, ":")
			if !strings.EqualFold(key, name) {
				continue
			}
			line := name + ": " + strings.TrimLeft(v, " \t")
			if lower == "received" {
				received.WriteString(line)
			} else {
				out.WriteString(line)
			}
		}
	}
	return received.String()
}
