// Package engine runs Lua scripts (Lua 5.1, yuin/gopher-lua) about mail, in
// bounds: of time, of memory, of the work of each library function.
//
// What scripts can reach is one table, bindings (binding.go); the reference in
// README.md is made of it, and so is what a script is said to read and write
// (facts.go). What lies outside of the View, such as DNS or state, comes from a
// Host, so that the same script runs in the server, in a worker, and in tests.
//
// gopher-lua counts neither instructions nor octets. Time is bounded by a
// context, which stops the virtual machine but no library function: those that
// had no bound are replaced (strings.go, pattern.go). Memory is bounded by
// rewriting a script before it is compiled, so that what makes strings, tables
// and closures pays for them (meter.go).
package engine
