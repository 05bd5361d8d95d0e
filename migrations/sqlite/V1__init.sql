-- The same shape as migrations/postgres/V1__init.sql. Times are milliseconds since the Unix epoch unless a comment
-- says seconds. Files here are forward-only: never edit one that was released, add the next number.

-- incarnation (below 2^53, decimal): mixed into the epochs that clients see, new when the database was restored
-- from a copy; start_token: renewed at each start, here and in a file beside the database, tells a restored copy.
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Ids are handed out in blocks: `next` is the first that nobody has.
CREATE TABLE id_blocks (
    name TEXT NOT NULL PRIMARY KEY,
    next INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO id_blocks (name, next) VALUES ('room', 1), ('user', 1);

-- A user is a pair (iss, sub). The server's own users have iss 'veza' and their user_id as sub.
-- skeleton: the username in lower case; that is all folding needed, since usernames are of [A-Za-z0-9_.-].
CREATE TABLE users (
    user_id       INTEGER PRIMARY KEY,
    iss           TEXT NOT NULL,
    sub           TEXT NOT NULL,
    username      TEXT NOT NULL,
    skeleton      TEXT NOT NULL UNIQUE,
    role          TEXT NOT NULL DEFAULT 'user',
    email         TEXT,
    password_hash TEXT,
    created_at    INTEGER NOT NULL,
    UNIQUE (iss, sub)
) STRICT;

-- Rooms and conversations. epoch is stored mixed with the incarnation. name_folded is the lower-cased name, for search.
-- The head is the newest event. Up to read_checkpoint, members' read positions include their own messages; beyond it
-- they are derived from the events.
CREATE TABLE rooms (
    room_id         INTEGER PRIMARY KEY,
    kind            INTEGER NOT NULL CHECK (kind IN (0, 1)),
    epoch           INTEGER NOT NULL,
    name            TEXT NOT NULL CHECK (instr(name, char(0)) = 0),
    name_folded     TEXT NOT NULL,
    description     TEXT CHECK (instr(description, char(0)) = 0),
    topic           TEXT CHECK (instr(topic, char(0)) = 0),
    visibility      INTEGER NOT NULL CHECK (visibility IN (0, 1)),
    owner_id        INTEGER,
    max_members     INTEGER NOT NULL,
    slow_mode_s     INTEGER NOT NULL,
    retention_days  INTEGER NOT NULL,
    archived        INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    member_count    INTEGER NOT NULL,
    read_checkpoint INTEGER NOT NULL DEFAULT 0,
    creator_id      INTEGER NOT NULL,
    client_id       TEXT CHECK (instr(client_id, char(0)) = 0),
    client_hash     INTEGER
) STRICT;
CREATE UNIQUE INDEX rooms_by_client ON rooms (creator_id, client_id) WHERE client_id IS NOT NULL;
CREATE INDEX rooms_by_creator ON rooms (creator_id, kind);
CREATE INDEX rooms_public ON rooms (room_id) WHERE kind = 0 AND visibility = 0;

-- The one conversation of a pair of users, lo < hi.
CREATE TABLE dm_pairs (
    lo      INTEGER NOT NULL,
    hi      INTEGER NOT NULL,
    room_id INTEGER NOT NULL REFERENCES rooms (room_id),
    PRIMARY KEY (lo, hi)
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    room_id       INTEGER NOT NULL REFERENCES rooms (room_id),
    user_id       INTEGER NOT NULL,
    role          TEXT NOT NULL CHECK (instr(role, char(0)) = 0),
    joined_at     INTEGER NOT NULL,
    last_read_seq INTEGER NOT NULL,
    last_read_no  INTEGER NOT NULL,
    PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_user ON members (user_id, room_id);

-- The logs of all rooms. message_no: messages in the room up to this event, itself included. writer_*: the batch
-- that wrote the row. parent_id is a seq of the same room. No foreign keys: nothing on the path of a message that
-- the room's home shard has checked.
CREATE TABLE events (
    room_id       INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    kind          INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    message_no    INTEGER NOT NULL,
    author_id     INTEGER,
    client_id     TEXT CHECK (instr(client_id, char(0)) = 0),
    client_hash   INTEGER,
    content       TEXT CHECK (instr(content, char(0)) = 0),
    parent_id     INTEGER,
    data          TEXT CHECK (instr(data, char(0)) = 0),
    writer_epoch  INTEGER NOT NULL,
    writer_lane   INTEGER NOT NULL,
    writer_number INTEGER NOT NULL,
    PRIMARY KEY (room_id, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX events_by_client ON events (room_id, author_id, client_id) WHERE client_id IS NOT NULL;

-- Sessions of the server's own users. expires_at (seconds): end of the newest refresh token.
CREATE TABLE sessions (
    session_id   TEXT NOT NULL PRIMARY KEY,
    user_id      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user_id);

-- Refresh tokens by their hash (SHA-256). A used one that comes again ends its session. expires_at in seconds.
CREATE TABLE refresh_tokens (
    hash       BLOB NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL,
    used       INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

-- Sessions that are over, own and foreign, until their tokens end (expires_at, seconds).
CREATE TABLE revocations (
    session_id TEXT NOT NULL PRIMARY KEY,
    user_id    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- All tokens of a user issued before this (seconds) are over.
CREATE TABLE user_revocations (
    user_id INTEGER PRIMARY KEY,
    before  INTEGER NOT NULL
) STRICT;

-- The fence: the newest batch committed of each lane, written in the batch's own transaction. Tells a batch whose
-- answer was lost from one that never committed.
CREATE TABLE writer_lanes (
    epoch  INTEGER NOT NULL,
    lane   INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (epoch, lane)
) STRICT, WITHOUT ROWID;
