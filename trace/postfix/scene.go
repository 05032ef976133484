package postfix

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mtad/message"
	"mtad/pipeline"
)

// scene is what the events of a trace have said so far.
type scene struct {
	w      *Writer
	id     message.ID
	peer   string // name[address]
	pid    uint32
	helo   string
	proto  string
	user   string
	mech   string
	from   string
	rcpts  int
	filter string // the kind of the filter that refused
	filed  map[string]bool
	acted  bool // the message was filed, queued or tried
	last   time.Time
}

func (s *scene) event(e *pipeline.Event) {
	s.last = e.Time
	switch e.Kind {
	case pipeline.EventSession:
		s.session(e)
	case pipeline.EventLogin:
		s.login(e)
	case pipeline.EventStep:
		if e.Reply != "" && !e.Shadow && !e.Masked {
			s.filter = e.Filter
		}
	case pipeline.EventMail:
		s.mail(e)
	case pipeline.EventReply:
		s.reply(e)
	case pipeline.EventTaken:
		s.taken(e)
	case pipeline.EventQueue:
		s.acted = true
		s.w.wait(s.id, 1)
	case pipeline.EventDeliver:
		s.deliver(e)
	case pipeline.EventRelay:
		s.relay(e)
	case pipeline.EventMade:
		s.made(e)
	}
}

func (s *scene) smtpd(at time.Time, format string, args ...any) {
	s.w.line(at, s.w.opts.Ident+"/smtpd", s.pid, format, args...)
}

func (s *scene) program(at time.Time, name, format string, args ...any) {
	s.w.line(at, s.w.opts.Ident+"/"+name, pidOf(name), "%s: %s", ID(s.id), fmt.Sprintf(format, args...))
}

// connection finds the peer's name and number.
func (s *scene) connection(e *pipeline.Event) {
	addr := "127.0.0.1" // a socket with a path
	if a, err := netip.ParseAddrPort(e.Host); err == nil {
		addr = a.Addr().Unmap().String()
	}
	s.peer, s.pid = "unknown["+addr+"]", pidOf(e.Host)
}

func (s *scene) session(e *pipeline.Event) {
	words := strings.Fields(e.Note)
	switch {
	case e.Host != "":
		s.connection(e)
		if s.w.first(e.Host + e.Time.String()) {
			s.smtpd(e.Time, "connect from %s", s.peer)
		}
	case len(words) == 2 && (words[0] == "EHLO" || words[0] == "HELO" || words[0] == "LHLO"):
		s.helo = words[1]
		s.proto = map[string]string{"EHLO": "ESMTP", "HELO": "SMTP", "LHLO": "LMTP"}[words[0]]
	case strings.HasPrefix(e.Note, "logged in as "):
		s.user, s.mech = cutLast(strings.TrimPrefix(e.Note, "logged in as "), " by ")
	case strings.HasPrefix(e.Note, "made here: "):
		if i := strings.LastIndex(e.Note, ", from <"); i >= 0 {
			s.from, _, _ = strings.Cut(e.Note[i+len(", from <"):], ">")
		}
	}
}

// login tells of a failed login, or of one by IMAP.
func (s *scene) login(e *pipeline.Event) {
	s.connection(e)
	addr := strings.TrimSuffix(strings.TrimPrefix(s.peer, "unknown["), "]")
	user, mech := cutLast(e.Note, " by ")
	switch {
	case e.Stage == "smtp" && e.Action == "failed":
		s.smtpd(e.Time, "warning: %s: SASL %s authentication failed: authentication failure, sasl_username=%s", s.peer, word(mech), word(user))
	case e.Stage == "imap" && e.Action == "failed":
		s.w.line(e.Time, "dovecot", pidOf("dovecot"), "imap-login: Aborted login (auth failed, 1 attempts in 2 secs): user=<%s>, method=%s, rip=%s", word(user), word(mech), addr)
	case e.Stage == "imap":
		s.w.line(e.Time, "dovecot", pidOf("dovecot"), "imap-login: Login: user=<%s>, method=%s, rip=%s", word(user), word(mech), addr)
	}
}

func (s *scene) mail(e *pipeline.Event) {
	switch {
	case e.Rcpt == "":
		s.from = strings.Trim(strings.TrimPrefix(e.Note, "from "), "<>")
	case e.Reply == "250":
		s.rcpts++
	default:
		s.reject(e, "NOQUEUE", "reject", "RCPT", s.why(e))
	}
}

// why is a refused recipient's reply, in Postfix's words where the reason is one
// that it has.
func (s *scene) why(e *pipeline.Event) string {
	to := "<" + word(e.Rcpt) + ">: "
	switch pipeline.Class(e.Note) {
	case pipeline.NoSuch:
		return "550 5.1.1 " + to + "Recipient address rejected: User unknown in local recipient table"
	case pipeline.RelayDeny:
		return "554 5.7.1 " + to + "Relay access denied"
	}
	code, rest := codes(e.Reply)
	if s.filter == "rbl" {
		addr := s.peer[strings.LastIndexByte(s.peer, '[')+1:]
		return "554 5.7.1 Service unavailable; Client host [" + strings.TrimSuffix(addr, "]") + "] blocked using " + text(rest)
	}
	return code + " " + to + "Recipient address rejected: " + text(rest)
}

