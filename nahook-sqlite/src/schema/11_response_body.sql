-- The start of a receiver's answer, with the attempt. Absent if there was none.
ALTER TABLE nahook_attempt ADD COLUMN response_body TEXT;
