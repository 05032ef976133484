// Package directory knows the domains this server serves, their users and
// aliases, each user's Sieve scripts, and small tables and state for filters.
//
// Addresses are compared without regard to case, also in the local-part, and a
// local-part may carry a detail behind a separator ("alice+lists"). Passwords
// are kept as argon2id hashes (RFC 9106) in PHC string form. postmaster and
// abuse reach somebody wherever a postmaster is configured (RFC 5321, 4.5.1;
// RFC 2142, 2).
package directory
