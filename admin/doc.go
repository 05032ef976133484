// Package admin is how people and programs reach a running server: HTTP and
// JSON over a Unix socket, the client of it that the commands use, and the
// metrics.
//
// The socket is for root and for the user that runs the server; the kernel says
// who calls. Every call is a row of the table in routes.go: GET reads and takes
// its arguments from the query, POST changes something and takes a JSON object.
// An answer that is no success is an [Error], whose code is the one that a
// command exits with. The HTTP listener of the configuration serves metrics and
// health alone.
package admin
