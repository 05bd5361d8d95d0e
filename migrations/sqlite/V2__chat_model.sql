-- The whole chat model. The same shape as migrations/postgres/V2__*.sql, but for search.

-- What has become of a message since it was sent; all NULL for most. mentions: JSON array of user ids, ascending.
-- original: the content before the first edit. deleted_at is set on the message and on the rows of its edits.
-- pinned_seq: position of the event that pinned it. thread_count: answers, deleted ones included.
ALTER TABLE events ADD COLUMN mentions TEXT;
ALTER TABLE events ADD COLUMN reason TEXT CHECK (instr(reason, char(0)) = 0);
ALTER TABLE events ADD COLUMN original TEXT;
ALTER TABLE events ADD COLUMN edit_count INTEGER;
ALTER TABLE events ADD COLUMN edited_at INTEGER;
ALTER TABLE events ADD COLUMN deleted_at INTEGER;
ALTER TABLE events ADD COLUMN pinned_seq INTEGER;
ALTER TABLE events ADD COLUMN thread_count INTEGER;
-- Partial, all of them: a message that answers nothing is in none. Threads and edits; pins; what is to be erased.
CREATE INDEX events_by_parent ON events (room_id, parent_id, kind, seq) WHERE parent_id IS NOT NULL;
CREATE INDEX events_pinned ON events (room_id, pinned_seq) WHERE pinned_seq IS NOT NULL;
CREATE INDEX events_to_erase ON events (deleted_at) WHERE deleted_at IS NOT NULL AND content IS NOT NULL;

-- floor_*: the last event that retention has removed, and its message_no. The head of a room without events is its
-- floor. deleted_at: the room is invisible, its rows go in the background, this one last. deleted_messages: of those
-- that are retained.
ALTER TABLE rooms ADD COLUMN floor_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN floor_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN deleted_at INTEGER;
ALTER TABLE rooms ADD COLUMN deleted_messages INTEGER NOT NULL DEFAULT 0;
DROP INDEX rooms_public;
CREATE INDEX rooms_public ON rooms (room_id) WHERE kind = 0 AND visibility = 0 AND deleted_at IS NULL;
CREATE INDEX rooms_deleted ON rooms (room_id) WHERE deleted_at IS NOT NULL;
CREATE INDEX rooms_retained ON rooms (room_id) WHERE retention_days > 0 AND deleted_at IS NULL;
-- For the foreign keys, when a room goes.
CREATE INDEX dm_pairs_by_room ON dm_pairs (room_id);
CREATE INDEX members_by_role ON members (room_id, role, user_id);

-- Who has reacted how, and how many. first_seq: of the reaction that began the count; gives the order.
CREATE TABLE reactions (
    room_id    INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    emoji      TEXT NOT NULL CHECK (instr(emoji, char(0)) = 0),
    user_id    INTEGER NOT NULL,
    PRIMARY KEY (room_id, message_id, emoji, user_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE reaction_counts (
    room_id    INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    emoji      TEXT NOT NULL CHECK (instr(emoji, char(0)) = 0),
    count      INTEGER NOT NULL,
    first_seq  INTEGER NOT NULL,
    PRIMARY KEY (room_id, message_id, emoji)
) STRICT, WITHOUT ROWID;

-- Whom a message mentions; user 0 is everybody in the room. at: of the message.
CREATE TABLE mentions (
    user_id INTEGER NOT NULL,
    room_id INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (user_id, room_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX mentions_by_message ON mentions (room_id, seq);
CREATE INDEX mentions_by_time ON mentions (user_id, at, room_id, seq) WHERE user_id > 0;
CREATE INDEX mentions_of_all ON mentions (room_id, at, seq) WHERE user_id = 0;

-- Open invitations.
CREATE TABLE invites (
    room_id    INTEGER NOT NULL,
    user_id    INTEGER NOT NULL,
    inviter_id INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX invites_by_user ON invites (user_id, room_id);

-- Custom roles; permissions: the bits of the engine's set.
CREATE TABLE room_roles (
    room_id     INTEGER NOT NULL,
    name        TEXT NOT NULL CHECK (instr(name, char(0)) = 0),
    permissions INTEGER NOT NULL,
    PRIMARY KEY (room_id, name)
) STRICT, WITHOUT ROWID;

-- kind: 1 warn, 2 mute, 3 kick, 4 ban. expires_at NULL: for good.
CREATE TABLE sanctions (
    sanction_id INTEGER PRIMARY KEY,
    room_id     INTEGER NOT NULL,
    user_id     INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    reason      TEXT NOT NULL CHECK (instr(reason, char(0)) = 0),
    actor_id    INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    expires_at  INTEGER,
    lifted_at   INTEGER,
    lifted_by   INTEGER
) STRICT;
CREATE INDEX sanctions_by_time ON sanctions (at, sanction_id);
CREATE INDEX sanctions_by_room ON sanctions (room_id, at, sanction_id);
CREATE INDEX sanctions_by_user ON sanctions (user_id, at, sanction_id);
CREATE INDEX sanctions_open ON sanctions (room_id, user_id) WHERE lifted_at IS NULL AND kind IN (2, 4);

-- What users let others see.
ALTER TABLE users ADD COLUMN status INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN status_message TEXT CHECK (instr(status_message, char(0)) = 0);
ALTER TABLE users ADD COLUMN last_seen_at INTEGER;

CREATE TABLE blocks (
    user_id    INTEGER NOT NULL,
    blocked_id INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (user_id, blocked_id)
) STRICT, WITHOUT ROWID;

-- Search. A message is the document whose number is its time in milliseconds * 2^20, plus a number among those of the
-- same millisecond: so the newest documents are the last ones. search_text keeps no text, only the index; its column
-- `keys` has the words r<room id> and u<author id>, by which results are narrowed. Filled behind the write path:
-- search_positions says how far, per room.
CREATE TABLE search_documents (
    document   INTEGER PRIMARY KEY,
    room_id    INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    UNIQUE (room_id, message_id)
) STRICT;
CREATE TABLE search_positions (
    room_id INTEGER PRIMARY KEY,
    seq     INTEGER NOT NULL
) STRICT;
CREATE VIRTUAL TABLE search_text USING fts5 (
    content, keys, content = '', contentless_delete = 1, prefix = '2', tokenize = 'unicode61 remove_diacritics 0'
);
