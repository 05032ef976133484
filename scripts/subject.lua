-- Puts a mark before the Subject of mail from outside, and takes it off again
-- when one of the house answers, so that it does not pile up. The field is signed
-- by DKIM as a rule: whoever checks the signature after this filter sees it fail.
-- So it belongs behind filter "dkim" in the pipeline of a listener, and nowhere
-- where mail is sent on:
--
--   filter "lua" "subject" { script = "subject.lua" }

local mark = "[external] "
local ours = { ["example.org"] = true }

local function without(subject)
  local plain = subject
  repeat
    local before = plain
    local at = plain:find(mark, 1, true)
    if at then plain = plain:sub(1, at - 1) .. plain:sub(at + #mark) end
  until plain == before
  return plain
end

function message(msg)
  local domain = msg.from:match("@(.+)$") or ""
  local inside = msg.auth ~= nil or msg.client.trusted and ours[domain]
  local plain = without(msg.subject)
  local want = inside and plain or mark .. plain
  if want ~= msg.subject then msg:set_header("Subject", want) end
end
