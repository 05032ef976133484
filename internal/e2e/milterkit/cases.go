package milterkit

import (
	"fmt"
	"slices"
	"strings"

	gomilter "github.com/emersion/go-milter"
)

// Case is something that a milter says, and a session that it is said in.
type Case struct {
	Name   string
	Script string
	Terms  Terms  // zero: All without any of its steps
	Greet  string // in place of the negotiation's answer: octets
	Session
	Differ string // why mail servers that are compared do differ here
}

// Letter is a message with fields that are repeated, empty, folded and without a
// space, and a body with dots, eight bits and empty lines.
const Letter = "Received: from elsewhere\r\n\tby client.example.net; Mon, 1 Jan 2024 00:00:00 +0000\r\n" +
	"From: Ann <ann@x.test>\r\nTo:bob@far.test\r\nSubject:   two  spaces\r\n\tand a fold\r\n" +
	"X-A: 1\r\nX-A:\t2\r\nx-a: 3\r\nX-Empty:\r\nX-Blank: \r\nX-A:\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@x.test>\r\n\r\n" +
	"Hello,\r\n\r\n..world.  \r\n.\r\n\xe4\xf6\r\n\r\n"

// small is for cases that are not about the message.
const small = "From: ann@x.test\r\nTo: bob@far.test\r\nSubject: small\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@x.test>\r\n\r\nHello\r\n"

// phases are the events and their names.
var phases = []struct{ letter, name string }{
	{"C", "connect"}, {"H", "helo"}, {"M", "mail"}, {"R", "rcpt"}, {"T", "data"}, {"U", "unknown"},
	{"L", "header"}, {"N", "eoh"}, {"B", "body"}, {"E", "eom"},
}

// answers are the replies that there are at every phase.
var answers = []struct{ name, reply string }{
	{"accept", "a"}, {"reject", "r"}, {"tempfail", "t"}, {"discard", "d"}, {"shutdown", "4"}, {"skip", "s"},
	{"550", `y"550 5.7.1 No|"`}, {"452 without enhanced", `y"452 Later|"`}, {"421", `y"421 4.3.2 Go away|"`},
	{"two lines", `y"554-5.7.1 One\r\n554 5.7.1 Two 100%%|"`},
	{"progress first", `p ; c`},
	{"hangs up", "hangup"}, {"garbage", `raw"\x00\x00\x00\x00garbage"`}, {"half a packet", `raw"\x00\x00\x00\x05y2" ; hangup`}, {"unknown reply", `Z"?"`}, {"bad code", `y"250 2.0.0 Fine|"`},
}

// replies are a case for each reply at each phase.
func replies() (out []Case) {
	for _, p := range phases {
		for _, a := range answers {
			c := Case{Name: p.name + " " + a.name, Script: p.letter + " " + a.reply, Session: Plain(small, "bob@far.test", "carol@far.test")}
			if p.letter == "U" {
				c.Say = append([]string{"EHLO client.test", "WHAT"}, c.Say[1:]...)
			}
			c.Terms = Terms{6, All.Actions, gomilter.OptSkip}
			if p.letter == "U" && a.name == "discard" {
				c.Say = []string{"EHLO client.test", "WHAT", "QUIT"}
			}
			c.Gone = a.name == "discard" && !strings.Contains("CH", p.letter) || a.name == "shutdown"
			c.Differ = reason(c.Name)
			out = append(out, c)
		}
	}
	return out
}

