-- Refuses messages that carry programs, by the name of an attachment, and names
-- the attachment. Use it in a listener's pipeline, with `always = true` so that
-- it counts for postmaster too:
--
--   filter "lua" "attachments" {
--     script = "attachments.lua"
--     always = true
--   }

local programs = [[(?i)\.(bat|cmd|com|cpl|exe|hta|jar|js|jse|lnk|msi|pif|ps1|reg|scr|vbe|vbs|wsf)$]]

function message(msg)
  for _, part in ipairs(msg:parts()) do
    if re.match(part.filename, programs) then
      msg:note("attachment " .. part.filename)
      msg:reject("Programs are not taken here: " .. part.filename, 554)
      return
    end
  end
end
