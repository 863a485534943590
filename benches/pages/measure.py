#!/usr/bin/env python3
"""Times every page of the dashboard and of the portal on a large SQLite store.

    benches/pages/measure.py PROGRAM FOLDER [EVENTS] [REQUESTS]

PROGRAM is `nahook` of a release build. The store in FOLDER is made if it is not there: EVENTS events (1,000,000) with ten deliveries
each, one of them to the same busy endpoint; 10,000 endpoints of 1,000 applications; a week of counts. Each page is then requested
REQUESTS times (200), of things chosen at random. The times are those of the client on the same machine, to the last byte; the bytes
of a first load are the page's and those of its assets, as they are sent.
"""

import http.client
import json
import os
import random
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from urllib.parse import urlencode

ENDPOINTS, APPLICATIONS, TYPES, WIDTH = 10_000, 1_000, 50, 10
TOKEN = "nhm_" + "0" * 62 + "e2"
DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
HOUR = 3_600 * 10**9


def id_of(prefix, number):
    return f"{prefix}_" + "".join(DIGITS[number >> 5 * place & 31] for place in reversed(range(26)))


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def make(program, folder):
    manifest = {"workspaces": [{"id": "ws_big", "name": "Big", "event_types": [{"id": "evt_0", "name": "order.type0"}],
                                "endpoints": [], "management_tokens": [{"name": "test", "token": TOKEN}]}]}
    path = os.path.join(folder, "manifest.json")
    with open(path, "w") as file:
        json.dump(manifest, file)
    subprocess.run([program, "apply", "--data-dir", folder, path], check=True, stdout=subprocess.DEVNULL)


def start(program, folder):
    port = free_port()
    server = subprocess.Popen([program, "serve", "--listen", f"127.0.0.1:{port}", "--operations-listen", "off", "--data-dir", folder,
                               "--sample", "false", "--hold-deliveries", "true"],
                              stdout=subprocess.DEVNULL, stderr=open(os.path.join(folder, "log"), "a"))
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return server, port
        except OSError:
            if server.poll() is not None:
                sys.exit(f"the server has ended; see {folder}/log")
            time.sleep(0.1)


def stop(server):
    server.terminate()
    server.wait()


