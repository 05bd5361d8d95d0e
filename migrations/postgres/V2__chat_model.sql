-- The whole chat model. Times are milliseconds since the Unix epoch. No foreign keys from the new tables: the room's
-- home shard has checked what it writes, and what a room leaves behind is removed by the background work.

-- What became of a message lies in its own row; a plain one has NULL in all of these. original: the first content, kept
-- from the first edit on. edit_count, edited_at, pinned_seq, thread_count: of messages. deleted_at: of messages and their
-- edits. held_since: the same, until the content is erased. mentions: JSON array of user ids.
ALTER TABLE events
    ADD COLUMN edited_at    bigint,
    ADD COLUMN deleted_at   bigint,
    ADD COLUMN held_since   bigint,
    ADD COLUMN pinned_seq   bigint,
    ADD COLUMN edit_count   integer,
    ADD COLUMN thread_count integer,
    ADD COLUMN mentions     text,
    ADD COLUMN reason       text,
    ADD COLUMN original     text;
-- None of these has an entry for a plain message: sending pays for no index but the two of V1.
CREATE INDEX events_by_parent ON events (room_id, parent_id, kind, seq) WHERE parent_id IS NOT NULL AND kind IN (1, 3);
CREATE INDEX events_pinned ON events (room_id, pinned_seq) WHERE pinned_seq IS NOT NULL;
CREATE INDEX events_deleted ON events (room_id, seq) WHERE deleted_at IS NOT NULL AND kind = 1;
CREATE INDEX events_held ON events (held_since) WHERE held_since IS NOT NULL;

-- floor_*: seq and message_no of the last event that retention has removed; 0: none. deleted_at: invisible since then,
-- its rows go in the background.
ALTER TABLE rooms
    ADD COLUMN deleted_at bigint,
    ADD COLUMN floor_seq  bigint NOT NULL DEFAULT 0,
    ADD COLUMN floor_no   bigint NOT NULL DEFAULT 0;
DROP INDEX rooms_public;
CREATE INDEX rooms_public ON rooms (room_id) WHERE kind = 0 AND visibility = 0 AND deleted_at IS NULL;
CREATE INDEX rooms_deleted ON rooms (deleted_at, room_id) WHERE deleted_at IS NOT NULL;
CREATE INDEX rooms_retained ON rooms (room_id) WHERE retention_days > 0 AND deleted_at IS NULL;
-- For the check that a room which is removed is no conversation.
CREATE INDEX dm_pairs_by_room ON dm_pairs (room_id);

-- Plain members, nearly all, have no entry.
CREATE INDEX members_by_role ON members (room_id, role, user_id) WHERE role <> 'member';

-- Who reacted how, and how many did. first_seq: of the event that was the first of this emoji; gives the order.
CREATE TABLE reactions (
    room_id    bigint NOT NULL,
    message_id bigint NOT NULL,
    user_id    bigint NOT NULL,
    emoji      text COLLATE "C" NOT NULL,
    PRIMARY KEY (room_id, message_id, emoji, user_id)
);
CREATE TABLE reaction_counts (
    room_id    bigint NOT NULL,
    message_id bigint NOT NULL,
    first_seq  bigint NOT NULL,
    count      integer NOT NULL,
    emoji      text COLLATE "C" NOT NULL,
    PRIMARY KEY (room_id, message_id, emoji)
) WITH (fillfactor = 80);

-- Inboxes of mentions. user_id 0: everybody who was a member by then. at: of the message.
CREATE TABLE mentions (
    room_id bigint NOT NULL,
    seq     bigint NOT NULL,
    user_id bigint NOT NULL,
    at      bigint NOT NULL,
    PRIMARY KEY (room_id, seq, user_id)
);
CREATE INDEX mentions_unread ON mentions (user_id, room_id, seq);
CREATE INDEX mentions_newest ON mentions (user_id, room_id, at, seq);

CREATE TABLE invitations (
    room_id    bigint NOT NULL,
    user_id    bigint NOT NULL,
    inviter_id bigint NOT NULL,
    at         bigint NOT NULL,
    PRIMARY KEY (room_id, user_id)
);
CREATE INDEX invitations_by_user ON invitations (user_id, room_id);