// differs are the cases in which mtad does not do what Postfix does, and why: by
// name, or by the name's beginning.
var differs = []struct{ name, why string }{
	{"connect discard", "Postfix passes over a discard where there is no message"},
	{"connect shutdown", "the words of a 421 banner are the milter's or our own"},
	{"connect 421", "the words of a 421 banner are the milter's or our own"},
	{"connect to a milter that negotiates more steps", "mtad, as Sendmail, takes no flags that it has not offered; Postfix passes over them"},
	{"connect", Sooner},
	{"helo discard", "Postfix passes over a discard where there is no message"},
	{"helo", Sooner},
	{"mail bad code", badCode}, {"rcpt bad code", badCode}, {"data bad code", badCode}, {"unknown bad code", badCode},
	{"header bad code", badCode}, {"eoh bad code", badCode}, {"body bad code", badCode}, {"eom bad code", badCode},
	{"rcpt half a packet", again}, {"unknown half a packet", again}, {"rcpt hangs up", again}, {"rcpt garbage", again}, {"rcpt unknown reply", again},
	{"unknown hangs up", again}, {"unknown garbage", again}, {"unknown unknown reply", again},
	{"unknown accept", "Postfix's smtpd panics at the next command"},
	{"unknown discard", "Postfix passes over a discard where there is no message"},
	{"unknown with arguments", "Postfix tells a milter the word alone, Sendmail and mtad the whole line"},
	{"header shutdown", lost}, {"eoh shutdown", lost}, {"body shutdown", lost}, {"eom shutdown", lost},
	{"add long", "Postfix's client folds lines of more than 998 octets"},
	{"body and fields", "Postfix takes a new body only in one go"},
	{"insert at minus one", "mtad takes no negative index"}, {"change at minus one", "mtad takes no negative index"},
	{"add with CR LF", "Postfix ends the line in CR CR LF"},
	{"add with a bare CR", "mtad lets no bare CR out"},
	{"add with a space in the name", badName}, {"add with a colon in the name", badName}, {"add without a name", badName},
	{"recipient twice", "Postfix passes on a recipient twice"},
	{"recipient removed with another case", "Postfix compares addresses with their case"},
	{"recipient not an address", "Postfix makes an address of it"},
	{"removes every recipient", "Postfix drops the message, mtad refuses it"},
	{"NUL in ", "mtad takes no NUL"},
}

// Sooner is a difference of time alone: what comes of the mail is the same.
const Sooner = "mtad refuses at the banner or HELO what Postfix refuses at MAIL"

// Reasons that several cases have.
const (
	badCode = "Postfix calls a reply code that is none its own configuration's fault, 4.3.5"
	again   = "Postfix leaves a failed milter alone until the client goes, mtad asks it again"
	lost    = "Postfix says 250 and drops the message"
	badName = "mtad puts no field in a header that is none"
)

// quiet are answers to the first phases that come to the same everywhere.
var quiet = []string{"connect accept", "connect skip", "connect progress first", "helo accept", "helo skip", "helo progress first", "helo shutdown", "helo 421"}

func reason(name string) string {
	if slices.Contains(quiet, name) {
		return ""
	}
	for _, d := range differs {
		if strings.HasPrefix(name, d.name) {
			return d.why
		}
	}
	return ""
}

// edit is a case of what is said at the end of the message, in a session with
// Letter.
func edit(name, script string) Case {
	return Case{Name: name, Script: "E " + script, Session: Plain(Letter, "bob@far.test", "carol@far.test"), Differ: reason(name)}
}

