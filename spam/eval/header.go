package eval

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"mtad/spam/conf"
	"mtad/spam/mail"
	"mtad/spam/relay"
	"mtad/spam/scan"
)

// headerEval are the functions of HeaderEval.
var headerEval = map[string]Func{
	"check_for_fake_aol_relay_in_rcvd":             fakeAOL,
	"check_for_faraway_charset_in_headers":         farawayInHeaders,
	"check_illegal_chars":                          illegalChars,
	"check_for_forged_hotmail_received_headers":    func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(hotmail(s) == forged) },
	"check_for_no_hotmail_received_headers":        func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(hotmail(s) == missing) },
	"check_for_msn_groups_headers":                 func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(msnGroups(s)) },
	"check_for_forged_eudoramail_received_headers": forgedEudoramail,
	"check_for_forged_yahoo_received_headers":      forgedYahoo,
	"check_for_forged_juno_received_headers":       forgedJuno,
	"check_for_forged_gmail_received_headers":      forgedGmail,
	"check_for_matching_env_and_hdr_from":          matchingEnvelope,
	"sorted_recipients":                            func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(recipients(s).sorted) },
	"similar_recipients": func(s *scan.Scan, _ *conf.Rule, a []string) (float64, error) {
		return hit(within(recipients(s).similar, 1, arg(a, 0), arg(a, 1)))
	},
	"check_for_missing_to_header":            missingTo,
	"check_for_forged_gw05_received_headers": forgedGW05,
	"check_for_shifted_date":                 shiftedDate,
	"received_within_months":                 receivedWithinMonths,
	"subject_is_all_caps":                    allCaps,
	"check_for_to_in_subject":                toInSubject,
	"check_outlook_message_id":               outlookID,
	"check_messageid_not_usable":             idNotUsable,
	"check_header_count_range":               headerCount,
	"check_unresolved_template":              unresolvedTemplate,
	"check_ratware_name_id":                  ratwareNameID,
	"check_ratware_envelope_from":            ratwareEnvelope,
	"gated_through_received_hdr_remover":     func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) { return hit(gated(s)) },
	"check_equal_from_domains":               equalFromDomains,
	"check_for_unique_subject_id":            func(*scan.Scan, *conf.Rule, []string) (float64, error) { return 0, nil },
}

// text is all of what is asked for, "" if there is nothing.
func text(s *scan.Scan, what string) string {
	v, _ := s.Joined(what)
	return v
}

// received is all Received fields with single spaces.
func received(s *scan.Scan) string {
	return strings.Join(mail.Words(text(s, "Received")), " ") + " "
}

var (
	aolRelay  = regexp.MustCompile(`(?i) rly-[a-z][a-z]\d\d\.`)
	aolServer = regexp.MustCompile(`/AOL-\d+\.\d+\.\d+\)|ESMTP id (?:RELAY|MAILRELAY|MAILIN)`)
)

func fakeAOL(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	r := received(s)
	return hit(aolRelay.MatchString(r) && !aolServer.MatchString(r))
}

var wordCharset = regexp.MustCompile(`=\?(.+?)\?.\?.*?\?=`)

func farawayInHeaders(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	locales := strings.Fields(s.Rules.String("ok_locales"))
	if slices.Contains(locales, "all") {
		return 0, nil
	}
	for _, name := range []string{"From:raw", "Subject:raw"} {
		for _, v := range s.Get(name) {
			for _, m := range wordCharset.FindAllStringSubmatch(v, 100) {
				if !charsetOK(m[1], locales) {
					return 1, nil
				}
			}
		}
	}
	return 0, nil
}

func illegalChars(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
	name := arg(args, 0)
	if !strings.HasSuffix(name, ":raw") {
		name += ":raw"
	}
	v := text(s, name)
	if mail.Blank([]byte(v)) {
		return 0, nil
	}
	illegal, controls, eighth, exempt := 0, 0, false, 0
	for i := range len(v) {
		c := v[i]
		switch {
		case c < 9 || c == 11 || c == 12 || c >= 14 && c < 32:
			illegal++
			controls++
		case c >= 0x7f:
			illegal++
			eighth = eighth || c >= 0x80
			if c == 0xa2 || c == 0xa3 || c == 0xae {
				exempt++
			}
		}
	}
	if eighth && utf8.ValidString(v) && controls == 0 {
		return 0, nil
	}
	if illegal > 0 && strings.EqualFold(name, "subject:raw") && exempt == 1 {
		illegal--
	}
	ratio, _ := strconv.ParseFloat(arg(args, 1), 64)
	return hit(float64(illegal)/float64(len(v)) >= ratio && illegal >= atoi(arg(args, 2)))
}

