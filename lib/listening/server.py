"""Where do pages send ratings, if somebody wants to run a server? One process, the standard library, one SQLite
file.

    python -m lib.listening.server outputs/quick/listening --port 8600

serves the folder's pages at /1, /2 ... and takes ratings at /ratings: checked against the key, each page of a
listener once, on the disk before it is acknowledged. The key itself is never served. It speaks plain HTTP: over
the internet, put it behind a proxy that adds TLS, and make the kit with that address (`post`).

| status | when |
|---|---|
| 201, 200 | taken; it was here already |
| 400, 404, 405, 411 | not a rating of this test; no such page; another method; no length |
| 409 | this listener answered the page otherwise before: the first answer stands |
| 413, 429 | more than 16 KiB; too many at once from one address (with Retry-After) |
| 503 | the disk takes no more: the page keeps the rating and tries again |
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lib.errors import OutputError, SpeechError
from lib.listening import kit, ratings, store

log = logging.getLogger(__name__)

MAX_BYTES = 16 * 1024
PATIENCE_S = 10  # how long a client may take to say what it wants
_ANSWER = {store.NEW: HTTPStatus.CREATED, store.SAME: HTTPStatus.OK, store.OTHER: HTTPStatus.CONFLICT}


class Bucket:
    """How many requests an address may make: `burst` at once, `rate` a second in the long run."""

    def __init__(self, rate: float = 20, burst: int = 100):
        self.rate, self.burst = rate, burst
        self._left: dict[str, tuple[float, float]] = {}  # address -> (requests left, when)
        self._lock = threading.Lock()

    def take(self, address: str, now: float) -> float:
        """0 where a request may pass, else the seconds until one may."""
        with self._lock:
            left, then = self._left.get(address, (float(self.burst), now))
            left = min(self.burst, left + (now - then) * self.rate)
            if len(self._left) > 10_000:  # those that filled up again say nothing
                full = [a for a, (n, t) in self._left.items() if n + (now - t) * self.rate >= self.burst]
                for each in full:
                    del self._left[each]
            allowed = left >= 1
            self._left[address] = (left - allowed, now)
            return 0.0 if allowed else (1 - left) / self.rate


class Server(ThreadingHTTPServer):
    """Pages and ratings of one folder. Use as a context, or `serve_forever`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, folder: str | Path, host: str = "127.0.0.1", port: int = 0, bucket: Bucket | None = None
    ):
        self.folder, self.bucket = Path(folder), bucket or Bucket()
        self.key = kit.read_key(self.folder / "key.json")
        self.store = store.Store(self.folder / "ratings.sqlite")
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            self.store.close()
            raise SpeechError(
                f"cannot listen on {host}:{port} ({error.strerror}): choose another --port"
            ) from error

    def handle_error(self, request: object, client_address: tuple) -> None:
        log.warning("%s went away", client_address[0], exc_info=True)

    def server_close(self) -> None:
        super().server_close()
        self.store.close()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "listening", ""
    timeout = PATIENCE_S

    def do_GET(self) -> None:
        number = self.path.split("?")[0].strip("/") or "1"
        path = self.server.folder / f"listen-{number}.html"
        if not (number.isascii() and number.isdigit() and len(number) < 5 and path.is_file()):
            return self._say(HTTPStatus.NOT_FOUND, "no such page")
        self._send(HTTPStatus.OK, path.read_bytes(), "text/html; charset=utf-8")

    def do_OPTIONS(self) -> None:
        self._send(HTTPStatus.NO_CONTENT, b"", "text/plain")

    def do_POST(self) -> None:
        if self.path != "/ratings":
            return self._refuse(HTTPStatus.NOT_FOUND, "ratings go to /ratings")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            return self._refuse(HTTPStatus.LENGTH_REQUIRED, "say how long it is")
        if len(length) > 9 or int(length) > MAX_BYTES:
            return self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"no rating has more than {MAX_BYTES} bytes"
            )
        wait = self.server.bucket.take(self.client_address[0], time.monotonic())
        if wait:
            return self._refuse(HTTPStatus.TOO_MANY_REQUESTS, "slowly", {"Retry-After": str(int(wait) + 1)})
        try:
            body = self.rfile.read(int(length))
        except OSError:  # the client went away
            self.close_connection = True
            return
        if len(body) < int(length):
            self.close_connection = True
            return
        try:
            said = json.loads(body)
            rating = said.pop("rating") if isinstance(said, dict) else None
            taken = ratings.checked(said, rating, self.server.key)
        except (ValueError, KeyError, RecursionError) as error:
            return self._say(HTTPStatus.BAD_REQUEST, str(error) or "not a rating")
        envelope = {"format": kit.FORMAT, "test": taken.test, "group": taken.group}
        envelope |= {"number": taken.number, "listener": taken.listener}
        kept = {"trial": taken.trial, "clips": list(taken.clips), "values": list(taken.values)}
        kept |= {"plays": list(taken.plays), "seconds": taken.seconds, "at": taken.at}
        try:
            outcome = self.server.store.add(envelope, kept)
        except OutputError as error:  # a full disk: the page keeps the rating and tries again
            log.error("%s", error)
            return self._say(HTTPStatus.SERVICE_UNAVAILABLE, "cannot be kept now", {"Retry-After": "30"})
        self._say(_ANSWER[outcome], outcome)

    def __getattr__(self, name: str):
        if name.startswith("do_"):  # http.server would answer 501 and an HTML page
            return lambda: self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "GET pages, POST ratings")
        raise AttributeError(name)

    def _refuse(self, status: HTTPStatus, why: str, headers: dict[str, str] | None = None) -> None:
        """Answer without reading the body: the connection cannot be used again."""
        self.close_connection = True
        self._say(status, why, {"Connection": "close", **(headers or {})})

    def _say(self, status: HTTPStatus, what: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps({"answer": what[:200]}).encode(), "application/json", headers)

    def _send(self, status: HTTPStatus, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Access-Control-Allow-Origin": "*",  # a page opened from a disk or another host may send its ratings
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": "Content-Type",
            "Access-Control-Expose-Headers": "Retry-After",
            "Access-Control-Max-Age": "86400",
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        log.info("%s %s", self.address_string(), format % arguments)


def main(arguments: list[str] | None = None) -> int:
    """Command line; serves until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m lib.listening.server", description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=Path, help="with key.json and listen-*.html, as 07_listening_test makes it"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="0.0.0.0 for the network (default: this machine only)"
    )
    parser.add_argument("--port", type=int, default=8600)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        with Server(options.folder, options.host, options.port) as server:
            print(f"http://{options.host}:{server.server_port}/1", flush=True)
            server.serve_forever()
    except KeyboardInterrupt:
        return 0
    except SpeechError as error:
        print(f"lib.listening.server: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