// edits are the modifications.
func edits() []Case {
	return []Case{
		edit("nothing", "c"),
		edit("add", `h"X-Add|added|" ; h"X-Fold|a\n\tb|" ; h"X-Empty|| " ; c`),
		edit("add empty", `h"X-New||" ; h"X-A||" ; c`),
		edit("add with CR LF", `h"X-Fold|a\r\n\tb|" ; c`),
		edit("add with a bare CR", `h"X-Cr|a\rb|" ; c`),
		edit("add without a fold", `h"X-Fold|a\nInjected: b|" ; c`),
		edit("add eight bits", `h"X-Eight|\xe4\xf6|" ; c`),
		edit("add a NUL", `h"X-Nul|a|b|" ; c`),
		edit("add without an end", `h"X-Open|a" ; c`),
		edit("add with a space in the name", `h"X Name|a|" ; c`),
		edit("add with a colon in the name", `h"X:Name|a|" ; c`),
		edit("add without a name", `h"|a|" ; c`),
		edit("add long", `h"X-Long|`+strings.Repeat("word ", 400)+`end|" ; h"X-Word|`+strings.Repeat("w", 3000)+`|" ; c`),
		edit("add spaces", `h"X-Space|  two|" ; h"X-Tab|\ttab|" ; h"X-Trail|trail  |" ; h"X-Fold|a\n b|" ; c`),
		edit("insert", `i"\x00\x00\x00\x00X-Top|0|" ; i"\x00\x00\x00\x03X-Three|3|" ; i"\x00\x00\x00\x63X-End|end|" ; c`),
		edit("insert at one", `i"\x00\x00\x00\x01X-One|1|" ; i"\x00\x00\x00\x01X-One|again|" ; m"\x00\x00\x00\x01Received|changed|" ; c`),
		edit("insert at every place", inserts(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)),
		edit("insert backwards", inserts(15, 13, 11, 9, 7, 5, 3, 1)),
		edit("insert at minus one", `i"\xff\xff\xff\xffX-Minus|1|" ; c`),
		edit("change", `m"\x00\x00\x00\x02X-A||" ; m"\x00\x00\x00\x02X-A|three|" ; h"X-A|four|" ; m"\x00\x00\x00\x03X-A|changed|" ; m"\x00\x00\x00\x09X-A|six|" ; m"\x00\x00\x00\x09X-A||" ; m"\x00\x00\x00\x00Subject|new|" ; c`),
		edit("change empty", `m"\x00\x00\x00\x01X-Empty|full|" ; m"\x00\x00\x00\x01X-Blank|full|" ; m"\x00\x00\x00\x04X-A|full|" ; c`),
		edit("change to a space", `m"\x00\x00\x00\x01X-A| |" ; m"\x00\x00\x00\x02X-A|  |" ; c`),
		edit("change with another case", `m"\x00\x00\x00\x03X-A|mine|" ; m"\x00\x00\x00\x01SUBJECT|mine|" ; c`),
		edit("change folded", `m"\x00\x00\x00\x01Subject|one\n\ttwo\n three|" ; m"\x00\x00\x00\x01Received|from here\n\tby there|" ; c`),
		edit("change what is not there", `m"\x00\x00\x00\x01X-New|new|" ; m"\x00\x00\x00\x05X-A|fifth|" ; c`),
		edit("change what was added", `h"X-New|a|" ; m"\x00\x00\x00\x01X-New|b|" ; i"\x00\x00\x00\x00X-New|top|" ; m"\x00\x00\x00\x01X-New|c|" ; m"\x00\x00\x00\x02X-New||" ; c`),
		edit("remove", `m"\x00\x00\x00\x01X-A||" ; m"\x00\x00\x00\x01Subject||" ; m"\x00\x00\x00\x01X-Empty||" ; c`),
		edit("remove all of a name forwards", strings.Repeat(`m"\x00\x00\x00\x01X-A||" ; `, 5)+`c`),
		edit("remove all of a name backwards", `m"\x00\x00\x00\x04X-A||" ; m"\x00\x00\x00\x03X-A||" ; m"\x00\x00\x00\x02X-A||" ; m"\x00\x00\x00\x01X-A||" ; c`),
		edit("remove what is not there", `m"\x00\x00\x00\x01X-None||" ; m"\x00\x00\x00\x09X-A||" ; c`),
		edit("remove and insert", `m"\x00\x00\x00\x01From||" ; i"\x00\x00\x00\x02X-Two|2|" ; m"\x00\x00\x00\x02X-A||" ; i"\x00\x00\x00\x05X-Five|5|" ; c`),
		edit("change at minus one", `m"\xff\xff\xff\xffX-A|x|" ; c`),
		edit("change without an index", `m"X|" ; c`),
		edit("body", `b"one\ntwo\r" ; b"\nthree\r\n.dot\r\n" ; b"four" ; c`),
		edit("body empty", `b"" ; c`),
		edit("body with eight bits", `b"\xe4\xf6\n\xff\r\n" ; c`),
		edit("body huge", strings.Repeat(`b"`+strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\\r\\n", 1000)+`" ; `, 40)+"c"),
		edit("body and fields", `b"new\n" ; h"X-Add|a|" ; b"more\n" ; m"\x00\x00\x00\x01Subject|s|" ; c`),
		edit("recipients", `+"<c@far.test>|" ; 2"<d@far.test>|NOTIFY=NEVER|" ; -"<bob@far.test>|" ; c`),
		edit("recipients without brackets", `+"c@far.test|" ; -"carol@far.test|" ; c`),
		edit("recipient twice", `+"<bob@far.test>|" ; +"<c@far.test>|" ; +"<c@far.test>|" ; c`),
		edit("recipient removed with another case", `-"<BOB@FAR.TEST>|" ; c`),
		edit("recipient not there removed", `-"<none@far.test>|" ; c`),
		edit("recipient empty", `+"<>|" ; c`),
		edit("recipient with bad arguments", `2"<d@far.test>|NOTIFY=MAYBE X=1|" ; c`),
		edit("recipient not an address", `+"no address at all>|" ; c`),
		edit("sender", `e"<new@x.test>|" ; c`),
		edit("sender with arguments", `e"<new@x.test>|SIZE=10 BODY=8BITMIME|" ; c`),
		edit("sender empty", `e"<>|" ; c`),
		edit("sender twice", `e"<one@x.test>|" ; e"<two@x.test>|" ; c`),
		edit("edits before a refusal", `h"X-Add|a|" ; +"<c@far.test>|" ; r`),
		edit("edits before accept", `h"X-Add|a|" ; b"x\n" ; a`),
		edit("progress between", `p ; p ; h"X-Add|a|" ; p ; c`),
		edit("slow", `slow ; p ; slow ; c`),
		edit("unknown edit", `X"a|" ; c`),
		gone(edit("edits before discard", `h"X-Add|a|" ; d`)),
		gone(edit("quarantine", `q"for a look|" ; c`)),
		gone(edit("removes every recipient", `-"<bob@far.test>|" ; -"<carol@far.test>|" ; c`)),
	}
}

func gone(c Case) Case { c.Gone = true; return c }

func inserts(at ...int) string {
	var b strings.Builder
	for _, n := range at {
		fmt.Fprintf(&b, `i"\x00\x00\x00\x%02xX-At|%d|" ; `, n, n)
	}
	return b.String() + "c"
}

// steps are the sets of flags that some cases are played with besides none.
var steps = []gomilter.OptProtocol{
	gomilter.OptHeaderLeadingSpace | gomilter.OptSkip,
	0xf080 | 0xf0000,            // nothing is answered but the end
	0x7f &^ 0x08,                // only RCPT and the end are wanted
	gomilter.OptRcptRej | 0x300, // no DATA, no unknown commands
	All.Steps &^ 0x37f &^ 0xf8000,
}

// flagged are the edits for which leading space matters, and some others, with
// each set of flags.
func flagged() (out []Case) {
	for _, s := range steps {
		for _, c := range edits() {
			switch c.Name {
			case "nothing", "add spaces", "insert at one", "change", "change to a space", "change empty", "body", "recipients":
				c.Terms = Terms{6, All.Actions, s}
				c.Name = fmt.Sprintf("%s %#x", c.Name, uint32(s))
				out = append(out, c)
			}
		}
	}
	for _, v := range []uint32{2, 3, 4} {
		c := edit(fmt.Sprintf("version %d", v), `h"X-Add|a|" ; m"\x00\x00\x00\x01Subject||" ; c`)
		c.Terms = Terms{v, 0x3f, 0}
		out = append(out, c)
	}
	return out
}

// letters are messages that are odd.
func letters() (out []Case) {
	for _, l := range []struct{ name, data string }{
		{"no header", "\r\nbody\r\n"},
		{"no body", "From: ann@x.test\r\nSubject: x\r\n"},
		{"no message", ""},
		{"fields that are folded twice", "From: ann@x.test\r\nSubject: a\r\n b\r\n\tc\r\n  d\r\nX-Fold:\r\n first line empty\r\n\r\nx\r\n"},
		{"a hundred fields of a name", strings.Repeat("X-Same: s\r\n", 100) + "\r\nx\r\n"},
		{"long field", "Subject: " + strings.Repeat("word ", 1500) + "\r\n\r\nx\r\n"},
		{"eight bits in a field", "Subject: \xe4\xf6\r\n\r\nx\r\n"},
		{"space before the colon", "Subject : x\r\nFrom: a@x.test\r\n\r\nx\r\n"},
		{"no field in the header", "From: ann@x.test\r\nthis is no field\r\nSubject: x\r\n\r\nx\r\n"},
		{"NUL in the body", "From: ann@x.test\r\n\r\na\x00b\r\n"},
		{"NUL in a field", "From: ann@x.test\r\nSubject: a\x00b\r\n\r\nx\r\n"},
		{"huge body", "From: ann@x.test\r\n\r\n" + strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n", 30000)},
		{"long line", "From: ann@x.test\r\n\r\n" + strings.Repeat("0123456789", 90) + "\r\n"},
	} {
		c := edit(l.name, `h"X-Add|a|" ; i"\x00\x00\x00\x02X-In|i|" ; m"\x00\x00\x00\x01Subject|changed|" ; c`)
		c.Data = l.data
		out = append(out, c)
	}
	return out
}

// dialogues are sessions with more than one message, or other commands.
func dialogues() (out []Case) {
	two := []string{"EHLO client.test", "MAIL FROM:<ann@x.test>", "RCPT TO:<bob@far.test>", "DATA", "MAIL FROM:<bea@x.test>", "RCPT TO:<carol@far.test>", "DATA", "QUIT"}
	for _, d := range []struct {
		name, script string
		say          []string
	}{
		{"two messages", `E h"X|1|" ; c` + "\n" + `E h"X|2|" ; c`, two},
		{"the first refused", "M r\nM c", two},
		{"the first accepted early", "M a\nM c", two},
		{"the first recipient refused", "R r\nR c", two},
		{"the second recipient refused", "R c\nR y\"550 5.1.1 No|\"", Plain("", "bob@far.test", "carol@far.test", "dave@far.test").Say},
		{"one recipient accepted", "R a", Plain("", "bob@far.test", "carol@far.test").Say},
		{"RSET", "", []string{"EHLO client.test", "MAIL FROM:<ann@x.test>", "RCPT TO:<bob@far.test>", "RSET", "MAIL FROM:<bea@x.test>", "RCPT TO:<carol@far.test>", "DATA", "QUIT"}},
		{"EHLO twice", "", []string{"EHLO one.test", "EHLO client.test", "MAIL FROM:<ann@x.test>", "RCPT TO:<bob@far.test>", "DATA", "QUIT"}},
		{"unknown with arguments", "", []string{"EHLO client.test", "WHAT is this", "QUIT"}},
		{"HELO", "", []string{"HELO client.test", "MAIL FROM:<ann@x.test>", "RCPT TO:<bob@far.test>", "DATA", "QUIT"}},
		{"empty sender", "", []string{"EHLO client.test", "MAIL FROM:<>", "RCPT TO:<bob@far.test>", "DATA", "QUIT"}},
		{"arguments", "", []string{"EHLO client.test", "MAIL FROM:<ann@x.test> SIZE=100 BODY=8BITMIME", "RCPT TO:<bob@far.test> NOTIFY=NEVER", "DATA", "QUIT"}},
		{"MAIL not answered", "M silent", Plain("", "bob@far.test").Say},
		{"message not answered", "E silent", Plain("", "bob@far.test").Say},
		{"skipped fields and body", "L c\nL s\nB s", two},
	} {
		c := Case{Name: d.name, Script: d.script, Differ: reason(d.name)}
		c.Terms = Terms{6, All.Actions, gomilter.OptSkip}
		c.Say, c.Data = d.say, small
		out = append(out, c)
	}
	return out
}

// negotiations are milters that one can not come to terms with.
func negotiations() (out []Case) {
	answer := func(t Terms) string { return string(Packet('O', t.append())) }
	for _, n := range []struct{ name, greet string }{
		{"garbage", "\x00\x00\x00\x00garbage"},
		{"another packet", string(Packet('c', ""))},
		{"a short answer", string(Packet('O', "\x00\x00\x00\x06"))},
		{"version 7", answer(Terms{7, 0, 0})},
		{"more actions", answer(Terms{6, 1 << 20, 0})},
		{"more steps", answer(Terms{6, 0, 1 << 25})},
		{"a list cut short", string(Packet('O', Terms{6, 0, 0}.append()+"\x00\x00\x00\x00j"))},
	} {
		c := Case{Name: "connect to a milter that negotiates " + n.name, Greet: n.greet, Session: Plain(small, "bob@far.test")}
		c.Differ = reason(c.Name)
		out = append(out, c)
	}
	return out
}

// Cases are all of them.
func Cases() []Case {
	var out []Case
	for _, some := range [][]Case{negotiations(), replies(), edits(), flagged(), letters(), dialogues()} {
		for _, c := range some {
			if c.Terms.Version == 0 {
				c.Terms = Terms{6, All.Actions, 0}
			}
			out = append(out, c)
		}
	}
	return out
}
