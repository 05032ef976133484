// Package lua runs Lua scripts as a filter: one of the configuration, at any
// stage of a session and as a delivery rule for each recipient, or each
// recipient's own.
//
// A script defines functions named after stages; those that are there are
// called. Each gets the message as its argument:
//
//	function deliver(msg)
//	  if msg.subject:find("invoice") then msg:fileinto("Invoices") end
//	end
//
// What scripts may do, and in which bounds, is engine. The configuration's
// scripts run in the server, users' own in processes apart (worker). Here is
// what both are offered: tables, hosts, commands, state.
package lua
