-- Answers for somebody who is away, and guards against what goes wrong with
-- automatic answers: lists, other automata and bounces get none (the API sees to
-- that), strangers that filters doubt get none either, and of automatic mail that
-- keeps coming from one sender all but the first ten an hour goes into a folder.
-- Set the dates. Use it in the pipeline of local delivery:
--
--   filter "lua" "autoreply" { script = "autoreply.lua" }

local first, last = "2026-12-24", "2027-01-02"
local text = "Thank you for your letter. I am away until " .. last .. " and will answer then.\n"
local most = 10

local function automatic(msg)
  local auto = (msg:header("Auto-Submitted") or "no"):lower()
  return auto:match("^%s*no") == nil or msg.sender == ""
end

function deliver(msg)
  if automatic(msg) then
    local n = kv.add("auto:" .. msg.mailbox .. ":" .. msg.from, 1, 3600)
    if n > most then
      msg:note("automatic letter " .. n .. " of this hour")
      msg:fileinto("Automatic")
    end
    return
  end
  local today = time.format(nil, "%Y-%m-%d", "Europe/Berlin")
  if today < first or today > last or msg.score >= 5 then return end
  local sent, why = msg:vacation(text, { subject = "Away until " .. last, days = 7 })
  if not sent then msg:note("no answer: " .. why) end
end