// reply tells of a refusal of anything but a recipient.
func (s *scene) reply(e *pipeline.Event) {
	if e.Reply == "" || e.Reply[0] == '2' || e.Reply[0] == '3' || s.peer == "" {
		return
	}
	code, rest := codes(e.Reply)
	said := code + " " + text(rest)
	switch {
	case s.rcpts > 0 && s.filter == "milter":
		s.program(e.Time, "cleanup", "milter-reject: END-OF-MESSAGE from %s: %s; %s", s.peer, said, s.envelope(e.Rcpt))
	case s.rcpts > 0:
		s.reject(e, ID(s.id), "reject", "END-OF-MESSAGE", said)
	case s.from != "":
		s.reject(e, "NOQUEUE", "reject", "MAIL", said)
	case s.helo != "":
		s.reject(e, "NOQUEUE", "reject", "EHLO", said)
	default:
		s.reject(e, "NOQUEUE", "reject", "CONNECT", said)
	}
}

func (s *scene) reject(e *pipeline.Event, id, how, where, said string) {
	s.smtpd(e.Time, "%s: %s: %s from %s: %s; %s", id, how, where, s.peer, said, s.envelope(e.Rcpt))
	s.filter = ""
}

func (s *scene) envelope(to string) string {
	out := "from=<" + word(s.from) + ">"
	if to != "" {
		out += " to=<" + word(to) + ">"
	}
	return out + " proto=" + s.proto + " helo=<" + word(s.helo) + ">"
}

// taken tells of an accepted message.
func (s *scene) taken(e *pipeline.Event) {
	if s.peer != "" {
		login := ""
		if s.user != "" {
			login = ", sasl_method=" + word(s.mech) + ", sasl_username=" + word(s.user)
		}
		s.smtpd(e.Time, "%s: client=%s%s", ID(s.id), s.peer, login)
	}
	s.program(e.Time, "cleanup", "message-id=<%s>", word(strings.Trim(e.Note, "<>")))
	s.program(e.Time, "qmgr", "from=<%s>, size=%d, nrcpt=%d (queue active)", word(s.from), e.Size, max(s.rcpts, 1))
}

func (s *scene) deliver(e *pipeline.Event) {
	s.acted = true
	if s.filed[e.Rcpt] {
		return // stored in several folders: one delivery
	}
	if s.filed == nil {
		s.filed = map[string]bool{}
	}
	s.filed[e.Rcpt] = true
	to := e.Host
	if to == "" {
		to = e.Rcpt
	}
	s.tried(e, "virtual", to, "virtual", "2.0.0", "sent", e.Note)
}

func (s *scene) relay(e *pipeline.Event) {
	status := map[string]string{"delivered": "sent", "deferred": "deferred", "failed": "bounced"}[e.Action]
	if status == "" {
		return // postponed: nothing was said
	}
	s.acted = true
	if status != "deferred" && s.w.queue[s.id] > 0 {
		s.w.queue[s.id]--
	}
	program, host := "smtp", e.Host
	switch {
	case host == "error" || host == "discard" || host == "pipe":
		program = host
	case host == "":
		host = "none"
	}
	code, rest := codes(e.Reply)
	_, dsn, _ := strings.Cut(code, " ")
	s.tried(e, program, e.Rcpt, hop(host), dsn, status, code+" "+rest)
}

func (s *scene) tried(e *pipeline.Event, program, to, relay, dsn, status, said string) {
	orig := ""
	if e.Kind == pipeline.EventDeliver && to != e.Rcpt {
		orig = "orig_to=<" + word(e.Rcpt) + ">, "
	}
	took := e.Took.Seconds()
	delay := max(e.Time.Add(e.Took).Sub(s.id.Time()).Seconds(), 0)
	s.program(e.Time.Add(e.Took), program, "to=<%s>, %srelay=%s, delay=%.2g, delays=%.2g/0/0/%.2g, dsn=%s, status=%s (%s)",
		word(to), orig, relay, delay, max(delay-took, 0), took, dsn, status, text(said))
}

func (s *scene) made(e *pipeline.Event) {
	why, of := cutLast(e.Note, " ")
	if id, err := message.ParseID(of); err == nil && why == "report" && e.Err == "" {
		s.program(e.Time, "bounce", "sender non-delivery notification: %s", ID(id))
	}
}

// end tells that nothing of the message is left in the queue.
func (s *scene) end() {
	if n, ok := s.w.queue[s.id]; s.acted && (n == 0 || !ok) {
		delete(s.w.queue, s.id)
		s.program(s.last, "qmgr", "removed")
	}
}

// hop is a host as "name[address]:port".
func hop(host string) string {
	name, rest, ok := strings.Cut(host, " [")
	addr, port, closed := strings.Cut(rest, "]")
	if !ok || !closed {
		return word(host)
	}
	return word(name) + "[" + word(addr) + "]" + word(port)
}

var dsnForm = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}$`)

// codes cuts a reply into its codes and its text.
func codes(reply string) (code, rest string) {
	code, rest, _ = strings.Cut(reply, " ")
	status, more, _ := strings.Cut(rest, " ")
	if n, err := strconv.Atoi(code); err != nil || n < 200 || n > 599 {
		return "450 4.0.0", reply
	}
	if dsnForm.MatchString(status) {
		return code + " " + status, more
	}
	return code + " " + code[:1] + ".0.0", rest
}

func cutLast(s, sep string) (before, after string) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):]
	}
	return s, ""
}
