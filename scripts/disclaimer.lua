-- Puts a disclaimer under the mail that the house sends. A body that is signed
-- already (DKIM, S/MIME, OpenPGP) or encrypted would not verify afterwards, so it
-- is left alone, and so is one whose form leaves no place for more text; the
-- trace and the tag "disclaimer" say which and why. Mail gets it before the house
-- signs it: use it in the pipeline of submission, in front of filter "dkim_sign":
--
--   filter "lua" "disclaimer" { script = "disclaimer.lua" }

local text = "This message is for its recipient. If that is not you, please delete it."
local limit = 1024 * 1024 - 4096 -- what replace_body takes, with room for the text

local function refuse(msg, why)
  msg:note("no disclaimer: " .. why)
  msg:set_tag("disclaimer", "no: " .. why)
end

-- protected says what would break.
local function protected(msg, kind)
  if msg:header("DKIM-Signature") then return "the message has a DKIM signature" end
  if msg:header("ARC-Message-Signature") then return "the message has an ARC seal" end
  if kind:find("^multipart/signed") or kind:find("pkcs7%-mime") then return "the message is signed" end
  if kind:find("^multipart/encrypted") then return "the message is encrypted" end
  local body = msg:raw_body(4096)
  if body:find("-----BEGIN PGP", 1, true) then return "the text is signed or encrypted with OpenPGP" end
end

-- quoted is a line in quoted-printable, which ASCII text is but for "=" and
-- what is too long.
local function quoted(s)
  s = s:gsub("=", "=3D")
  local out = {}
  while #s > 70 do
    local cut = 70
    if s:sub(1, cut):match("=$") then cut = cut - 1 elseif s:sub(1, cut):match("=3$") then cut = cut - 2 end
    out[#out + 1] = s:sub(1, cut) .. "="
    s = s:sub(cut + 1)
  end
  out[#out + 1] = s
  return table.concat(out, "\r\n")
end

function message(msg)
  if not msg.auth then return end
  local kind = (msg:header("Content-Type") or "text/plain"):lower()
  local encoding = (msg:header("Content-Transfer-Encoding") or "7bit"):lower():match("^%s*(%S*)")
  local why = protected(msg, kind)
  if why then return refuse(msg, why) end
  local body, whole = msg:raw_body(limit)
  if not whole then return refuse(msg, "the message is too large") end
  if body:find(text, 1, true) or msg:body(limit):find(text, 1, true) then return end
  if not body:find("\r\n$") and body ~= "" then body = body .. "\r\n" end
  local plain = kind:find("^%s*text/plain")
  local charset = kind:match('charset="?([%w-]+)') or "us-ascii"
  if charset:find("utf%-16") or charset:find("utf%-7") or charset:find("2022") then return refuse(msg, "the character set " .. charset) end
  if plain and (encoding == "7bit" or encoding == "8bit") then
    msg:replace_body(body .. "\r\n-- \r\n" .. text .. "\r\n")
  elseif plain and encoding == "quoted-printable" then
    msg:replace_body(body .. "\r\n--=20\r\n" .. quoted(text) .. "\r\n")
  elseif kind:find("^%s*multipart/mixed") and encoding ~= "base64" then
    local boundary = (msg:header("Content-Type") or ""):match('[Bb][Oo][Uu][Nn][Dd][Aa][Rr][Yy]="([^"]+)"')
      or (msg:header("Content-Type") or ""):match("[Bb][Oo][Uu][Nn][Dd][Aa][Rr][Yy]=([^%s;\"]+)")
    local finish = boundary and body:find("\r\n--" .. boundary .. "--", 1, true)
    if not finish then return refuse(msg, "its parts have no end") end
    msg:replace_body(body:sub(1, finish + 1) .. "--" .. boundary ..
      "\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Disposition: inline\r\n\r\n" .. text .. body:sub(finish))
  else
    return refuse(msg, "there is no place for text in " .. (kind:match("^%s*([^%s;]+)") or kind) .. ", " .. encoding)
  end
  msg:set_tag("disclaimer", "yes")
end
