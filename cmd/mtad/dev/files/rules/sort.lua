-- Rules of delivery, once for each local recipient.

function deliver(msg)
  local list = msg:header("List-Id")
  if list then
    msg:fileinto("Lists/" .. (list:match("<([%w-]+)") or "other"))
  end
  -- if msg.subject:lower():find("invoice", 1, true) then msg:fileinto("Invoices", {"\\Flagged"}) end
  -- if msg.subject:lower():find("lottery", 1, true) then msg:reject("No lotteries, please") end
end
