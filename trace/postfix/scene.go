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
	key0   string // of the connection
	pid    uint32
	helo   string
	proto  string
	user   string
	mech   string
	uid    string // of who handed it in on this machine
	from   string
	rcpts  int
	filter string // the kind of the filter that refused
	drop   string // of the filter that discarded
	own    bool   // the events are the connection's own, and may have been told of
	taken  bool
	early  []*pipeline.Event // deliveries before the message was taken
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
		s.step(e)
	case pipeline.EventMail:
		s.own = false
		s.mail(e)
	case pipeline.EventReply:
		s.reply(e)
	case pipeline.EventTaken:
		s.own = false
		s.take(e)
	case pipeline.EventQueue:
		s.queue(e)
	case pipeline.EventDeliver:
		s.deliver(e)
	case pipeline.EventRelay:
		s.relay(e)
	case pipeline.EventMade:
		s.made(e)
	}
}

func (s *scene) step(e *pipeline.Event) {
	switch {
	case e.Shadow || e.Masked:
	case e.Reply != "":
		s.filter = e.Filter
	case e.Action == pipeline.Discard.String():
		s.drop = e.Step
	}
}

func (s *scene) smtpd(at time.Time, sev Severity, format string, args ...any) {
	s.w.line(at, sev, s.w.ident+"/smtpd", s.pid, format, args...)
}

func (s *scene) program(at time.Time, name, format string, args ...any) {
	s.w.line(at, Info, s.w.ident+"/"+name, pidOf(name), "%s: %s", ID(s.id), fmt.Sprintf(format, args...))
}

// connection finds the peer's name and number.
func (s *scene) connection(e *pipeline.Event) {
	addr, name := "127.0.0.1", "localhost" // a socket with a path
	if a, err := netip.ParseAddrPort(e.Host); err == nil {
		addr = a.Addr().Unmap().String()
		if !a.Addr().IsLoopback() {
			name = "unknown"
		}
	}
	if _, verified, ok := strings.Cut(e.Note, pipeline.VerifiedName); ok && verified != "" {
		name = word(verified)
	}
	s.peer, s.pid = name+"["+addr+"]", pidOf(e.Host)
}

// key names a connection.
func (s *scene) key(host string, began time.Time) string {
	return host + " " + strconv.FormatInt(began.UnixNano(), 10)
}

// fresh reports whether an event of the connection's own is told of for the first
// time: they stand in the trace of each of its messages.
func (s *scene) fresh(e *pipeline.Event) bool {
	if !s.own || s.key0 == "" {
		return true
	}
	at, ok := s.w.told[s.key0]
	if ok && e.Time.UnixNano() <= at {
		return false
	}
	if !ok {
		dropOne(s.w.told)
	}
	s.w.told[s.key0] = e.Time.UnixNano()
	return true
}

func (s *scene) session(e *pipeline.Event) {
	words := strings.Fields(e.Note)
	switch {
	case e.Host != "":
		s.connection(e)
		s.own, s.key0 = true, s.key(e.Host, e.Time)
		if s.fresh(e) {
			s.smtpd(e.Time, Info, "connect from %s", s.peer)
		}
	case len(words) == 2 && (words[0] == "EHLO" || words[0] == "HELO" || words[0] == "LHLO"):
		s.helo = words[1]
		s.proto = map[string]string{"EHLO": "ESMTP", "HELO": "SMTP", "LHLO": "LMTP"}[words[0]]
	case strings.HasPrefix(e.Note, "logged in as "):
		s.user, s.mech = cutLast(strings.TrimPrefix(e.Note, "logged in as "), " by ")
	case strings.HasPrefix(e.Note, "made here: ") || strings.HasPrefix(e.Note, handedIn):
		if i := strings.LastIndex(e.Note, ", from <"); i >= 0 {
			s.from, _, _ = strings.Cut(e.Note[i+len(", from <"):], ">")
		}
		if by, ok := strings.CutPrefix(e.Note, handedIn); ok {
			s.uid, _, _ = strings.Cut(by, ",")
		}
	}
}

// handedIn begins the note of mail by a program on this machine.
const handedIn = "handed in by userid "

