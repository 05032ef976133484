-- Scores mail whose From shows a name of this house and an address of another:
-- the letter "from the director" that asks for gift cards. Set both tables to
-- your own. Use it in a listener's pipeline, before filter "thresholds".

local names = { "jane director", "payroll" }
local domains = { ["example.org"] = true }

function message(msg)
  local from = (msg:header("From") or ""):lower()
  local domain = msg.from:match("@(.+)$") or ""
  if domains[domain] then return end
  for _, name in ipairs(names) do
    if from:find(name, 1, true) then
      msg:add_score(8, "impostor", name .. " from " .. domain)
      return
    end
  end
end
