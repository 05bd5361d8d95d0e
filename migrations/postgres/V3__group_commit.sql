-- Batches of several lanes are committed together. Nobody read which batch wrote a row.
ALTER TABLE events
    DROP COLUMN writer_epoch,
    DROP COLUMN writer_number,
    DROP COLUMN writer_lane;

-- Of batches that are written together one must not pass, or its lane has no row yet: nothing of the statement stays.
-- The rows of writer_lanes are the fence: a batch moves those of its lanes, so veza_begin, which takes them away, waits
-- for it; and one that comes later finds none. veza_fence, which also makes them, says for a single batch what is wrong.
CREATE FUNCTION veza_shut() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RAISE EXCEPTION 'the fence did not let these batches pass' USING ERRCODE = 'VZ004';
END
$$;