var (
	ezmlm      = regexp.MustCompile(`(?m)^contact \S+@\S+; run by ezmlm$`)
	qmailList  = regexp.MustCompile(`(?m)^mailing list \S+@\S+`)
	qmailTrace = regexp.MustCompile(`qmail \d+ invoked (?:from network|by .{3,20})\); \d+ ... \d+`)
	msnTrace   = regexp.MustCompile(`from groups\.msn\.com \(\S+\.msn\.com `)
)

// gated reports whether a list server has taken the Received fields away.
func gated(s *scan.Scan) bool {
	if ezmlm.MatchString(text(s, "Mailing-List")) && qmailList.MatchString(text(s, "Delivered-To")) && qmailTrace.MatchString(text(s, "Received")) {
		return true
	}
	return !s.Has("Received") || msnTrace.MatchString(text(s, "Received"))
}

// state of a message that says it is of a provider.
type state int

const (
	fine state = iota
	forged
	missing
)

var (
	hotmailPickup = "from mail pickup service by hotmail.com with Microsoft SMTPSVC;"
	originator    = regexp.MustCompile(`hotmail\.com|msonline-outlook`)
	hotmailWithIP = []*regexp.Regexp{
		regexp.MustCompile(`from (?:\S*\.)?hotmail.com \(\S+\.hotmail(?:\.msn)?\.com[ )]`), regexp.MustCompile(`from \S*\.hotmail.com \(\[[0-9A-Fa-f.:]+\][ ):]`),
		regexp.MustCompile(`from \S+ by \S+\.hotmail(?:\.msn)?\.com with HTTP;`), regexp.MustCompile(`from \[66\.218.\S+\] by \S+\.yahoo\.com`),
	}
	hotmailWithOrg = []*regexp.Regexp{
		regexp.MustCompile(`from \S*\.outbound\.protection\.outlook\.com \(\S+\.outbound\.protection\.outlook\.com[ )]`),
		regexp.MustCompile(`from \S*\.(?:eur|nam)prd\d+\.prod\.outlook\.com \([0-9A-Fa-f.:]+\)`),
	}
	hotmailName = regexp.MustCompile(`(?:from |HELO |helo=)\S*hotmail\.com\b`)
	hotmailFrom = regexp.MustCompile(`(?i)\bhotmail\.com$`)
)

func anyOf(forms []*regexp.Regexp, s string) bool {
	return slices.ContainsFunc(forms, func(re *regexp.Regexp) bool { return re.MatchString(s) })
}

func hotmail(s *scan.Scan) state {
	if v, ok := s.Keep["hotmail"].(state); ok {
		return v
	}
	v := hotmailState(s)
	s.Keep["hotmail"] = v
	return v
}

func hotmailState(s *scan.Scan) state {
	r := received(s)
	ip := relay.FindIP(text(s, "X-Originating-Ip")) != ""
	org := originator.MatchString(text(s, "X-OriginatorOrg"))
	switch {
	case strings.Contains(r, hotmailPickup), msnGroups(s), gated(s), ip && anyOf(hotmailWithIP, r), org && anyOf(hotmailWithOrg, r):
		return fine
	case strings.Contains(r, "hotmail.com") && hotmailName.MatchString(r):
		return forged
	case hotmailFrom.MatchString(s.First("From:addr")):
		return missing
	}
	return fine
}

var (
	groupsTo     = regexp.MustCompile(`(?i)<(\S+)@groups\.msn\.com>`)
	groupsServer = regexp.MustCompile(`from mail pickup service by ((?:p\d\d\.)groups\.msn\.com)\b`)
)

func msnGroups(s *scan.Scan) bool {
	received := text(s, "Received")
	if !strings.Contains(received, "groups.msn.com") {
		return false
	}
	to := groupsTo.FindStringSubmatch(text(s, "To"))
	server := groupsServer.FindStringSubmatch(received)
	if to == nil || server == nil {
		return false
	}
	id := text(s, "Message-Id")
	if to[1] == "notifications" {
		return regexp.MustCompile(`^<\S+@` + regexp.QuoteMeta(server[1]) + `>`).MatchString(id)
	}
	list := regexp.QuoteMeta(to[1])
	return regexp.MustCompile(`^<`+list+`-\S+@groups\.msn\.com>`).MatchString(id) &&
		regexp.MustCompile(list+`-bounce@groups\.msn\.com`).MatchString(s.First("EnvelopeFrom:addr"))
}

