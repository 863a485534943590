-- What was sent with an idempotency key is found by it. Events without one, all that were triggered, are not in the index.
CREATE INDEX nahook_event_by_key ON nahook_event (idempotency_key) WHERE idempotency_key IS NOT NULL;
