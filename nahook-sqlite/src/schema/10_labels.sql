-- What is inserted into `nahook_trigger` keeps to the rule for labels, which the table of rules has for every way in.
CREATE TRIGGER nahook_trigger_labels INSTEAD OF INSERT ON nahook_trigger
WHEN CASE WHEN json_valid(NEW.metadata) THEN json_type(NEW.metadata) END IS 'object'
BEGIN
    SELECT RAISE(ABORT, 'nahook: metadata has at most 5 labels, with keys of at most 128 and values of at most 1024 characters')
    WHERE (SELECT count(*) FROM json_each(NEW.metadata)) > 5
        OR EXISTS (SELECT 1 FROM json_each(NEW.metadata) WHERE length(key) > 128 OR length(value) > 1024);
END;