def fill(path, events):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA cache_size = -1000000")
    workspace, = db.execute("SELECT row FROM nahook_workspace WHERE id = 'ws_big'").fetchone()
    environment, = db.execute("SELECT row FROM nahook_environment WHERE is_default").fetchone()
    now = time.time_ns()
    db.execute("BEGIN")
    db.executemany("INSERT INTO nahook_event_type (id, workspace, name, created_at) VALUES (?, ?, ?, ?)",
                   [(f"evt_{n}", workspace, f"order.type{n}", now) for n in range(1, TYPES)])
    db.executemany("INSERT INTO nahook_application (id, workspace, external_id, name, metadata, show_event_types, created_at,"
                   " updated_at) VALUES (?, ?, ?, ?, '{}', 1, ?, ?)",
                   [(f"app_{n}", workspace, f"customer-{n}", f"Customer {n}", now, now) for n in range(APPLICATIONS)])
    first_application, = db.execute("SELECT min(row) FROM nahook_application").fetchone()
    db.executemany("INSERT INTO nahook_endpoint (id, workspace, environment, application, url, kind, config, metadata, secret,"
                   " is_active, failing_since, created_at, updated_at) VALUES (?, ?, ?, ?, ?, 0, '{}', '{}',"
                   " 'whsec_dGVzdF93ZWJob29rX3NpZ25pbmdfa2V5XzMyYnl0ZXMh', ?, ?, ?, ?)",
                   [(f"ep_{n}", workspace, environment, first_application + n % APPLICATIONS,
                     f"https://customer-{n % APPLICATIONS}.example/hooks/{n}", n % 100 != 7,
                     now - HOUR if n % 100 == 3 else None, now, now) for n in range(ENDPOINTS)])
    first, = db.execute("SELECT min(row) FROM nahook_endpoint").fetchone()
    types = [row for row, in db.execute("SELECT row FROM nahook_event_type")]
    db.executemany("INSERT INTO nahook_subscription (id, workspace, endpoint, event_type, created_at) VALUES (?, ?, ?, ?, ?)",
                   [(f"sub_{n}_{k}", workspace, first + n, types[(n + k) % TYPES], now)
                    for n in range(ENDPOINTS) for k in range(5)])
    db.executemany("INSERT INTO nahook_audit_entry (id, workspace, actor_kind, actor_id, actor_label, action, resource_type,"
                   " resource_id, metadata, created_at) VALUES (?, ?, 'operator', 'op', 'Operator', ?, 'endpoint', ?, '{}', ?)",
                   [(f"aud_{n}", workspace, ("endpoint.created", "endpoint.updated")[n % 2], f"ep_{n % ENDPOINTS}", now)
                    for n in range(100_000)])
    counts = b"".join(n.to_bytes(8, "little") for n in [100, 90, 10, 1] + [8] * 17)
    hour = now // HOUR * HOUR
    rows = [(workspace, endpoint, 1, hour - n * HOUR, counts) for endpoint in [0, *range(first, first + ENDPOINTS)] for n in range(168)]
    rows += [(workspace, 0, 0, now // (HOUR // 60) * (HOUR // 60) - n * HOUR // 60, counts) for n in range(1440)]
    db.executemany("INSERT OR IGNORE INTO nahook_counts (workspace, endpoint, period, start, counts) VALUES (?, ?, ?, ?, ?)", rows)
    db.execute("COMMIT")
    # The events of the last five days, and what became of them: of a hundred deliveries one is a dead letter, one has failed, one is
    # to be retried tomorrow, and the others are delivered.
    payload = json.dumps({"order": 123, "lines": [{"sku": "x" * 20, "count": 3}] * 5}).encode()
    step = 5 * 24 * HOUR // events
    random.seed(1)
    for begin in range(0, events, 100_000):
        batch = range(begin, min(begin + 100_000, events))
        made, deliveries, attempts = [], [], []
        for n in batch:
            at = now - (events - n) * step
            seq = n + 1
            message = (at // 10**6 << 80 | random.getrandbits(79)).to_bytes(16, "big")
            metadata = json.dumps({"order": str(n), "customer": f"customer-{n % APPLICATIONS}"})
            made.append((seq, message, workspace, types[n % TYPES], at, WIDTH, metadata, payload))
            for ordinal in range(WIDTH):
                endpoint = first if ordinal == 0 else first + 1 + (n * (WIDTH - 1) + ordinal) % (ENDPOINTS - 1)
                chance = (n * 7 + ordinal * 31) % 100
                status = {0: 4, 1: 3, 2: 1}.get(chance, 2)
                key = (seq << 20) + ordinal
                due = now + 24 * HOUR if status == 1 else None
                end = at + 10**8
                deliveries.append((key, endpoint, status, 1, due, at + 10**7, end if status == 2 else None, end))
                code = 200 if status == 2 else 500
                attempts.append((key, 1, at + 10**7, 9 * 10**7, code, None if code == 200 else "the endpoint answered with status 500",
                                 None if code == 200 else "<h1>oops</h1>"))
        db.execute("BEGIN")
        db.executemany("INSERT INTO nahook_event (seq, id, workspace, event_type, accepted_at, width, metadata, payload)"
                       " VALUES (?, ?, ?, ?, ?, ?, ?, ?)", made)
        db.executemany("INSERT INTO nahook_delivery (key, endpoint, status, attempts, due_at, first_attempt_at, delivered_at, updated_at)"
                       " VALUES (?, ?, ?, ?, ?, ?, ?, ?)", deliveries)
        db.executemany("INSERT INTO nahook_attempt (delivery, number, started_at, duration, status_code, error, response_body)"
                       " VALUES (?, ?, ?, ?, ?, ?, ?)", attempts)
        db.execute("COMMIT")
        print(f"\r{batch[-1] + 1} events", end="", file=sys.stderr)
    # What a search by key finds.
    db.execute("UPDATE nahook_event SET idempotency_key = CAST('order ' || seq AS BLOB) WHERE seq % 100 = 0")
    db.execute("UPDATE nahook_catalog_state SET version = version + 1")
    db.close()
    print(file=sys.stderr)


class Browser:
    """Keeps a connection, a cookie and the token of forms."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.cookie, self.token = "", ""

    def send(self, method, path, form=None, gzip=False):
        headers = {"cookie": self.cookie}
        if gzip:
            headers["accept-encoding"] = "gzip"
        body = None
        if form is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
            body = urlencode({"form_token": self.token, **form})
        began = time.perf_counter()
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        took = (time.perf_counter() - began) * 1_000
        for cookie in answer.headers.get_all("set-cookie", []):
            self.cookie = cookie.split(";")[0]
        return answer.status, text, took, len(text) + len(str(answer.headers)), answer.headers.get("location")

    def enter(self, path):
        _, text, *_ = self.send("GET", path)
        self.token = re.search(rb'name="form_token" value="([0-9a-f]+)"', text).group(1).decode()

    def assets(self, path):
        _, text, *_ = self.send("GET", path)
        names = set(re.findall(rb'"(/[^"]*/assets/[^"]+)"', text))
        return sum(self.send("GET", name.decode(), gzip=True)[3] for name in names)


def pages(db, events):
    """Names of pages with functions that draw a path of each."""
    def event():
        return int.from_bytes(db.execute("SELECT id FROM nahook_event WHERE seq = ?", [random.randint(1, events)]).fetchone()[0], "big")

    def delivery():
        return id_of("del", event() + 1 + random.randrange(WIDTH))

    def endpoint():
        return f"ep_{random.randrange(ENDPOINTS)}"

    def old():
        return id_of("msg", event())

    dashboard = {
        "overview": lambda: "",
        "overview, a week": lambda: "?span=week",
        "search by a customer": lambda: f"/search?q=customer-{random.randrange(APPLICATIONS)}",
        "search by a part of names": lambda: "/search?q=customer",
        "search by a URL": lambda: f"/search?q=hooks/{random.randrange(ENDPOINTS)}",
        "search by a late order": lambda: f"/search?q={random.randrange(events - 900, events)}",
        "search by a label": lambda: f"/search?q=order%3D{random.randrange(events - 9_000, events)}",
        "search by a key": lambda: f"/search?q=order+{random.randrange(1, events // 100) * 100}",
        "search that finds nothing": lambda: "/search?q=nothing",
        "events": lambda: "/events",
        "events, an old page": lambda: f"/events?before={old()}",
        "events of a type": lambda: f"/events?type=evt_{random.randrange(TYPES)}",
        "events by a label": lambda: f"/events?q=order%3D{random.randrange(events - 5_000, events)}",
        "events by a label that no one has": lambda: "/events?q=order%3Dnone",
        "events by a key": lambda: f"/events?q=order+{random.randrange(1, events // 100) * 100}",
        "event": lambda: f"/events/{old()}",
        "endpoints": lambda: "/endpoints",
        "endpoints, the last page": lambda: f"/endpoints?from={ENDPOINTS - 100}",
        "endpoints that fail": lambda: "/endpoints?state=failing",
        "endpoints that are disabled": lambda: "/endpoints?state=disabled",
        "endpoints by a part of the URL": lambda: f"/endpoints?q=hooks/{random.randrange(ENDPOINTS)}",
        "endpoint": lambda: f"/endpoints/{endpoint()}",
        "busy endpoint": lambda: "/endpoints/ep_0",
        "busy endpoint, dead letters": lambda: "/endpoints/ep_0?status=dead_letter",
        "busy endpoint, pending": lambda: "/endpoints/ep_0?status=pending",
        "busy endpoint, an old page": lambda: f"/endpoints/ep_0?before={delivery()}",
        "busy endpoint, disable": lambda: "/endpoints/ep_0/disable",
        "busy endpoint, delete": lambda: "/endpoints/ep_0/delete",
        "busy endpoint, retry": lambda: "/endpoints/ep_0/retry",
        "endpoint, change": lambda: f"/endpoints/{endpoint()}/edit",
        "endpoint, subscriptions": lambda: f"/endpoints/{endpoint()}/subscriptions",
        "endpoint, rotate": lambda: f"/endpoints/{endpoint()}/rotate",
        "new endpoint": lambda: "/endpoints/new",
        "delivery": lambda: f"/deliveries/{delivery()}",
        "payload": lambda: f"/deliveries/{delivery()}/payload",
        "event types": lambda: "/event-types",
        "event type": lambda: f"/event-types/evt_{random.randrange(TYPES)}",
        "event type, delete": lambda: f"/event-types/evt_{random.randrange(TYPES)}/delete",
        "environments": lambda: "/environments",
        "applications": lambda: "/applications",
        "applications by name": lambda: f"/applications?q=customer+{random.randrange(APPLICATIONS)}",
        "applications, the last page": lambda: f"/applications?from={APPLICATIONS - 50}",
        "application": lambda: f"/applications/app_{random.randrange(APPLICATIONS)}",
        "application, delete": lambda: f"/applications/app_{random.randrange(APPLICATIONS)}/delete",
        "keys": lambda: "/keys",
        "audit log": lambda: "/audit",
        "audit log, an old page": lambda: "/audit?from=90000",
        "audit log of an action": lambda: "/audit?action=endpoint.created",
        "system": lambda: "/system",
        "trigger": lambda: "/trigger",
    }
    portal = {
        "portal: endpoints": lambda: "/endpoints",
        "portal: endpoint": lambda: f"/endpoints/ep_{APPLICATIONS * random.randrange(ENDPOINTS // APPLICATIONS)}",
        "portal: event types": lambda: "/event-types",
        "portal: new endpoint": lambda: "/endpoints/new",
    }
    return dashboard, portal


def processor(pid):
    """Seconds of processor time that the process has taken."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def view(port, cookie, over):
    """Does what a browser does that shows the overview: loads it anew whenever the stream says so."""
    browser, seen = Browser(port), None
    browser.cookie = cookie
    while not over.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port)
        headers = {"cookie": cookie, "accept": "text/event-stream"}
        if seen:
            headers["last-event-id"] = seen
        connection.request("GET", "/dashboard/live", headers=headers)
        text = connection.getresponse().read().decode()
        connection.close()
        seen = re.findall(r"^id: (.*)$", text, re.M)[-1]
        if "event: changed" in text:
            browser.send("GET", "/dashboard")
        over.wait(int(re.findall(r"^retry: (.*)$", text, re.M)[-1]) / 1_000)


def live_views(pid, port, operator):
    """Says what ten live views cost while nothing happens, and while an event a second does."""
    print("\n| live views | events a second | of a processor |\n| --: | --: | --: |")
    for events in (0, 1):
        for views in (0, 10):
            over = threading.Event()
            threads = [threading.Thread(target=view, args=(port, operator.cookie, over)) for _ in range(views)]
            for thread in threads:
                thread.start()
            time.sleep(3)
            began, taken = time.monotonic(), processor(pid)
            for _ in range(40):
                if events:
                    operator.send("POST", "/dashboard/trigger", {"event_type": "evt_1", "payload": "{}", "step": "send"})
                time.sleep(1)
            share = (processor(pid) - taken) / (time.monotonic() - began) * 100
            print(f"| {views} | {events} | {share:.2f} % |", flush=True)
            over.set()
            for thread in threads:
                thread.join()


def main():
    program, folder = sys.argv[1:3]
    events = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
    requests = int(sys.argv[4]) if len(sys.argv) > 4 else 200
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "nahook.db")
    if not os.path.exists(path):
        make(program, folder)
        fill(path, events)
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    events, = db.execute("SELECT max(seq) FROM nahook_event").fetchone()
    server, port = start(program, folder)
    try:
        operator = Browser(port)
        assert operator.send("POST", "/dashboard/sign-in", {"token": TOKEN})[0] == 303
        operator.enter("/dashboard/system")
        _, text, *_ = operator.send("POST", "/dashboard/applications/app_0/portal", {"role": "admin"})
        customer = Browser(port)
        code = re.search(rb"/portal\?code=[^\"<]+", text).group(0).decode()
        assert customer.send("GET", code)[0] == 303
        dashboard, portal = pages(db, events)
        print(f"| page | median | 99 % | most | bytes on first load |\n| --- | --: | --: | --: | --: |")
        for browser, base, table in [(operator, "/dashboard", dashboard), (customer, "/portal", portal)]:
            assets = browser.assets(f"{base}/endpoints/new")
            for name, draw in table.items():
                times, sizes = [], []
                for _ in range(requests):
                    path = base + draw()
                    status, _, took, size, to = browser.send("GET", path)
                    if status == 303:
                        status, _, more, size, _ = browser.send("GET", to)
                        took += more
                    if status != 200:
                        sys.exit(f"{path}: {status} {to}")
                    times.append(took)
                    sizes.append(size)
                times.sort()
                show = [times[len(times) // 2], times[(len(times) * 99 - 1) // 100], times[-1]]
                print(f"| {name} |" + "".join(f" {value:.1f} ms |" for value in show) + f" {max(sizes) + assets:,} |", flush=True)
        live_views(server.pid, port, operator)
    finally:
        stop(server)


if __name__ == "__main__":
    main()
