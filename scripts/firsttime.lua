-- Marks mail of people who have never written to the recipient before, and gives
-- it a point: gift-card letters and false invoices come from strangers. Whoever
-- was seen stays known for a year. A sender counts only if SPF or DKIM vouches
-- for the domain: a forger must not borrow a friend's name. Use it in the
-- pipeline of a listener, after spf and dkim and before thresholds:
--
--   filter "lua" "firsttime" { script = "firsttime.lua" }

local year = 365 * 86400

function message(msg)
  if msg.from == "" or msg.auth then return end
  local proven = msg:result("dkim") == "pass" or msg:result("spf") == "pass"
  local known = 0
  for _, rcpt in ipairs(msg.rcpts) do
    local set = "from:" .. rcpt:lower()
    if kv.set_has(set, msg.from) then known = known + 1 end
    if proven then kv.set_add(set, msg.from, year) end
  end
  if known == 0 or not proven then
    msg:set_tag("first-time")
    msg:add_score(1, "first_time", msg.from)
    msg:add_header("X-First-Time-Sender", proven and "yes" or "unproven")
  end
end
