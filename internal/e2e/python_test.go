//go:build e2e

package e2e

import (
	"fmt"
	"testing"
)

// pythonClient sends with smtplib and works a mailbox with imaplib. It gets
// the ports of submission, submissions, IMAP and IMAPS, and the authority.
const pythonClient = `
import sys, smtplib, imaplib, ssl, time, email.message
sub, subs, imap, imaps = map(int, sys.argv[1:5])
ctx = ssl.create_default_context(cafile=sys.argv[5])

def ok(r, want='OK'):
    typ, data = r
    assert typ == want, r
    return data

def letter(subject, body, to='alice@example.test'):
    m = email.message.EmailMessage()
    m['From'], m['To'], m['Subject'] = 'bob@example.test', to, subject
    m.set_content(body)
    return m

# smtplib: STARTTLS, then implicit TLS; refusals are exceptions.
with smtplib.SMTP('localhost', sub, timeout=20) as s:
    s.starttls(context=ctx)
    s.login('bob@example.test', 'bob')
    for i in range(3):
        s.send_message(letter('number %d' % i, 'body %d\n.dot at the start\n' % i))
    try:
        s.sendmail('bob@example.test', ['nobody@example.test'], 'Subject: x\r\n\r\nx\r\n')
        raise AssertionError('nobody was taken')
    except smtplib.SMTPRecipientsRefused as e:
        code, text = e.recipients['nobody@example.test']
        assert code == 550 and text.startswith(b'5.1.1'), e
    refused = s.sendmail('bob@example.test', ['alice@example.test', 'nobody@example.test'], 'Subject: half\r\n\r\nhalf\r\n')
    assert list(refused) == ['nobody@example.test'], refused
with smtplib.SMTP_SSL('localhost', subs, context=ctx, timeout=20) as s:
    try:
        s.login('bob@example.test', 'wrong')
        raise AssertionError('a wrong password was taken')
    except smtplib.SMTPAuthenticationError as e:
        assert e.smtp_code == 535, e
    s.login('bob@example.test', 'bob')
    s.send_message(letter('n\u00fcmber 3', 'K\u00f6rper\n'))

# imaplib: TLS from the start, then STARTTLS on another connection.
a = imaplib.IMAP4_SSL('localhost', imaps, ssl_context=ctx, timeout=20)
ok(a.login('alice@example.test', 'alice'))
for _ in range(500):
    n = int(ok(a.select('INBOX'))[0])
    if n == 5: break
    time.sleep(.02)
assert n == 5, n
b = imaplib.IMAP4('localhost', imap, timeout=20)
ok(b.starttls(ctx))
ok(b.authenticate('PLAIN', lambda _: b'\0alice@example.test\0alice'))
assert 'IDLE' in b.capabilities and 'MOVE' in b.capabilities, b.capabilities

# search
assert len(ok(a.search(None, 'SUBJECT', '"number"'))[0].split()) == 3
assert len(ok(a.search(None, 'FROM', 'bob', 'BODY', '"body 1"'))[0].split()) == 1
a.literal = 'n\u00fcmber'.encode()
assert len(ok(a.search('UTF-8', 'SUBJECT'))[0].split()) == 1
assert ok(a.search(None, 'UNSEEN', 'LARGER', '1000000'))[0] == b''

# fetch: the whole, a part, the structure
zero, = ok(a.search(None, 'SUBJECT', '"number 0"')) # mail is stored behind the replies, in any order
(head, raw), = [d for d in ok(a.fetch(zero, '(UID FLAGS BODY.PEEK[])')) if isinstance(d, tuple)]
m = email.message_from_bytes(raw)
assert m['Subject'] == 'number 0' and m['Return-Path'] == '<bob@example.test>', m.items()
assert raw.endswith(b'\r\n\r\nbody 0\r\n.dot at the start\r\n'), raw
assert b'\\Seen' not in head
(head, part), = [d for d in ok(a.fetch(zero, '(BODY[TEXT]<5.10>)')) if isinstance(d, tuple)]
assert part == b'0\r\n.dot at'[:10], part
assert b'\\Seen' in ok(a.fetch(zero, '(FLAGS)'))[0]
assert b'"TEXT" "PLAIN"' in ok(a.fetch(zero, '(BODYSTRUCTURE)'))[0].upper()
assert b'number 0' in ok(a.fetch(zero, '(ENVELOPE)'))[0]

# store: another session sees it
ok(b.select('INBOX'))
ok(a.store(b'2', '+FLAGS', '(\\Flagged mine)'))
ok(b.noop())
flags = b''.join(x if isinstance(x, bytes) else x[0] for x in ok(b.fetch(b'2', '(FLAGS)')))
assert b'\\Flagged' in flags and b'mine' in flags, flags
ok(a.store(b'2', '-FLAGS.SILENT', '(mine)'))
assert b'mine' not in ok(a.fetch(b'2', '(FLAGS)'))[0]

# folders: create, copy, move, append, expunge, rename
ok(a.create('Work'))
ok(a.subscribe('Work'))
assert any(b'Work' in l for l in ok(a.lsub()))
ok(a.create('Gel&APY-scht'))
assert any(b'Gel&APY-scht' in l for l in ok(a.list()))
ok(a.copy(b'1:2', 'Work'))
assert b'MESSAGES 2' in ok(a.status('Work', '(MESSAGES UIDNEXT UNSEEN)'))[0]
typ, data = a._simple_command('MOVE', b'3', 'Work')
assert typ == 'OK', data
assert int(ok(a.select('Work'))[0]) == 3
ok(a.append('Work', '(\\Seen \\Draft)', imaplib.Time2Internaldate(1.7e9), b'Subject: appended\r\n\r\nby imaplib\r\n'))
d = ok(a.fetch(b'4', '(FLAGS INTERNALDATE BODY.PEEK[])'))
assert d[0][1] == b'Subject: appended\r\n\r\nby imaplib\r\n', d
assert imaplib.Time2Internaldate(imaplib.Internaldate2tuple(d[0][0]))[1:12] == imaplib.Time2Internaldate(1.7e9)[1:12], d
ok(a.store(b'1,3', '+FLAGS', '(\\Deleted)'))
assert ok(a.expunge()) == [b'1', b'2'], 'expunged'
assert len(ok(a.uid('SEARCH', None, 'ALL'))[0].split()) == 2
ok(a.rename('Work', 'Done'))
ok(a.select('Done'))
ok(a.delete('Gel&APY-scht'))
assert a.select('Nowhere')[0] == 'NO'

# idle: b is told of mail that a gets
ok(b.select('INBOX'))
tag = b._new_tag()
b.send(tag + b' IDLE\r\n')
assert b.readline().startswith(b'+')
ok(a.append('INBOX', None, None, b'Subject: wake up\r\n\r\nx\r\n'))
line = b.readline()
while b'EXISTS' not in line:
    assert line.startswith(b'*'), line
    line = b.readline()
b.send(b'DONE\r\n')
while not line.startswith(tag):
    line = b.readline()
assert b'OK' in line, line
a.logout(); b.logout()
print('all good')
`

func TestPython(t *testing.T) {
	t.Parallel()
	python := program(t, "python3")
	s := start(t)
	out, code := run(t, "", "", python, "-c", pythonClient,
		fmt.Sprint(s.Submission), fmt.Sprint(s.Submissions), fmt.Sprint(s.IMAP), fmt.Sprint(s.IMAPS), s.dir+"/ca.pem")
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	mustSay(t, out, "all good")
}
