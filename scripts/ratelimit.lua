-- Holds back accounts that send too much: a stolen password sends thousands. It
-- counts recipients by account, or by address where nobody has logged in, in
-- hours that begin with the first. Use it in the pipeline of submission (or of a
-- listener for strangers, with smaller numbers in mind):
--
--   filter "lua" "ratelimit" { script = "ratelimit.lua" }

local per_hour = { account = 200, address = 60 }

function rcpt(msg)
  local kind, who = "address", msg.client.addr
  if msg.auth then kind, who = "account", msg.auth.user end
  if not who or msg.client.trusted and not msg.auth then return end
  local n = kv.add(kind .. ":" .. who, 1, 3600)
  if n > per_hour[kind] then
    msg:note(who .. ": recipient " .. n .. " of this hour")
    msg:tempfail("Too many recipients in an hour, try again later", 450, "4.7.1")
  end
end