-- permissions: bits, see the engine's wire::permission.
CREATE TABLE room_roles (
    room_id     bigint NOT NULL,
    permissions integer NOT NULL,
    name        text COLLATE "C" NOT NULL,
    PRIMARY KEY (room_id, name)
);

-- kind: 1 warn, 2 mute, 3 kick, 4 ban. expires_at NULL: for good.
CREATE TABLE sanctions (
    sanction_id bigint PRIMARY KEY,
    room_id     bigint NOT NULL,
    user_id     bigint NOT NULL,
    actor_id    bigint NOT NULL,
    at          bigint NOT NULL,
    expires_at  bigint,
    lifted_at   bigint,
    lifted_by   bigint,
    kind        smallint NOT NULL CHECK (kind BETWEEN 1 AND 4),
    reason      text NOT NULL
);
CREATE INDEX sanctions_in_force ON sanctions (room_id, user_id) WHERE lifted_at IS NULL AND kind IN (2, 4);
CREATE INDEX sanctions_by_room ON sanctions (room_id, at, sanction_id);
CREATE INDEX sanctions_by_user ON sanctions (user_id, at, sanction_id);
CREATE INDEX sanctions_by_time ON sanctions (at, sanction_id);

CREATE TABLE blocks (
    user_id    bigint NOT NULL,
    blocked_id bigint NOT NULL,
    at         bigint NOT NULL,
    PRIMARY KEY (user_id, blocked_id)
);

-- What users let others see. Beside users, because it changes with every last connection. status: 0 online, 1 away,
-- 2 busy, 3 invisible.
CREATE TABLE user_presence (
    user_id      bigint PRIMARY KEY,
    last_seen_at bigint,
    status       smallint NOT NULL DEFAULT 0,
    message      text
) WITH (fillfactor = 70);

-- The index of words, filled behind the writes; it can be made again from the events. tsv also holds two lexemes that no
-- text has, U+0001 followed by r<room_id> and by u<author_id>: so one index serves the filters too.
CREATE TABLE search (
    room_id    bigint NOT NULL,
    message_id bigint NOT NULL,
    author_id  bigint NOT NULL,
    at         bigint NOT NULL,
    tsv        tsvector NOT NULL,
    PRIMARY KEY (room_id, message_id)
);
-- What waits to be merged into it is read by each query: not more than 1 MiB.
CREATE INDEX search_words ON search USING gin (tsv) WITH (gin_pending_list_limit = 1024);
CREATE INDEX search_newest ON search (at);
-- Up to where the events of a room are in the index.
CREATE TABLE search_position (
    room_id bigint PRIMARY KEY,
    seq     bigint NOT NULL
) WITH (fillfactor = 50);

-- Lets work in the background pass only while its server holds the database (see veza_fence, veza_begin).
CREATE FUNCTION veza_hold(holder bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    stored bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(8513412, 2);
    SELECT epoch INTO stored FROM current_epoch;
    IF stored <> holder THEN
        RAISE EXCEPTION 'the database belongs to server %, not %', stored, holder USING ERRCODE = 'VZ002';
    END IF;
END
$$;

-- The last event of a room before this time, as far as the clock went forward only: a search by halves over the seqs,
-- which have no holes above the floor. 0: there is none.
CREATE FUNCTION veza_seq_before(p_room bigint, p_at bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    low bigint := coalesce((SELECT floor_seq FROM rooms WHERE room_id = p_room), 0);
    high bigint := coalesce((SELECT max(seq) FROM events WHERE room_id = p_room), 0) + 1;
    middle bigint;
BEGIN
    -- Of the room's seqs, low is before the time and high is not.
    WHILE high - low > 1 LOOP
        middle := (low + high) / 2;
        IF (SELECT at FROM events WHERE room_id = p_room AND seq = middle) < p_at THEN
            low := middle;
        ELSE
            high := middle;
        END IF;
    END LOOP;
    RETURN low;
END
$$;
