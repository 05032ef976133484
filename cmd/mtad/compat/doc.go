// Package compat is commands under the names that other mail servers gave them:
// sendmail, postqueue, mailq, postsuper, postcat, qshape, postmap, postalias,
// newaliases, postconf and doveconf, with the flags and the output that scripts
// know. They are run as `mtad compat NAME`, or by that name where
// `mtad compat install` has linked it to the binary.
//
// [Commands] is the table; a command is a file and a row.
package compat
