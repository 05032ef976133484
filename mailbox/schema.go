package mailbox

import "mtad/store"

// Schema is the tables of this package, for store.Open.
func Schema() store.Schema {
	return store.Schema{Name: "mailbox", Migrations: []string{`
CREATE TABLE mailbox_account (
	account  INTEGER PRIMARY KEY,
	validity INTEGER NOT NULL -- the last UIDVALIDITY given out
) STRICT;

-- A folder without a name was deleted; its entries are being purged.
CREATE TABLE folder (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	account  INTEGER NOT NULL,
	name     TEXT,
	validity INTEGER NOT NULL,
	uidnext  INTEGER NOT NULL DEFAULT 1,
	modseq   INTEGER NOT NULL DEFAULT 1,
	use      TEXT NOT NULL,
	recent   INTEGER NOT NULL DEFAULT 1, -- first UID no session was told of
	messages INTEGER NOT NULL DEFAULT 0,
	unseen   INTEGER NOT NULL DEFAULT 0,
	deleted  INTEGER NOT NULL DEFAULT 0,
	size     INTEGER NOT NULL DEFAULT 0,
	vanished INTEGER NOT NULL DEFAULT 0, -- rows of vanished
	floor    INTEGER NOT NULL DEFAULT 0, -- vanished is complete above this mod-sequence
	UNIQUE (account, name)
) STRICT;

CREATE TABLE subscription (
	account INTEGER NOT NULL,
	name    TEXT NOT NULL,
	PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE entry (
	folder   INTEGER NOT NULL,
	uid      INTEGER NOT NULL,
	modseq   INTEGER NOT NULL,
	flags    INTEGER NOT NULL,
	keywords TEXT NOT NULL, -- separated by spaces
	message  INTEGER NOT NULL,
	skip     INTEGER NOT NULL,
	size     INTEGER NOT NULL,
	date     INTEGER NOT NULL, -- Unix seconds
	zone     INTEGER NOT NULL, -- seconds east of Greenwich
	prefix   BLOB NOT NULL,
	PRIMARY KEY (folder, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX entry_modseq ON entry (folder, modseq);

CREATE TABLE vanished (
	folder INTEGER NOT NULL,
	modseq INTEGER NOT NULL,
	uid    INTEGER NOT NULL,
	PRIMARY KEY (folder, modseq, uid)
) STRICT, WITHOUT ROWID;
`, `
-- What Remember was given.
ALTER TABLE entry ADD COLUMN summary BLOB;
`}, Refs: []string{"SELECT message FROM entry"}}
}
