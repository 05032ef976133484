//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

const aliceLua = `
local function lists(msg)
  local name = (msg:header("X-Team") or ""):match("<([%w-]+)")
  if name then msg:fileinto("Lists/" .. name) return true end
end

local function count(msg) msg:note("letter " .. kv.add("letters")) end

function deliver(msg)
  if msg.subject == "loop" then while true do end end
  chain(msg, count, lists)
end
`

// A user's own Lua script: stored, run in a worker at delivery, over a mailbox
// afterwards; its fault is its owner's alone.
func TestUsersLua(t *testing.T) {
	t.Parallel()
	s := start(t, replace(`filter "lua" "own" {`, `filter "lua" "own" {
    cpu      = "200ms"`))
	alice := s.login("alice")
	send := func(subject, more string) {
		t.Helper()
		mail := filepath.Join(s.dir, "letter.eml")
		write(t, mail, "From: ann@good.test\nTo: alice@example.test\nSubject: "+subject+"\n"+more+"\nhello\n")
		s.do("smtp", "send", "--server", local(s.SMTP), "--from", "ann@good.test", "--to", "alice@example.test", "--file", mail)
	}
	list := "X-Team: Go <golang-nuts.test>\n"
	send("before", list)
	alice.await("INBOX", 1)

	bad, good := filepath.Join(s.dir, "bad.lua"), filepath.Join(s.dir, "good.lua")
	write(t, bad, "function deliver(msg\n")
	write(t, good, aliceLua)
	out, code := s.mtad("lua", "put", "alice", "main", bad)
	if code != 65 {
		t.Errorf("exit %d", code)
	}
	mustSay(t, out, "main:2: syntax error")
	mustSay(t, s.do("lua", "put", "alice", "main", good, "--activate"), "stored and activated main")
	mustSay(t, s.do("lua", "list", "alice"), "main", "active")
	mustSay(t, s.do("lua", "get", "alice", "main"), "chain(msg, count, lists)")
	if out := s.do("sieve", "list", "alice"); strings.Contains(out, "main") {
		t.Errorf("a Lua script among those of Sieve:\n%s", out)
	}

	send("one", list)
	mustSay(t, alice.await("Lists/golang-nuts", 1)[0], "Subject: one")
	send("loop", list)
	alice.await("INBOX", 2)
	s.lastSays("ran too long")
	send("two", list)
	alice.await("Lists/golang-nuts", 2)
	s.lastSays("own", "letter 2", "stored in Lists/golang-nuts")

	// The mails of before the script: first what would be, then it is.
	sort := filepath.Join(s.dir, "sort.lua")
	write(t, sort, "function deliver(msg) if msg.subject == \"before\" then msg:fileinto(\"Old\", \"\\\\Flagged\") end end\n")
	mustSay(t, s.do("lua", "run", sort, "alice"), `file-into "Old" (\Flagged)`, "2 messages, 1 would be changed")
	if n := alice.count("INBOX"); n != 2 {
		t.Errorf("%d messages after a dry run", n)
	}
	mustSay(t, s.do("lua", "run", sort, "alice", "--apply"), "2 messages, 1 changed")
	mustSay(t, alice.await("Old", 1)[0], "Subject: before")
	if n := alice.count("INBOX"); n != 1 {
		t.Errorf("%d messages in INBOX", n)
	}

	// What was recorded of a message is enough to ask a script about it again.
	id := idIn(t, s.do("smtp", "send", "--server", local(s.SMTP), "--from", "ann@good.test", "--to", "alice@example.test", "--subject", "three"))
	alice.await("INBOX", 2)
	write(t, sort, "function message(msg) msg:note(msg.client.addr .. \" \" .. msg.sender .. \" \" .. msg.rcpts[1] .. \" \" .. msg.subject) end\n")
	mustSay(t, s.do("lua", "test", sort, "--trace", id), "note: 127.0.0.1 ann@good.test alice@example.test three")

	s.do("lua", "activate", "alice", "--none")
	s.do("lua", "delete", "alice", "main")
}
