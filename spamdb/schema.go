package spamdb

import "mtad/store"

// Schema is the tables of this package, for store.Open.
func Schema() store.Schema {
	return store.Schema{Name: "spam", Migrations: []string{`
-- Who has learned; the name '' is the site. Times are seconds since 1970.
CREATE TABLE bayes_owner (
	id         INTEGER PRIMARY KEY,
	name       TEXT NOT NULL UNIQUE,
	spam       INTEGER NOT NULL DEFAULT 0,
	ham        INTEGER NOT NULL DEFAULT 0,
	tokens     INTEGER NOT NULL DEFAULT 0,
	oldest     INTEGER NOT NULL DEFAULT 0,
	newest     INTEGER NOT NULL DEFAULT 0,
	expire_at  INTEGER NOT NULL DEFAULT 0, -- of the last expiry
	expire_age INTEGER NOT NULL DEFAULT 0,
	expired    INTEGER NOT NULL DEFAULT 0,
	messages   INTEGER NOT NULL DEFAULT 0  -- rows of bayes_message
) STRICT;

CREATE TABLE bayes_token (
	owner INTEGER NOT NULL,
	hash  INTEGER NOT NULL, -- 40 bits
	spam  INTEGER NOT NULL,
	ham   INTEGER NOT NULL,
	atime INTEGER NOT NULL,
	PRIMARY KEY (owner, hash)
) STRICT, WITHOUT ROWID;

-- What a message was learned as: 's' or 'h'. The oldest of too many go.
CREATE TABLE bayes_message (
	number INTEGER PRIMARY KEY AUTOINCREMENT,
	owner  INTEGER NOT NULL,
	id     TEXT NOT NULL,
	class  INTEGER NOT NULL,
	UNIQUE (owner, id)
) STRICT;
CREATE INDEX bayes_message_age ON bayes_message (owner, number);
`, `
-- What TxRep knows of senders, by an owner of bayes_owner. The key is an address or a name, and a
-- network; at is when that last changed, in seconds since 1970.
CREATE TABLE reputation (
	owner INTEGER NOT NULL,
	key   TEXT NOT NULL,
	count INTEGER NOT NULL,
	total REAL NOT NULL,
	at    INTEGER NOT NULL,
	PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX reputation_age ON reputation (at);
`}}
}
