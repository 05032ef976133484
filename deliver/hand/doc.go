// Package hand hands mail to programs and files of the system, by the monitor:
// what aliases(5), .forward and mailbox_command name, and the route blocks with
// protocol pipe, maildir and mbox.
//
// Programs get the message as local(8) and pipe(8) give it: lines that end in LF,
// a "From " line, Return-Path, X-Original-To and Delivered-To on top, or what the
// route's flags ask for. Their exit status is understood as there (sysexits.h). A
// program whose time is up has its mail put off, where Postfix returns it: that a
// machine was slow says nothing about the mail.
//
// What is run as whom with which arguments and environment is the monitor's
// decision: it is told the envelope, and what stands in an alias, or the name of a
// route.
package hand
