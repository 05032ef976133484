package relay

import "strings"

// A form is how a kind of server writes a Received field. Examples stand as a line
// looks when its forms are tried: without "from " and without the date.
type form struct {
	server  string // whose form it is
	example string
	need    string // a text that such a line contains, to be asked for first
	pattern *node
	search  bool // the pattern may stand anywhere, not at the beginning
	// lookup: the server looks for the client's name in the DNS always, so that a
	// client without one has none.
	lookup bool
	ignore bool // such a line tells of no relay
	// then takes what the parts' names alone do not say; it may refuse the line.
	then func(l *line) outcome
}

// family are forms that are tried only if a line has their mark. A line is of the
// first family at most whose mark it has.
type family struct {
	mark  func(l *line) bool
	forms []form
}

// outcome of trying a form.
type outcome int

const (
	differs outcome = iota // it is not this form
	found                  // a relay
	ignored                // known, and no relay
	unknown                // no form fits
)

func has(text string) func(*line) bool {
	return func(l *line) bool { return strings.Contains(l.s, text) }
}

// Web mail, which is asked for before the families.
var webmail = []form{
	{server: "SquirrelMail, NaSMail", need: "Mail authenticated user ", example: "192.0.2.7 (SquirrelMail authenticated user ann) by web.example.org with HTTP",
		pattern: compile("{ip}{\\b}{^.}{^-}{~10-80}by {by} with HTTP"), search: true, then: squirrel},
	{server: "AOL", need: "with HTTP (WebMailUI)", example: "192.0.2.7 by FWM-M18.sysops.aol.com (198.51.100.4) with HTTP (WebMailUI)",
		pattern: compile("{ip} by {by} ({address}) with HTTP (WebMailUI)"), search: true, then: aol},
}

// families in the order in which their marks are looked for.
var families = []family{
	{has(" SMTPSVC"), []form{
		{server: "Microsoft SMTP service", example: "pc7 ([192.0.2.7] unverified) by mx.example.org with Microsoft SMTPSVC(6.0.3790.4675)",
			pattern: compile("{helo*} ([{ip}]{!)0-40}) by {by} with Microsoft SMTPSVC")},
		{server: "Microsoft SMTP service, from a folder", example: "mail pickup service by mx.example.org with Microsoft SMTPSVC",
			pattern: compile("mail pickup service by {} with Microsoft SMTPSVC{$}"), ignore: true},
	}},
	{exchange, []form{
		{server: "Microsoft Exchange", example: "A.prod.example.com ([fe80::19bd:c588:dd17:5226%6]) by B.prod.example.com ([fe80::1]) with mapi id 15.20.1943.023",
			pattern: compile("{helo} ({?[?}{ip}{?%{%}?}{?]?}) by {by} "), then: withoutID},
	}},
	{has("[XMail "), []form{
		{server: "XMail", example: "a.example.com (192.0.2.7:23198) by mx.example.org with [XMail 1.20 ESMTP Server] id <S72E> for <u@example.org> from <a@example.com>",
			pattern: compile("{helo} ({?[?}{ip}{?]?}:{#}) by {by}{? ({})?} with [XMail"), then: xmail},
	}},
	{func(l *line) bool { return markedWord(l.s, "(ecelerity") }, []form{
		{server: "ecelerity", example: "([192.0.2.7:49601] helo=a.example.com) by mx.example.org (ecelerity 2.1.1.3 r(11743)) with ESMTP",
			pattern: compile("([{ip}:{#}] helo={helo}) by {by} ")},
		{server: "ecelerity", example: "a.example.com ([192.0.2.7:33672]) by mx.example.org (ecelerity HEAD) with SMTP",
			pattern: compile("{} ([{ip}:{#}]) by {by} ")},
	}},
	{has("Exim"), exim},
	{has(" (Postfix) with"), []form{
		{server: "Postfix", example: "a.example.com (rdns.example.com [192.0.2.7]) by mx.example.org (Postfix) with ESMTP id 4F7E21BD97",
			pattern: compile("{helo} ({rdns} [{ip}]) by {by} "), lookup: true},
		{server: "Postfix of Pobox", example: "192.0.2.9 (unknown[192.0.2.7]) by mx.example.org (Postfix) with SMTP id 9029AFB732",
			pattern: compile("{helo} ({rdns}[{ip}]) by {by} "), lookup: true},
	}},
	{has("(Scalix SMTP Relay"), []form{
		{server: "Scalix", example: "PC7 ( 192.0.2.7) by mx.example.org (Scalix SMTP Relay 10.0.1.3) via ESMTP",
			pattern: compile("{helo} ({? ?}{ip}) by {by}")},
	}},
	{has(" (Lotus Domino "), []form{
		{server: "Lotus Domino", example: "a.example.com ([192.0.2.7]) by mx.example.org (Lotus Domino Release 8.5) with ESMTP",
			pattern: compile("{helo} ([{ip}]) by {by} (Lotus")},
	}},
}