var (
	eudoramailFrom = regexp.MustCompile(`(?i)\beudoramail\.com$`)
	whowhere       = regexp.MustCompile(`by \S*whowhere.com;`)
)

func forgedEudoramail(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	if !eudoramailFrom.MatchString(s.First("From:addr")) || gated(s) {
		return 0, nil
	}
	return hit(!(whowhere.MatchString(received(s)) && relay.FindIP(text(s, "X-Sender-Ip")) != ""))
}

var (
	yahooFrom  = regexp.MustCompile(`(?i)\byahoo\.com$`)
	yahooRDNS  = regexp.MustCompile(` rdns=\S+\.yahoo\.com `)
	yahooFirst = regexp.MustCompile(`^[^\]]+ rdns=\S+\.yahoo\.com `)
	yahooTrace = []*regexp.Regexp{
		regexp.MustCompile(`by web\S+\.mail\S*\.yahoo\.com via HTTP`), regexp.MustCompile(`by sonic\S+\.consmr\.mail\S*\.yahoo\.com with HTTP`),
		regexp.MustCompile(`by smtp\S+\.yahoo\.com with SMTP`), regexp.MustCompile(`from \[[0-9A-Fa-f.:]+\] by \S+\.(?:groups|scd|dcn)\.yahoo\.com with NNFMP`),
		regexp.MustCompile(`by \w+\.\w+\.yahoo\.com \(\d+\.\d+\.\d+/\d+\.\d+\.\d+\)(?: with ESMTP)? id \w+`),
	}
	yahooBulk  = regexp.MustCompile(`\bmailer\d+\.bulk\.scd\.yahoo\.com\b`)
	yahooReply = regexp.MustCompile(`(?i)@reply\.yahoo\.com$`)
)

func forgedYahoo(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	from := s.First("From:addr")
	if !yahooFrom.MatchString(from) || gated(s) {
		return 0, nil
	}
	r := received(s)
	if x := text(s, "X-Received"); x != "" && text(s, "Resent-From") != "" && text(s, "Resent-To") != "" {
		r = strings.Join(mail.Words(x), " ")
	}
	return hit(!(yahooRDNS.MatchString(relay.Join(s.Path.Trusted)) || yahooFirst.MatchString(relay.Join(s.Path.Untrusted)) || anyOf(yahooTrace, r) ||
		yahooBulk.MatchString(r) && yahooReply.MatchString(from)))
}

var (
	junoFrom   = regexp.MustCompile(`(?i)\bjuno\.com$`)
	junoTrace  = regexp.MustCompile(`from.*\b(?:juno|untd)\.com.*[\[(][0-9A-Fa-f.:]+[\])].*by`)
	junoCookie = regexp.MustCompile(` cookie\.(?:juno|untd)\.com `)
	mailCom    = regexp.MustCompile(`from.*\bmail\.com.*\[[0-9A-Fa-f.:]+\].*by`)
	mailComX   = regexp.MustCompile(`\bmail\.com`)
	webmail    = regexp.MustCompile(`from (webmail\S+\.untd\.com) \((\S+) \[[0-9A-Fa-f.:]+\]\) by`)
	webmailX   = regexp.MustCompile(`^Webmail Version \d`)
)

func forgedJuno(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	if !junoFrom.MatchString(s.First("From:addr")) || gated(s) {
		return 0, nil
	}
	origin, mailer, r := text(s, "X-Originating-IP"), text(s, "X-Mailer"), text(s, "Received")
	if origin != "" {
		return hit(!junoTrace.MatchString(r) && !junoCookie.MatchString(r) || !strings.Contains(mailer, "Juno "))
	}
	if mailCom.MatchString(r) {
		return hit(!mailComX.MatchString(mailer) || relay.FindIP(origin) == "")
	}
	if m := webmail.FindStringSubmatch(r); m != nil && m[1] == m[2] {
		return hit(!webmailX.MatchString(mailer) || relay.FindIP(origin) == "")
	}
	return 1, nil
}

