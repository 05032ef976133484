// Package message holds an Internet message as it came: spooled once,
// immutable, its raw bytes kept.
//
// A [Message] is one revision. Its header is an index of raw fields with
// stable IDs; an edit makes a new revision that shares the body and every
// untouched field with the old one, so that what nobody changed leaves byte for
// byte as it arrived. The MIME tree is built on demand by [Message.Structure],
// reads broken mail without complaint, and is bounded in depth and in parts.
//
// It implements RFC 5322 (format), RFC 2045 and RFC 2046 (MIME), RFC 2047 and
// RFC 2231 (encoded words and parameters), as far as a server needs them:
// nothing here refuses a message for being malformed. Refusing is policy.
package message
