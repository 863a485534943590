-- What was sent with an idempotency key is found by it. Events without one, all that were triggered, are not in the index.
CREATE INDEX event_by_key ON {schema}.event (idempotency_key, seq) WHERE idempotency_key IS NOT NULL;
