// Package routes is the part of the configuration that says what names are local,
// where they lead, and which way mail goes: its options, in Postfix's words, and
// the router's configuration that is made of them.
package routes
