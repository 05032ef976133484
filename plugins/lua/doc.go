// Package lua runs a Lua script (Lua 5.1, yuin/gopher-lua) as a filter: at any
// stage of a session, and as a delivery rule for each recipient.
//
// A script defines functions named after stages; those that are there are
// called. Each gets the message as its argument:
//
//	function deliver(msg)
//	  if msg.subject:find("invoice") then msg:fileinto("Invoices") end
//	end
//
// What scripts may do is one table, api.go; the reference in README.md is
// checked against it. Scripts run in a sandbox: no files, no processes, no
// loading of code; time, stack and the work of string functions are bounded.
// Globals are sealed after the script has been loaded, so that nothing leaks
// from one message into the next.
package lua
