// Package uri finds links as SpamAssassin does (Mail::SpamAssassin::PerMsgStatus and
// ::Util 4.0): in text, where mail readers make links of what looks like one; and it
// undoes what hides where they go: escapes, redirectors, numbers for hosts.
package uri
