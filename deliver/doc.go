// Package deliver takes messages for good and brings them where they belong.
//
// Decide before the 250, act after it: [Agent.Accept] resolves the recipients,
// runs the Deliver stage for each local mailbox, and writes envelope, facts,
// plans and message to the journal as one record. When that record is on disk
// the client is told 250. What the record says is then acted on (rows in
// mailboxes, rows in the queue, redirects, replies), and acted on again from the
// journal if the process dies in between. A stored plan is never recomputed.
//
// [Router] says who a recipient is. [Agent.Attempt] is what the queue calls to
// try a delivery; [Agent.Report] tells senders of failures and delays (RFC 3461,
// RFC 3464, RFC 6522). Whoever may not have sent a message gets no word of delays
// that was not asked for, and none of what rules here refuse. Loops end by hop count and Delivered-To.
package deliver
