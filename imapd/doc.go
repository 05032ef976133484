// Package imapd is the IMAP4rev1 server: it shows the folders of package
// mailbox to mail clients.
//
// Reading order: server.go accepts connections, session.go runs one, command.go
// is the table of commands, selected.go and update.go are a session's picture
// of its folder and how it follows the store. A command is one row of that
// table; a FETCH item is one row in fetchitem.go, a SEARCH key one in
// searchkey.go. The syntax lives in imapd/wire.
//
// A session is one goroutine; IDLE takes a second one. It keeps of the selected
// folder only which UIDs the client has been told of, as runs, and asks the
// store for everything else, so that an idle connection costs a few KiB
// whatever the folder's size. No view of the store is held while something is
// written to a client.
//
// RFC 3501 (IMAP4rev1), RFC 7888 (LITERAL+), RFC 4959 (SASL-IR), RFC 4616 (PLAIN),
// RFC 2971 (ID), RFC 5161 (ENABLE), RFC 2177 (IDLE), RFC 4315 (UIDPLUS), RFC 6851
// (MOVE), RFC 2342 (NAMESPACE), RFC 3691 (UNSELECT), RFC 3348 (CHILDREN), RFC 5258
// (LIST-EXTENDED), RFC 5819 (LIST-STATUS), RFC 6154 (SPECIAL-USE), RFC 4731
// (ESEARCH), RFC 5032 (WITHIN), RFC 5530 (response codes).
package imapd