// exim are forms of Exim, whose line its administrator may write as he likes.
var exim = []form{
	{server: "Exim, from a program", need: "with local", example: "root (helo=a.example.com) by mx.example.org with local-esmtps (Exim 4.96) id 1FwHqR-0008Bw-OG",
		pattern: compile("{\\b}with local{?-{}?} "), search: true, ignore: true},
	{server: "Exim, a client without a name", example: "[192.0.2.7] (helo=a.example.com ident=ann) by mx.example.org with smtp (Exim 4.96) id 194BE5-0005Zh-00",
		pattern: compile("[{ip}] ({sub~?}) by {by} "), then: eximParts},
	{server: "Exim", example: "rdns.example.com ([192.0.2.7]:52313 helo=a.example.com) by mx.example.org with esmtps (TLS1.3) (Exim 4.96) id 1GzVLs-0002Oz-7b",
		pattern: compile("{rdns} ([{ip}]{sub~?}) by {by} "), then: eximNamed},
	{server: "Exim 3", example: "rdns.example.com [192.0.2.7]:4001 by mx.example.org with esmtp (Exim 3.35 #1) id 18SWRe-0006X6-00",
		pattern: compile("{rdns} [{ip}]{?:{#}?} by {by} "), then: heloIsName},
	{server: "Exim, any other form", example: "rdns.example.com (a.example.com) [192.0.2.7.13219] (mail) by mx.example.org with esmtp (Exim 3.35 #1) id 1CO5y7-0001vC-00",
		then: eximOther},
}