var (
	gmailFrom  = regexp.MustCompile(`(?i)\bgmail\.com$`)
	gmailTrace = regexp.MustCompile(`by 10\.\S+ with SMTP id \S+|by 2002:a\d\d:\w+:\S+ with SMTP id \S+`)
	gmailSMTP  = regexp.MustCompile(`by smtp\.googlemail\.com with ESMTPSA id \S+`)
)

func forgedGmail(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	if !gmailFrom.MatchString(s.First("From:addr")) {
		return 0, nil
	}
	return hit(!gmailTrace.MatchString(text(s, "X-Received")) && !gmailSMTP.MatchString(text(s, "Received")) &&
		!(len(text(s, "X-Gm-Message-State")) >= 60 && len(text(s, "X-Google-Smtp-Source")) >= 60))
}

func matchingEnvelope(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	return hit(strings.EqualFold(s.First("EnvelopeFrom:addr"), s.First("From:addr")))
}

// toCc is what recipients have in common.
type toCc struct {
	sorted  bool
	similar float64
}

// recipients compares the addresses of To and Cc, or Bcc: seven in order are odd, and
// five that begin alike.
func recipients(s *scan.Scan) toCc {
	if v, ok := s.Keep["recipients"].(toCc); ok {
		return v
	}
	in := slices.Clone(s.Get("ToCc:addr"))
	if len(in) < 5 {
		in = append(in, s.Get("Bcc:addr")...)
	}
	var list []string
	prev := ""
	for _, a := range in {
		if a == "" || a == "0" {
			break
		}
		if !strings.EqualFold(a, prev) {
			list = append(list, a)
			prev = a
		}
		if len(list) == 256 {
			break
		}
	}
	v := toCc{sorted: len(list) >= 7 && slices.IsSorted(list)}
	if len(list) >= 5 {
		v.similar = similar(list)
	}
	s.Keep["recipients"] = v
	return v
}

func similar(list []string) float64 {
	first := func(s string) string { return s[:min(2, len(s))] }
	hits, pairs := 0, 0
	for i, a := range list {
		_, hostA, _ := strings.Cut(a, "@")
		for _, b := range list[i+1:] {
			_, hostB, _ := strings.Cut(b, "@")
			hits += count(first(a) == first(b)) + count(first(hostA) == first(hostB) && hostA != hostB)
			pairs++
		}
	}
	return float64(hits) / float64(pairs)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func missingTo(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	return hit(text(s, "To") == "" && text(s, "Apparently-To") == "")
}

var gw05 = regexp.MustCompile(`\nfrom\s(\S+)\sby\s(\S+)\swith\sESMTP;\s+\S\S\S,\s+\d+\s+\S\S\S\s+\d{4}\s+\d\d:\d\d:\d\d\s+[-+]*\d{4}\n$`)

func forgedGW05(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	m := gw05.FindStringSubmatch(text(s, "Received"))
	return hit(m != nil && !strings.Contains(m[2], "."))
}

var (
	replyMarks = regexp.MustCompile(`(?i)^(?:(?:Re|Fwd|Fw|Aw|Antwort|WG|SV|VB|VS|VL):\s*)+`)
	noLetter   = regexp.MustCompile(`[^a-zA-Z]`)
	capCharset = regexp.MustCompile(`(?i)=\?[-_a-z0-9]*(?:koi|jp|jis|euc|gb|big5|isoir|cp1251|windows-1251|georgianps|pt154|tis)[-_a-z0-9]*\?`)
)

func allCaps(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	v := replyMarks.ReplaceAllString(strings.Trim(text(s, "Subject"), " \t\r\n\f\v"), "")
	if !strings.ContainsAny(v, " \t\r\n\f\v") || len(v) < 10 || capCharset.MatchString(text(s, "Subject:raw")) {
		return 0, nil
	}
	v = noLetter.ReplaceAllString(v, "")
	return hit(v != "" && v == strings.ToUpper(v))
}

func toInSubject(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
	to := s.First("To:addr")
	if to == "" {
		return 0, nil
	}
	subject := text(s, "Subject")
	if arg(args, 0) == "address" {
		return hit(mayContain(subject, to) && regexp.MustCompile(`(?i)\b`+regexp.QuoteMeta(to)+`\b`).MatchString(subject))
	}
	user, _, _ := strings.Cut(to, "@")
	if !mayContain(subject, user) {
		return 0, nil
	}
	q := regexp.QuoteMeta(user)
	re := regexp.MustCompile(fmt.Sprintf(`(?i)^(?:(?:re|fw):\s*(?:\w+\s+)?%[1]s\n?$|(?-i:%[1]s)\s*[,:;!?-](?:\n?$|\s)|%[1]s\n?$|,\s*%[1]s[,:;!?-]\n?$)`, q))
	return hit(arg(args, 0) == "user" && re.MatchString(subject))
}

// mayContain is false if a text has not some other in it, whatever the case of letters.
// Of letters beyond ASCII it knows nothing.
func mayContain(text, what string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return true
		}
	}
	return strings.Contains(strings.ToLower(text), strings.ToLower(what))
}