// login tells of a failed login by SMTP; those by IMAP are told of by Login.
func (s *scene) login(e *pipeline.Event) {
	if e.Stage != "smtp" || e.Action != "failed" {
		return
	}
	s.connection(e)
	user, mech := cutLast(e.Note, " by ")
	s.smtpd(e.Time, Warning, "warning: %s: SASL %s authentication failed: authentication failure, sasl_username=%s", s.peer, word(mech), word(user))
}

func (s *scene) mail(e *pipeline.Event) {
	switch {
	case e.Rcpt == "":
		s.from = strings.Trim(strings.TrimPrefix(e.Note, "from "), "<>")
	case e.Reply == "250":
		s.rcpts++
	default:
		s.reject(e, "NOQUEUE", "RCPT", s.why(e))
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

// reply tells of a refusal of anything but a recipient, and of a message that was
// taken and thrown away.
func (s *scene) reply(e *pipeline.Event) {
	if e.Reply == "" || s.peer == "" || !s.fresh(e) {
		return
	}
	if e.Reply[0] == '2' || e.Reply[0] == '3' {
		if s.drop != "" && !s.taken {
			s.program(e.Time, "cleanup", "discard: END-OF-MESSAGE from %s: %s; %s", s.peer, text(s.drop), s.envelope(""))
		}
		return
	}
	code, rest := codes(e.Reply)
	said := code + " " + text(rest)
	switch {
	case s.rcpts > 0 && s.filter == "milter":
		s.program(e.Time, "cleanup", "milter-reject: END-OF-MESSAGE from %s: %s; %s", s.peer, said, s.envelope(e.Rcpt))
	case s.rcpts > 0:
		s.reject(e, ID(s.id), "END-OF-MESSAGE", said)
	case s.from != "" || !s.own:
		s.reject(e, "NOQUEUE", "MAIL", said)
	case s.helo != "":
		s.reject(e, "NOQUEUE", "EHLO", said)
	default:
		s.reject(e, "NOQUEUE", "CONNECT", said)
	}
}

func (s *scene) reject(e *pipeline.Event, id, where, said string) {
	s.smtpd(e.Time, Info, "%s: reject: %s from %s: %s; %s", id, where, s.peer, said, s.envelope(e.Rcpt))
	s.filter = ""
}

func (s *scene) envelope(to string) string {
	out := "from=<" + word(s.from) + ">"
	if to != "" {
		out += " to=<" + word(to) + ">"
	}
	return out + " proto=" + s.proto + " helo=<" + word(s.helo) + ">"
}

// take tells of an accepted message.
func (s *scene) take(e *pipeline.Event) {
	s.taken = true
	m := s.w.mail(s.id)
	m.peer, m.envelope = s.peer, s.envelope("")
	if s.peer != "" {
		login := ""
		if s.user != "" {
			login = ", sasl_method=" + word(s.mech) + ", sasl_username=" + word(s.user)
		}
		s.smtpd(e.Time, Info, "%s: client=%s%s", ID(s.id), s.peer, login)
	}
	if s.uid != "" {
		s.program(e.Time, "pickup", "uid=%s from=<%s>", word(s.uid), word(s.from))
	}
	s.program(e.Time, "cleanup", "message-id=<%s>", word(strings.Trim(e.Note, "<>")))
	s.program(e.Time, "qmgr", "from=<%s>, size=%d, nrcpt=%d (queue active)", word(s.from), e.Size, max(s.rcpts, 1))
	for _, early := range s.early {
		s.deliver(early)
	}
}

// queue tells of what is put into the queue, held there, and given up.
func (s *scene) queue(e *pipeline.Event) {
	s.acted = true
	switch e.Action {
	case "expired":
		s.leaves(1)
		s.program(e.Time, "qmgr", "from=<%s>, status=expired, returned to sender", word(e.Host))
		return
	case "deleted":
		s.leaves(max(int(e.Size), 1))
		return
	case "held", "released", "requeued":
		what := map[string]string{"held": "placed on hold", "released": "released from hold", "requeued": "requeued"}[e.Action]
		s.program(e.Time, "postsuper", "%s", what)
		return
	}
	m := s.w.mail(s.id)
	m.waiting++
	if why, ok := strings.CutPrefix(e.Note, "held: "); ok && !m.held {
		m.held = true
		peer, envelope := m.peer, m.envelope
		if peer == "" {
			peer = "local"
		}
		s.program(e.Time, "cleanup", "hold: END-OF-MESSAGE from %s: %s; %s", peer, text(why), envelope)
	}
}

// leaves notes that recipients are not in the queue any more.
func (s *scene) leaves(n int) {
	if m := s.w.mails[s.id]; m != nil {
		m.waiting = max(m.waiting-n, 0)
	}
}

func (s *scene) deliver(e *pipeline.Event) {
	if e.Host == "" && !s.taken && s.peer != "" {
		s.early = append(s.early, e)
		return
	}
	s.acted = true
	place := e.Rcpt + " " + e.Host
	if s.filed[place] {
		return // stored in several folders: one delivery
	}
	if s.filed == nil {
		s.filed = map[string]bool{}
	}
	s.filed[place] = true
	if e.Stage == "queue" {
		s.leaves(1)
	}
	to := e.Host
	if to == "" {
		to = e.Rcpt
	}
	switch {
	case e.Action == "redirected": // what was made of it is told of
	case e.Action == "discarded" || e.Host == "":
		s.tried(e, "discard", to, "none", "2.0.0", "sent", e.Note)
	default:
		s.tried(e, "virtual", to, "virtual", "2.0.0", "sent", e.Note)
	}
}

func (s *scene) relay(e *pipeline.Event) {
	status := map[string]string{"delivered": "sent", "deferred": "deferred", "failed": "bounced"}[e.Action]
	if status == "" {
		return // postponed: nothing was said
	}
	s.acted = true
	if status != "deferred" {
		s.leaves(1)
	}
	program, host := "smtp", hop(e.Host)
	if e.Stage != "" {
		program = e.Stage
	}
	switch {
	case program == "error" || program == "discard" || e.Host == "":
		host = "none"
	case program != "smtp" && program != "lmtp":
		host = program // a program's or file's name may hold anything
	}
	code, rest := codes(e.Reply)
	_, dsn, _ := strings.Cut(code, " ")
	s.tried(e, program, e.Rcpt, host, dsn, status, code+" "+rest)
}

func (s *scene) tried(e *pipeline.Event, program, to, relay, dsn, status, said string) {
	orig := ""
	if e.Kind == pipeline.EventDeliver && to != e.Rcpt {
		orig = "orig_to=<" + word(e.Rcpt) + ">, "
	}
	delay := e.Time.Add(e.Took).Sub(s.id.Time())
	s.program(e.Time.Add(e.Took), program, "to=<%s>, %srelay=%s, delay=%s, delays=%s/0/0/%s, dsn=%s, status=%s (%s)",
		word(to), orig, relay, seconds(delay), seconds(delay-e.Took), seconds(e.Took), dsn, status, text(said))
}

// seconds writes a delay as Postfix does: two digits count, two decimals at most, and
// whole seconds are never rounded (postconf(5), delay_logging_resolution_limit).
func seconds(d time.Duration) string {
	step := 10 * time.Millisecond
	switch {
	case d >= 10*time.Second:
		step = time.Second
	case d >= time.Second:
		step = 100 * time.Millisecond
	}
	return strconv.FormatFloat(max(d, 0).Round(step).Seconds(), 'f', -1, 64)
}

// reports are the words for reports to the sender, by what they tell.
var reports = map[string]string{"failed": "non-delivery", "delayed": "delay", "delivered": "delivery status", "relayed": "delivery status"}

// made tells of a message that this one gave rise to.
func (s *scene) made(e *pipeline.Event) {
	why, of := cutLast(e.Note, " ")
	id, err := message.ParseID(of)
	switch {
	case err != nil || e.Err != "":
	case why == "report" && reports[e.Action] != "":
		s.program(e.Time, "bounce", "sender %s notification: %s", reports[e.Action], ID(id))
	case why == "redirect":
		to := e.Host
		if to == "" {
			to = e.Rcpt
		}
		s.tried(e, "local", to, "local", "2.0.0", "sent", "forwarded as "+ID(id))
	}
}

// end tells that nothing of the message is left in the queue.
func (s *scene) end() {
	if m := s.w.mails[s.id]; m != nil && s.acted && m.waiting == 0 {
		delete(s.w.mails, s.id)
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