// common are the forms of all other servers. The order counts.
var common = []form{
	{server: "IMP", need: "with HTTP", example: "192.0.2.7 ([192.0.2.7]) by web.example.org (IMP) with HTTP for <u@example.org>",
		pattern: compile("{ip} ([{address}]) by {by}"), then: overHTTP},
	{server: "sendmail", example: "a.example.com (ann@rdns.example.com [192.0.2.7] (may be forged)) by mx.example.org (8.17.1/8.17.1) with ESMTP id h2F0c2x31856",
		pattern: compile("{helo} ({rdns} [{ip}]{~}) by {by} ("), lookup: true, then: sendmail},
	{server: "Microsoft Exchange Internet Mail Service", example: "a.example.com (rdns.example.com [192.0.2.7]) by mx.example.org with SMTP (Microsoft Exchange Internet Mail Service Version 5.5.1960.3)",
		pattern: compile("{helo} ({rdns} [{ip}]) by {by} with {} ("), lookup: true},
	{server: "Exim without its name", example: "rdns.example.com ([192.0.2.7] helo=a.example.com) by mx.example.org with smtp id 190K1R-0000me-00",
		pattern: compile("{rdns} ([{ip}] helo={helo}) by {by} with ")},
	{server: "AT&T, a client without a name", example: "a.example.com (<unknown.domain>[192.0.2.7]) by mx.example.org (mx1) with SMTP id <20021128>",
		pattern: compile("{helo} (<unknown{*}>[{ip}]) by {by} ")},
	{server: "AT&T", example: "a.example.com (rdns.example.com[192.0.2.7]) by mx.example.org (mx1) with SMTP id <20021128>",
		pattern: compile("{helo} ({rdns}[{ip}]) by {by} "), lookup: true, then: dotted},
	{server: "sendmail, ident without a name", example: "pc7 (ann@[192.0.2.7]) by mx.example.org (8.17.1/8.17.1) with SMTP id h8BBsUJ18848",
		pattern: compile("{helo} ({ident*}@[{ip}]{~}) by {by} ("), lookup: true},
	{server: "Hotmail", need: ".hotmail.msn.com ", example: "192.0.2.7 by lw11fd.law11.hotmail.msn.com with HTTP",
		then: hotmail},
	{server: "qpsmtpd", example: "rdns.example.com (HELO a.example.com) (192.0.2.7) by mx.example.org (qpsmtpd/0.96) with ESMTP",
		pattern: compile("{rdns} ({HELO} {helo*}) ({ip}) by {by} (qpsmtpd/{}) with {ESMTP|SMTP}")},
	{server: "Zimbra, LMTP", example: "store.example.org (LHLO store.example.org) (192.0.2.7) by store.example.org with LMTP",
		pattern: compile("{rdns} (LHLO {helo*}) ({ip}) by {by} with LMTP")},
	{server: "GMX", example: "rdns.example.com (EHLO pc7) [192.0.2.7] by mail.gmx.net (mp010) with SMTP",
		pattern: compile("{rdns} ({HELO} {helo*}) [{ip}] by {by} ({!)}) with {ESMTP|SMTP}")},
	{server: "Raptor", example: "a.example.com ([192.0.2.7]) by mx.example.org via smtpd (for [198.51.100.4]) with SMTP(1)",
		pattern: compile("{helo} ([{ip}]) by {by} via smtpd (for {}) with SMTP(")},
	{server: "qmail", example: "rdns.example.com (HELO a.example.com) (ann@192.0.2.7) by mx.example.org with SMTP",
		pattern: compile("{}{? ({HELO} {*})?} ({?{}@?}{?[?}{address}{?]?}){? (envelope-sender <{}>)?} by {}{? ({~+})?} with {?{~} ?}{SMTP|QMQP}{^ id }"), then: qmail},
	{server: "Yahoo web mail", need: " via HTTP", example: "[192.0.2.7] by web40310.mail.example.com via HTTP",
		pattern: compile("[{ip}] by {by} via HTTP{$}")},
	{server: "SilkyMail", example: "192.0.2.7 ( [192.0.2.7]) as user ann@localhost by mail.example.org with HTTP",
		pattern: compile("{} ( [{ip}]){~?} by {by} ")},
	{server: "a server that puts all in parentheses", example: "(192.0.2.7 [192.0.2.7]) by mx.example.org with ESMTP id BQB0hUH2",
		pattern: compile("({helo} [{ip}]) by {by} ")},
	{server: "MessageWall, Post.Office, ArGoSoft, MailGate, Outblaze", example: "[192.0.2.7] by mx.example.org (MessageWall 1.1.0) with SMTP",
		pattern: compile("[{ip}] by {by} ")},
	{server: "WebShield, CipherTrust", example: "([192.0.2.7]) by mx.example.org with ESMTP id 4420961.8281",
		pattern: compile("({?[?}{ip}{?]?}) by {by} ")},
	{server: "MDaemon 5", example: "pc7 [192.0.2.7] by mx.example.org [198.51.100.4] with SMTP (MDaemon.PRO.v5.0.6.R)",
		pattern: compile("{helo} [{ip}] by {by} [{address}] with "), lookup: true},
	{server: "MDaemon 19", example: "a.example.com [(192.0.2.7)] by mx.example.org (198.51.100.4) (MDaemon PRO v19.0.2) with ESMTP",
		pattern: compile("{helo} [({ip})] by {by} ({address}) ")},
	{server: "sendmail, a client without a name", example: "a.example.com ([192.0.2.7]) by mx.example.org (8.17.1/8.17.1) with ESMTP id h2FH0Zx11330",
		pattern: compile("{helo} ([{ip}]) by {by} ("), lookup: true},
	{server: "Courier, sendmail", example: "pc7 (rdns.example.com [::ffff:192.0.2.7]) by mx.example.org with esmtp",
		pattern: compile("{helo} ({sub} [{ip}]){~?} by {by}{\\b}"), then: courier},
	{server: "Exim, with a port", example: "a.example.com ([192.0.2.7.63559]) by mx.example.org with esmtp (v3.35.1) id 1GNrLz-000295-00",
		pattern: compile("{helo} ([{ip}{?{.|:}{#}?}]){~?} by {by} "), lookup: true},
	{server: "fetchmail, getmail", example: "pop.example.org (192.0.2.7) by localhost with POP3",
		pattern: compile("with {POP3|IMAP}"), search: true, then: fetched},
	{server: "qmail, other forms", example: "rdns.example.com (HELO two words) (ann@192.0.2.7) by mx.example.org with SMTP id 1",
		pattern: compile("{rdns} ({HELO} {helo!)*}) ({?{ident*}@?}{?[?}{ip}{?]?}){~} by {by} "), lookup: true},
	{server: "qmail, HELO as the name", example: "rdns.example.com (ann@192.0.2.7) by mx.example.org with ESMTP",
		pattern: compile("{rdns} ({?{ident*}@?}{?[?}{ip}{?]?}){~} by {by} "), lookup: true, then: heloIsName},
	{server: "smap", example: "rdns.example.com(192.0.2.7) by mx.example.org via smap (V1.3) id xma093673",
		pattern: compile("{rdns}({ip}) by {by} via smap "), lookup: true},
	{server: "smap", example: "rdns.example.com(192.0.2.7, HELO a.example.com) by mx.example.org via smap (V1.3)",
		pattern: compile("{rdns}({ip}, {HELO} {helo*}) by {by} via smap "), lookup: true},
	{server: "InterScan, SMTPL", example: "192.0.2.7 by mx.example.org (InterScan E-Mail VirusWall NT)",
		pattern: compile("{ip} by {by} ({SMTPL|InterScan}{\\b}")},
	{server: "a batch", example: "a.example.com by mx.example.org with BSMTP (rsmtp-qm-ot 0.4) for u@example.org", need: " with BSMTP",
		pattern: compile("{} by {} with BSMTP"), ignore: true},
	{server: "Yahoo, authenticated", example: "rdns.example.com (HELO PC7) (ann@192.0.2.7 with plain) by smtp.mail.example.com with SMTP",
		pattern: compile("{rdns} ({HELO} {helo*}) ({?{ident}@?}{ip}{~?}) by {by} with "), lookup: true},
	{server: "CommuniGate Pro, with an account", example: "[192.0.2.7] (account ann HELO [192.0.2.7]) by mx.example.org (CommuniGate Pro SMTP 6.2) with ESMTP-TLS id 2088434",
		pattern: compile("[{ip}] ({?account {} ?}{HELO} {helo*}) by {by} (")},
	{server: "CommuniGate Pro", need: " (CommuniGate Pro", example: "rdns.example.com ([192.0.2.7] verified) by mx.example.org (CommuniGate Pro SMTP 6.2) with ESMTP id 9786656",
		pattern: compile("{rdns} ([{ip}] verified) by {by} ("), lookup: true, then: heloIsName},
	{server: "Content Technologies", example: "a.example.com (a.example.com) by mx.example.org (Content Technologies SMTPRS 4.2.1) with ESMTP",
		pattern: compile("{} ({}) by {} (Content Technologies "), ignore: true},
	{server: "BellSouth", example: "pc7 ([192.0.2.7] [pc7]) by mx.example.org with ESMTP",
		pattern: compile("{helo} ([{ip}] [{}]) by {by} with ")},
	{server: "Tumbleweed", example: "192.0.2.7 by mx.example.org with ESMTP (Tumbleweed MMS SMTP Relay)",
		pattern: compile("{ip} by {by} with ")},
	{server: "AT&T, a name without a dot", example: "a.example.com (rdns[192.0.2.7]) by mx.example.org (mx1) with SMTP",
		pattern: compile("{helo} ({rdns}[{ip}]) by {by} "), lookup: true},
	{server: "F-Secure", example: "[192.0.2.7]:50999 (HELO a.example.com) by mx.example.org ([198.51.100.4]:25) (F-Secure Anti-Virus) with SMTP",
		pattern: compile("[{ip}]{} ({HELO} {helo*}) by {by} ")},
	{server: "AltaVista", example: "192.0.2.7 (HELO pc7) by mx.example.org (198.51.100.4) with SMTP",
		pattern: compile("{ip} ({HELO} {helo*}) by {by} ")},
	{server: "IMail", example: "pc7 [192.0.2.7] by mx.example.org (SMTPD32-7.07) id A4CE7F2A0028",
		pattern: compile("{helo} [{ip}] by {by} ")},
	{server: "csmap", example: "nodnsquery(192.0.2.7) by mx.example.org via csmap (V4.1) id srcAAAyHaywy",
		pattern: compile("{rdns}({ip}) by {by} ")},
	{server: "web mail behind a proxy", example: "192.0.2.7 (proxying for 198.51.100.4) by mx.example.org with HTTP",
		pattern: compile("{ip} ({sub!)}) by {by} with "), then: letterFirst},
	{server: "Nemesis, CommuniGate Pro", example: "[192.0.2.7] (helo=a.example.com) by mx.example.org with ESMTP (Nemesis) id 0MKpdM-1CkRpr14PF-000608",
		pattern: compile("[{ip}] ({sub!)}) by {by} "), then: eximParts},
	{server: "Obtuse smtpd", example: "rdns.example.com(192.0.2.7), claiming to be \"a.example.com\" via SMTP by mx.example.org, id smtpd1PBsZT",
		pattern: compile("{rdns}({ip}){?, claiming to be \"{helo}\"?} via {} by {by},"), then: obtuse},
	{server: "Yahoo, with a login", example: "pc7 (ann@192.0.2.7 with login) by smtp111.mail.ne1.yahoo.com with SMTP", need: ".yahoo.com with SMTP",
		pattern: compile("{helo} ({}@{ip} with login) by {by} with SMTP"), then: yahoo},
	{server: "a field with the address of its origin", example: "X-Originating-IP: 192.0.2.7",
		pattern: compile("X-Originating-IP: {ip}{$}"), then: origin},
}

