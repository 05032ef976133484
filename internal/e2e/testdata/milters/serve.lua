-- What everyStage of milterserve_test.go says, asked by miltertest. It offers
-- everything: values come with their leading space.

local function fail(what)
  mt.echo("failed: " .. what)
  error(what)
end

local function want(conn, reply, what)
  local got = mt.getreply(conn)
  if got ~= reply then fail(what .. ": reply " .. tostring(got) .. ", not " .. tostring(reply)) end
end

local function open(helo)
  local conn = mt.connect(socket, 20, 0.1)
  if conn == nil then fail("no connection") end
  if mt.negotiate(conn, nil, nil, nil) ~= nil then fail("negotiation") end
  mt.conninfo(conn, "client.test", "192.0.2.7")
  if mt.helo(conn, helo) ~= nil then fail("helo") end
  return conn
end

local function message(conn, sender, rcpt, subject)
  mt.macro(conn, SMFIC_MAIL, "i", "QUEUEID")
  if mt.mailfrom(conn, "<" .. sender .. ">") ~= nil then fail("mail") end
  want(conn, SMFIR_CONTINUE, "mail")
  mt.rcptto(conn, "<" .. rcpt .. ">")
  want(conn, SMFIR_CONTINUE, "rcpt")
  mt.data(conn)
  want(conn, SMFIR_CONTINUE, "data")
  mt.header(conn, "From", "ann@x.test")
  mt.header(conn, "X-Gone", "1")
  mt.header(conn, "Subject", subject)
  mt.header(conn, "X-Gone", "2")
  if mt.eoh(conn) ~= nil then fail("eoh") end
  if mt.bodystring(conn, "Hello\r\n") ~= nil then fail("body") end
  if mt.eom(conn) ~= nil then fail("eom") end
end

local conn = open("bad.test")
want(conn, SMFIR_REPLYCODE, "bad helo")
mt.disconnect(conn)

conn = open("client.test")
mt.mailfrom(conn, "<bad@x.test>")
want(conn, SMFIR_REPLYCODE, "bad sender")
mt.disconnect(conn)

conn = open("client.test")
mt.mailfrom(conn, "<ann@x.test>")
mt.rcptto(conn, "<no@far.test>")
want(conn, SMFIR_REPLYCODE, "bad recipient")
mt.disconnect(conn)

conn = open("client.test")
message(conn, "ann@x.test", "one@far.test", "plain")
want(conn, SMFIR_CONTINUE, "plain")
if mt.eom_check(conn, MT_HDRCHANGE, "Subject") or mt.eom_check(conn, MT_BODYCHANGE) then fail("a plain message was changed") end
mt.disconnect(conn)

conn = open("client.test")
message(conn, "ann@x.test", "one@far.test", "fields")
want(conn, SMFIR_CONTINUE, "fields")
if not mt.eom_check(conn, MT_HDRINSERT, "X-Top", " client.test 192.0.2.7") then fail("X-Top") end
if not mt.eom_check(conn, MT_HDRCHANGE, "Subject", " changed") then fail("Subject") end
if not mt.eom_check(conn, MT_HDRDELETE, "X-Gone") then fail("X-Gone") end
if not mt.eom_check(conn, MT_HDRADD, "X-End", " one two") then fail("X-End") end
mt.disconnect(conn)

conn = open("client.test")
message(conn, "ann@x.test", "one@far.test", "rcpts")
want(conn, SMFIR_CONTINUE, "rcpts")
if not mt.eom_check(conn, MT_RCPTADD, "<added@far.test>") then fail("added") end
if not mt.eom_check(conn, MT_RCPTDELETE, "<one@far.test>") then fail("removed") end
mt.disconnect(conn)

conn = open("client.test")
message(conn, "ann@x.test", "one@far.test", "refused")
want(conn, SMFIR_REPLYCODE, "refused")
mt.disconnect(conn)

conn = open("client.test")
message(conn, "ann@x.test", "one@far.test", "dropped")
want(conn, SMFIR_DISCARD, "dropped")
mt.disconnect(conn)

conn = open("client.test")
message(conn, "ann@x.test", "one@far.test", "held")
want(conn, SMFIR_CONTINUE, "held")
if not mt.eom_check(conn, MT_QUARANTINE, "for a look") then fail("held") end
mt.disconnect(conn)

mt.echo("every check passed")
