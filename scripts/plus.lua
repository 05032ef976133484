-- Routes user+detail: mail for alice+shop goes into Alice's folder Shop, with the
-- spelling of one that is named below if there is one. The detail comes from a
-- stranger, so only letters, digits, "-" and "_" make a folder, and "/" none.
-- Use it in the pipeline of local delivery:
--
--   filter "lua" "plus" { script = "plus.lua" }

local named = { shop = "Shopping", news = "Newsletters" }
local parent = "Plus"

function deliver(msg)
  local detail = msg.detail:lower()
  if detail == "" then return end
  if named[detail] then
    msg:fileinto(named[detail])
  elseif detail:match("^[%w_-]+$") and #detail <= 40 then
    msg:fileinto(parent .. "/" .. detail)
  end
end
