// Package lookup asks lookup tables, in Postfix's forms: files in the source
// form of postmap(1), patterns, networks, queries to databases and directory
// servers, and daemons. A table is named "TYPE:NAME":
//
//	file:/etc/mtad/virtual      keys and values, read again when the file changes;
//	                            hash, btree, lmdb, dbm, cdb and texthash are the same: the source is read
//	regexp:/etc/mtad/access     regexp_table(5); pcre: with the rest of pcre_table(5) that RE2 has
//	cidr:/etc/mtad/clients      cidr_table(5)
//	inline:{ a=b, { c = d e } } written out
//	static:VALUE                the same for every key
//	unix:passwd.byname          users of the system; unix:group.byname
//	sqlite:/etc/mtad/users.cf   sqlite_table(5)
//	pgsql:/etc/mtad/users.cf    pgsql_table(5)
//	ldap:/etc/mtad/users.cf     ldap_table(5)
//	tcp:HOST:PORT               tcp_table(5)
//	socketmap:unix:PATH:NAME    socketmap_table(5); socketmap:inet:HOST:PORT:NAME
//
// What a file holds is checked when it is opened; a daemon or database is asked
// for the first time when a key is. A file that changes into one with errors is
// reported, and what it held before stays in force.
//
// "Not there" and "can not be known now" are different answers: the first is ok =
// false, the second an error, upon which mail is to be put off, never refused.
package lookup
