-- What is inserted into `nahook_trigger` keeps to the length that the workspace allows for a payload, in bytes. The store's own calls, which
-- give the time, are not held to plans: they are the app's, and callers over HTTP have been checked before.
CREATE TRIGGER nahook_trigger_limit INSTEAD OF INSERT ON nahook_trigger WHEN NEW.accepted_at IS NULL
BEGIN
    SELECT RAISE(ABORT, 'nahook: the payload is larger than the workspace allows')
    WHERE length(CAST(trim(CAST(NEW.payload AS TEXT), char(9, 10, 13, 32)) AS BLOB)) >
        (SELECT payload_len_max FROM nahook_workspace WHERE id = NEW.workspace);
END;
