#!/usr/bin/env python3
"""Takes deliveries off nahook's stream on NATS, in the place of nahook's own workers.

    pip install nats-py
    python nats_consumer.py nats://127.0.0.1:4222 [--prefix nahook] [--count N]

Prints one line of JSON a delivery. A record is acknowledged once all of its deliveries are done; whatever ends this program
before that, the server gives the record to another consumer, so a delivery may be seen twice, under the same id. The format is
described in nahook-nats/FORMAT.md.
"""

import argparse
import asyncio
import json

import nats
from nats.errors import TimeoutError as NothingYet

# The newest version of the format that this program knows.
FORMAT = 1


async def handle(event, payload, delivery, endpoint, attempts):
    """What to do with one delivery. `payload` are the bytes to send, as whoever triggered the event sent them."""
    line = {
        "delivery": delivery,
        "message": event["message"],
        # Absent where a payload was sent to one endpoint directly.
        "event_type": event.get("event_type_name"),
        "endpoint": endpoint,
        "attempts": attempts,
        "payload": payload.decode(),
    }
    print(json.dumps(line), flush=True)


def payloads_of(record):
    """Where each event's payload is in the body: parsing and writing it again might change it, and with it the signature."""
    ranges = record.headers.get("Nahook-Payloads", "").split(",")
    for start, length in (map(int, part.split("+")) for part in ranges if part):
        yield record.data[start : start + length]


async def consume(server, prefix, count):
    connection = await nats.connect(server)
    # Nahook makes the stream and its one consumer, which whoever works on it shares.
    stream = prefix.replace(".", "-").upper() + "_DELIVERIES"
    records = await connection.jetstream().pull_subscribe_bind("workers", stream)
    done = 0
    while count is None or done < count:
        try:
            batch = await records.fetch(16, timeout=1)
        except NothingYet:
            continue
        for record in batch:
            body = json.loads(record.data)
            if body["format"] > FORMAT:
                raise SystemExit(f"the record has format {body['format']}: a newer program is needed")
            for event, payload in zip(body["events"], payloads_of(record)):
                for delivery, endpoint, *rest in event["deliveries"]:
                    await handle(event, payload, delivery, endpoint, rest[0] if rest else 0)
                    done += 1
            await record.ack_sync()
    await connection.close()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("server")
    arguments.add_argument("--prefix", default="nahook")
    arguments.add_argument("--count", type=int, help="end after so many deliveries")
    given = arguments.parse_args()
    asyncio.run(consume(given.server, given.prefix, given.count))