var outlookForm = regexp.MustCompile(`^<[0-9a-f]{4}([0-9a-f]{8})\$[0-9a-f]{8}\$[0-9a-f]{8}@`)

// outlookID compares the time in a Message-ID of Outlook with the dates.
func outlookID(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	m := outlookForm.FindStringSubmatch(text(s, "MESSAGEID"))
	if m == nil {
		return 0, nil
	}
	token, _ := strconv.ParseInt(m[1], 16, 64)
	off := func(sec int64) bool {
		return abs(token-int64(float64(sec)*0.0023283064365387+27111902.8329849)) >= 250
	}
	sent, _ := mail.ParseDate(text(s, "Date"))
	if !off(sent) {
		return 0, nil
	}
	taken, _ := mail.ParseDate(text(s, "Received"))
	return hit(off(taken))
}

var leaveForm = regexp.MustCompile(`(?i)<mailto:(?:leave-\S+|\S+-unsubscribe)@\S+>\n?$`)

func idNotUsable(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	r := text(s, "Received")
	return hit(leaveForm.MatchString(text(s, "List-Unsubscribe")) || gated(s) || strings.Contains(r, "/CWT/DCE)") || strings.Contains(r, "iPlanet Messaging Server"))
}

func headerCount(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
	seen := map[string]bool{}
	for _, v := range s.Get(arg(args, 0)) {
		seen[v] = true
	}
	return hit(len(seen) >= atoi(arg(args, 1)) && len(seen) <= atoi(arg(args, 2)))
}

var (
	templateForm = regexp.MustCompile(`%[A-Z][A-Z_-]`)
	templateOK   = regexp.MustCompile(`(?i)^(?:X-VMS-To|X-UIDL|X-Face|To|Cc|From|Subject|References|In-Reply-To|(?:X-|Resent-|X-Original-)?Message-Id):`)
)

func unresolvedTemplate(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	for _, line := range strings.Split(text(s, "ALL"), "\n") {
		if templateForm.MatchString(line) && !templateOK.MatchString(line) {
			return 1, nil
		}
	}
	return 0, nil
}

var ratwareID = regexp.MustCompile(`<[A-Z]{28}\.([^>]+?)>`)

func ratwareNameID(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	m := ratwareID.FindStringSubmatch(text(s, "MESSAGEID"))
	return hit(m != nil && regexp.MustCompile(`"[^"]+"\s*<`+regexp.QuoteMeta(m[1])+`>`).MatchString(text(s, "From")))
}

var srs = regexp.MustCompile(`(?i)^SRS\d[=+-]`)

func ratwareEnvelope(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	to, from := s.First("To:addr"), s.First("EnvelopeFrom:addr")
	user, domain, ok := strings.Cut(to, "@")
	if from == "" || !ok || user == "" || domain == "" || srs.MatchString(from) {
		return 0, nil
	}
	d := s.Rules.Domains()
	_, domain = d.Split(domain)
	if !d.Valid(domain) {
		return 0, nil
	}
	return hit(regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(domain) + `.` + regexp.QuoteMeta(user) + `@`).MatchString(from))
}

func equalFromDomains(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	a, b := second(s.First("From:addr")), second(s.First("EnvelopeFrom:addr"))
	return hit(a != "" && b != "" && !strings.EqualFold(a, b))
}

// second gives the last two labels of an address's domain.
func second(addr string) string {
	d := addr[strings.LastIndexByte(addr, '@')+1:]
	if d == addr {
		return ""
	}
	p := strings.Split(d, ".")
	if n := len(p); n > 2 && p[n-1] != "" && p[n-2] != "" {
		return p[n-2] + "." + p[n-1]
	}
	return d
}