// apart are lines that tell of no relay: what a machine hands to itself, and servers
// that do not write the client's address.
var apart = []form{
	{server: "sendmail, from the machine itself", example: "mx.example.org (ann@localhost) by mx.example.org (8.17.1/8.17.1) with ESMTP id KAA14788",
		pattern: compile("{} ({!@}@{local}) by {} (")},
	{server: "Exim, from a program", example: "ann (helo=pc7) by mx.example.org with local-esmtp id 1Ccq0j-0002k2-Lk",
		pattern: compile("{} {} by {} with local-{esmtp|smtp} ")},
	{server: "AVG", example: "127.0.0.1 (AVG SMTP 7.0.299 [265.6.8])",
		pattern: compile("127.0.0.1 (AVG SMTP {} [{}])")},
	{server: "AOL, from an address", example: "ann@example.com by imo-m09.mx.example.com (mail_out_v34.13.) id 7.53.208064a0",
		pattern: compile("{}@{} by {} ")},
	{server: "Lycos", example: "Unknown/Local ([?.?.?.?]) by mail.example.com",
		pattern: compile("Unknown/Local (")},
	{server: "a server, from the machine itself", example: "localhost (mailnull@localhost) with SMTP id h2R2iivG093740",
		pattern: compile("{local} ({?{}@?}{local}{)|[}")},
	{server: "EzMTS", example: "a.example.com (localhost) by 127.0.0.1 (EzMTS MTSSmtp 1.55d5)",
		pattern: compile("{} ({?{}@?}{local}) ")},
	{server: "sendmail, cut off", example: "mx.example.org (ann@mx [127.0.0.1]) h148aux8016336verify=FAIL)",
		pattern: compile("{} ({}@{} [{local}]) ")},
	{server: "Courier, authenticated", example: "(AUTH: e40a9cea) by mx.example.org with esmtp (courier-0.40)",
		pattern: compile("(AUTH: {}) by {} with ")},
	{server: "sendmail, a socket", example: "localhost (localhost [[UNIX: localhost]]) by mx.example.org (8.17.1/8.17.1/Submit) id iBADHRP6011034",
		pattern: compile("localhost (localhost [[UNIX: localhost]]) by ")},
	{server: "GroupWise", example: "GW MTA by gw.example.org with Novell_GroupWise",
		pattern: compile("{!.} by {} with Novell_GroupWise")},
	{server: "qmail-scanner", example: "192.0.2.7 by mx.example.org (envelope-from <a@example.com>, uid 502) with qmail-scanner-1.24",
		pattern: compile("{} by {} ({~0-100}) with qmail-scanner"), then: qmailScanner},
	{server: "Cyrus", example: "store.example.org ([unix socket]) by store.example.org (Cyrus v2.3.14) with LMTPA",
		pattern: compile("{} ([unix socket]) by {} (Cyrus v{#*}.{#*}.{#*}) with LMTPA")},
	{server: "servers that name no address", example: "a.example.com by mx.example.org (PMDF V4.3-10 #8779) id <01KTSSR50NSW001MXN@mx.example.org>",
		pattern: compile("{} by {} {with|via|for|(}")},
	{server: "Cyrus, Clearswift", example: "a.example.com (unverified) by mx.example.org (Clearswift SMTPRS 5.1.7) with ESMTP id <T78926b35f2c0a80003da8@mx.example.org>",
		pattern: compile("{} (unverified) by{\\b}")},
	{server: "Cyrus, Clearswift", example: "a.example.com with LMTP by mx (3.0.2/sieved-3-0-build-942) for <u@example.org>",
		pattern: compile("{} {with|via|for} {} by{\\b}")},
	{server: "SendGrid", example: "MjA3NDc4Mg (unknown) by mx0001.example.org (SG) with HTTP id aqHKNX2kSp",
		pattern: compile("{} (unknown) by {} (SG) with {\\b}")},
	{server: "OpenSMTPD", example: "localhost (mx.example.org [local]) by mx.example.org (OpenSMTPD) with ESMTPA id 5db34e0d",
		pattern: compile("{} ({} [local]) by {} (OpenSMTPD) with {\\b}")},
	{server: "LSMTP", example: "PC7 (a.example.com) by mx.example.org (LSMTP for Windows NT v1.1b) with SMTP id <21.000575A0@mx.example.org>",
		pattern: compile("(LSMTP for"), search: true},
	{server: "MailEnable", example: "([127.0.0.1]) with MailEnable ESMTP",
		pattern: compile("([{local}]) with MailEnable ")},
	{server: "Facebook", example: "facebook.com (RrlQsUbrndsQ6 2401:db00:1110:50e8:face:0000:002f:0000) by facebook.com with Thrift id 423753524b5011e9",
		pattern: compile("facebook.com ({!)}) by facebook.com with Thrift id {}{$}")},
	{server: "Gmail's interface for programs", example: "384836569573 named unknown by gmailapi.google.com with HTTPREST",
		pattern: compile("{} named {} by gmailapi.google.com with HTTPREST{$}")},
	{server: "a server that names nothing but itself", example: "a.example.com id <B5b8f11e30004>",
		pattern: compile("{} id {}{$}")},
	{server: "Jetsend", example: "[<1-2@example.com>] ([<1-2@example.com>] helo=example.com) by mailer2 (Jetsend MTA 0.0.1 with ESMTP",
		pattern: compile("[<{~?} (Jetsend")},
}

