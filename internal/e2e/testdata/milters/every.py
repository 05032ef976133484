"""The milter of every.c by way of python3-milter."""
import sys

import Milter

ACTIONS = {"reject": Milter.REJECT, "tempfail": Milter.TEMPFAIL, "accept": Milter.ACCEPT, "discard": Milter.DISCARD, "skip": Milter.SKIP}


class Every(Milter.Base):
    def act(self, phase, text):
        for name, verdict in ACTIONS.items():
            if phase + "-" + name in text:
                return verdict
        if phase + "-reply" in text:
            self.setreply("554", "5.7.9", "Not at all, 100%%")
            return Milter.REJECT
        if phase + "-lines" in text:
            self.setreply("451", "4.7.9", "one", "two", "three")
            return Milter.TEMPFAIL
        return Milter.CONTINUE

    def connect(self, host, family, addr):
        self.client = host
        return Milter.CONTINUE

    def hello(self, name):
        self.name = name
        return self.act("helo", name)

    def envfrom(self, sender, *args):
        self.todo, self.sender = "", sender
        self.rcpts = self.begun = self.fields = self.headers_done = self.size = 0
        return self.act("mail", sender)

    def envrcpt(self, rcpt, *args):
        self.rcpts += 1
        return self.act("rcpt", rcpt)

    def data(self):
        self.begun += 1
        return self.act("data", self.sender)

    def unknown(self, line):
        return self.act("unknown", line)

    def header(self, name, value):
        self.fields += 1
        if name != "X-Do":
            return Milter.CONTINUE
        self.todo = value
        return self.act("header", value)

    def eoh(self):
        self.headers_done += 1
        return self.act("eoh", self.todo)

    def body(self, piece):
        self.size += len(piece)
        return self.act("body", self.todo)

    def eom(self):
        for word in self.todo.split():
            edit = getattr(self, word.replace("-", "_"), None)
            if edit:
                edit()
        return self.act("eom", self.todo)

    def edit_progress(self):
        self.progress()

    def edit_add(self):
        self.addheader("X-Added", "one\n\ttwo")
        self.addheader("X-Spaces", "  three")

    def edit_insert(self):
        for index, name in ((0, "X-Top"), (1, "X-Second"), (4, "X-Fifth"), (99, "X-Last")):
            self.addheader(name, str(index), index)

    def edit_change(self):
        self.chgheader("Subject", 1, "changed")
        self.chgheader("X-A", 2, "second")
        self.chgheader("X-New", 1, "new")

    def edit_remove(self):
        self.chgheader("X-A", 3, None)
        self.chgheader("X-A", 1, "")

    def edit_body(self):
        self.replacebody(b"new\r\n")
        self.replacebody(b"body\n.\n")

    def edit_rcpt(self):
        self.addrcpt("<added@far.test>")
        self.addrcpt("<never@far.test>", "NOTIFY=NEVER")
        self.delrcpt("<bob@far.test>")

    def edit_from(self):
        self.chgfrom("<new@x.test>")

    def edit_hold(self):
        self.quarantine("for a look")

    def edit_seen(self):
        self.addheader("X-Seen", "%s %s %s rcpts=%d data=%d fields=%d eoh=%d body=%d" % (
            self.client, self.name, self.sender, self.rcpts, self.begun, self.fields, self.headers_done, self.size))


Milter.factory = Every
Milter.set_flags(Milter.ADDHDRS | Milter.CHGHDRS | Milter.CHGBODY | Milter.ADDRCPT | Milter.ADDRCPT_PAR | Milter.DELRCPT | Milter.CHGFROM | Milter.QUARANTINE)
Milter.runmilter("every", sys.argv[1], 30)
