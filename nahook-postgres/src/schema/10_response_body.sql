-- The start of a receiver's answer, with the attempt. Absent if there was none.
ALTER TABLE {schema}.attempt ADD COLUMN response_body text;

-- A program of the version before calls it without bodies, which may be left out.
DROP FUNCTION IF EXISTS {schema}.record_entries(
    uuid[], text[], text[], text[], bigint[], text[], bytea[], bytea[], integer[],
    integer[], integer[], text[], smallint[], integer[], bigint[], bigint[], bigint[], bigint[], integer[], text[]);