// capital is the form behind "FROM ".
var capital = []form{
	{server: "simta, Rockliffe", example: "a.example.com (rdns.example.com [192.0.2.7]) BY mx.example.org (Rockliffe SMTPRA 10.3.0) WITH SMTP ID <B0065361981@mx.example.org> FOR <u@example.org>",
		pattern: compile("{helo} ({rdns} [{ip}]) BY {by} {?({!)}) WITH SMTP ?}ID {sub~}{$}"), lookup: true, then: simta},
}

// bracketed are the forms behind "(from ".
var bracketed = []form{
	{server: "Norton AntiVirus", example: "localhost [192.0.2.7]) by mx.example.org (NAVGW 2.5.2.12) with SMTP id M2006060503484615455",
		pattern: compile("{helo*} [{ip}]) by {by} (NAVGW {~?}) with ")},
	{server: "sendmail, from a program", example: "ann@localhost) by mx.example.org (8.17.1/8.17.1/Submit) id iBADHRP6011034",
		pattern: compile("{}@localhost) by {} "), ignore: true},
	{server: "Juno", example: "ann@example.com) by m06.lax.example.com(jqueuemail) id LRVB3JAJ",
		pattern: compile("{!@}@{!)}) by {}(jqueuemail) id {^;}{}"), ignore: true},
}
