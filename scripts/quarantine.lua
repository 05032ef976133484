-- Keeps messages from their recipients whose text or Subject matches one of some
-- expressions, for somebody to look at (`mtad queue list`). Each has a name, which
-- the trace shows. Only text parts are read, 256 KiB in all. Use it in the
-- pipeline of a listener:
--
--   filter "lua" "quarantine" { script = "quarantine.lua" }

local patterns = {
  { "bitcoin", [[(?i)\b(bc1|[13])[a-z0-9]{25,60}\b.*\b(bitcoin|btc|wallet)\b|\b(bitcoin|btc|wallet)\b.*\b(bc1|[13])[a-z0-9]{25,60}\b]] },
  { "giftcard", [[(?i)\b(gift|steam|itunes) ?cards?\b.*\b(scratch|codes?|urgent)]] },
  { "password", [[(?i)your (mailbox|password) (has )?expired?s?\b]] },
}

local function look(msg, where, text)
  text = text:gsub("%s+", " ")
  for _, p in ipairs(patterns) do
    if re.match(text, p[2]) then
      msg:quarantine(p[1] .. " in " .. where)
      msg:set_tag("quarantine", p[1])
      return true
    end
  end
end

function message(msg)
  if msg.auth or look(msg, "the subject", msg.subject) then return end
  local left = 256 * 1024
  for n, part in ipairs(msg:parts()) do
    if left <= 0 then return end
    local text = part.type:match("^text/") and msg:part_text(n, left)
    if text then
      left = left - #text
      if look(msg, "part " .. n, text) then return end
    end
  end
end
