package directory

import "mtad/store"

// Schema is the tables of this package, for store.Open.
func Schema() store.Schema {
	return store.Schema{Name: "directory", Migrations: []string{`
CREATE TABLE domain (
	name  TEXT PRIMARY KEY,
	class INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE user (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	local    TEXT NOT NULL,
	domain   TEXT NOT NULL,
	hash     TEXT NOT NULL,
	disabled INTEGER NOT NULL DEFAULT 0,
	created  INTEGER NOT NULL,
	UNIQUE (domain, local)
) STRICT;

CREATE TABLE alias (
	local  TEXT NOT NULL, -- '' catches what nobody else takes
	domain TEXT NOT NULL,
	target TEXT NOT NULL,
	PRIMARY KEY (domain, local, target)
) STRICT, WITHOUT ROWID;

CREATE TABLE script (
	user    INTEGER NOT NULL,
	name    TEXT NOT NULL,
	text    TEXT NOT NULL,
	version TEXT NOT NULL,
	active  INTEGER NOT NULL DEFAULT 0,
	changed INTEGER NOT NULL,
	PRIMARY KEY (user, name)
) STRICT;
CREATE UNIQUE INDEX script_active ON script (user) WHERE active;

CREATE TABLE lookup (
	tab   TEXT NOT NULL,
	key   TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (tab, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE lookup_count (
	tab  TEXT PRIMARY KEY,
	rows INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER lookup_more AFTER INSERT ON lookup BEGIN
	INSERT INTO lookup_count VALUES (new.tab, 1) ON CONFLICT DO UPDATE SET rows = rows + 1;
END;
CREATE TRIGGER lookup_less AFTER DELETE ON lookup BEGIN
	UPDATE lookup_count SET rows = rows - 1 WHERE tab = old.tab;
END;

CREATE TABLE state (
	namespace TEXT NOT NULL,
	key       TEXT NOT NULL,
	value     BLOB NOT NULL,
	expiry    INTEGER NOT NULL, -- Unix milliseconds
	PRIMARY KEY (namespace, key)
) STRICT;
CREATE INDEX state_expiry ON state (namespace, expiry);
CREATE TABLE state_count (
	namespace TEXT PRIMARY KEY,
	keys      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER state_more AFTER INSERT ON state BEGIN
	INSERT INTO state_count VALUES (new.namespace, 1) ON CONFLICT DO UPDATE SET keys = keys + 1;
END;
CREATE TRIGGER state_less AFTER DELETE ON state BEGIN
	UPDATE state_count SET keys = keys - 1 WHERE namespace = old.namespace;
END;
`, scriptLanguages, aliasDomains, sendGrants}}
}

// scriptLanguages gives each script a language; those that were there are Sieve.
const scriptLanguages = `
DROP INDEX script_active;
ALTER TABLE script RENAME TO script_old;
CREATE TABLE script (
	user     INTEGER NOT NULL,
	language TEXT NOT NULL, -- sieve, lua
	name     TEXT NOT NULL,
	text     TEXT NOT NULL,
	version  TEXT NOT NULL,
	active   INTEGER NOT NULL DEFAULT 0,
	changed  INTEGER NOT NULL,
	PRIMARY KEY (user, language, name)
) STRICT;
INSERT INTO script SELECT user, 'sieve', name, text, version, active, changed FROM script_old;
DROP TABLE script_old;
CREATE UNIQUE INDEX script_active ON script (user, language) WHERE active;
`

// aliasDomains are domains that stand for others.
const aliasDomains = `ALTER TABLE domain ADD COLUMN stands_for TEXT NOT NULL DEFAULT ''`

// sendGrants are the addresses that users may send with besides their own.
const sendGrants = `
CREATE TABLE send_grant (
	user    INTEGER NOT NULL,
	address TEXT NOT NULL, -- local@domain, @domain, *
	kind    INTEGER NOT NULL,
	PRIMARY KEY (user, address)
) STRICT, WITHOUT ROWID;
`
