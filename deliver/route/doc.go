// Package route says who a recipient is, and how mail gets there.
//
// [Router.Resolve] follows an address through everything that may lead it
// elsewhere, to the mailboxes, files, programs and addresses elsewhere that it
// ends in:
//
//  1. A name without a domain is of myorigin; an address literal of this machine,
//     and the names of mydestination, are the local domain. A domain that stands
//     for another has that one's addresses.
//  2. virtual_alias_maps, for addresses of any domain, again and again.
//  3. The domain's class: local, one of the directory's, virtual_alias_domains,
//     virtual_mailbox_domains, relay_domains, or none of ours.
//  4. Local names: the aliases, file by file and the directory's, users of the
//     directory, users of the system and their .forward, luser_relay.
//
// Nothing is followed twice: what leads back to itself is left out, and an address
// whose ways all do is nobody's. [Router.Way] then says how mail gets to an address
// that is not delivered here: transport_maps, sender_dependent_relayhost_maps,
// relayhost and the rest. Both note their steps, for `mtad route test`.
//
// The words are Postfix's, and mean what they mean there (ADDRESS_REWRITING_README,
// virtual(5), transport(5), aliases(5)).
package route
