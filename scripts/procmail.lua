-- A procmailrc translated: testdata/procmailrc is the original, recipe by recipe.
-- A recipe of procmail that delivers ends the rest; one with the flag c does not.
-- So each is a function here, and chain ends with the first that returns true.
-- Conditions are matched without regard to case, against the whole header or the
-- body, and all of a recipe's have to hold. Use it in the pipeline of local
-- delivery:
--
--   filter "lua" "procmail" { script = "procmail.lua" }

local function header(msg, name, expression)
  for _, value in ipairs(msg:headers(name)) do
    if re.match(value, "(?i)" .. expression) then return true end
  end
end

-- * ^TO_name: a word that begins so, in a field that says whom the letter is for.
local function to(msg, word)
  for _, field in ipairs({ "To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Apparently-To" }) do
    if header(msg, field, "(^|[^-a-z0-9_.])" .. re.quote(word)) then return true end
  end
end

local recipes = {
  -- :0 c / * ^From:.*boss@example\.com / boss-copies
  function(msg)
    if header(msg, "From", [[boss@example\.com]]) then msg:copy("boss-copies") end
  end,
  -- :0 / * ^X-Spam-Flag: YES / junk
  function(msg)
    if header(msg, "X-Spam-Flag", "^YES") then msg:fileinto("junk") return true end
  end,
  -- :0 / * ^List-Id:.*<\/[a-z0-9-]+ / lists-$MATCH
  function(msg)
    for _, value in ipairs(msg:headers("List-Id")) do
      local name = re.match(value, "(?i)<([a-z0-9-]+)")
      if name then msg:fileinto("lists-" .. name) return true end
    end
  end,
  -- :0 / * ^TO_sales@ / * ! ^Precedence: (bulk|list) / sales
  function(msg)
    if to(msg, "sales@") and not header(msg, "Precedence", "^(bulk|list)") then msg:fileinto("sales") return true end
  end,
  -- :0 B / * unsubscribe / * < 20000 (the recipe is one of two that are nested)
  function(msg)
    if msg.size < 20000 and re.match((msg:raw_body()), "(?i)unsubscribe") then
      -- :0 / * ^Subject:.*sale / /dev/null
      if header(msg, "Subject", "sale") then msg:discard() return true end
      -- :0 E / newsletters
      msg:fileinto("newsletters")
      return true
    end
  end,
}

function deliver(msg)
  chain(msg, unpack(recipes))
end
