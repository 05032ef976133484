-- Sorts mailing lists into folders by List-Id (RFC 2919), newsletters by
-- List-Unsubscribe. Use it in the pipeline of local delivery:
--
--   filter "lua" "lists" { script = "lists.lua" }

function deliver(msg)
  local list = msg:header("List-Id")
  if list then
    local id = list:match("<([^>]+)>") or list
    local name = id:match("^[%w_-]+")
    if name then msg:fileinto("Lists/" .. name:lower()) end
  elseif msg:header("List-Unsubscribe") and not msg:header("In-Reply-To") then
    msg:fileinto("Newsletters")
  end
end
