-- Rules for mail that comes in, asked while the client waits: change this file
-- and the next message meets it. plugins/lua/README.md lists what msg can do.

function message(msg)
  for _, part in ipairs(msg:parts()) do
    if re.match(part.filename, [[(?i)\.(exe|scr|js|vbs)$]]) then
      msg:reject("Programs are not taken here: " .. part.filename)
    end
  end
  if msg:result("dkim") == "pass" then
    msg:add_score(-1, "local_signed")
  end
end
