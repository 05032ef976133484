// Package milterkit puts milters and mail servers to the test, whoever wrote
// them. It has the milter protocol in its own words, and shares no code with
// package milterd/wire or filter "milter": what those get wrong it does not.
//
//	packet.go   packets and flags
//	milter.go   a milter that does what a script says
//	mta.go      a mail server: what its client, its milter and the next hop saw
//	cases.go    what a milter may say, one case each, to be played to mail servers
//	asker.go    the mail server's side: it asks any milter, and checks what it says
//	edits.go    what a mail server makes of a milter's edits
package milterkit
