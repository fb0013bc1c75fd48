"""The server: fifty listeners at once and two kills lose nothing and double nothing; what is no rating is refused."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import listening_kits as kits
import pytest

from lib import REPOSITORY
from lib.errors import OutputError, SpeechError
from lib.listening import kit, ratings, server, store

LISTENERS = 50


def post(port: int, body: bytes | str | dict, path: str = "/ratings", method: str = "POST", **headers) -> tuple:
    """(status, answer, headers)"""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        data = json.dumps(body) if isinstance(body, dict) else body
        connection.request(method, path, data, {"Content-Type": "application/json", **headers})
        reply = connection.getresponse()
        return reply.status, reply.read(), reply.headers
    finally:
        connection.close()


def messages(saved: dict) -> list[dict]:
    """What the page posts, one for each rating."""
    envelope = {name: saved[name] for name in ("format", "test", "group", "number", "listener")}
    return [{**envelope, "rating": rating} for rating in saved["ratings"]]


@pytest.fixture
def running(tmp_path):
    """(port, key, folder, server) of a server in a thread."""
    kits.make(tmp_path)
    with server.Server(tmp_path) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_port, running.key, tmp_path, running
        running.shutdown()


def test_a_rating_is_taken_once_and_the_first_answer_stands(running):
    port, key, folder, _ = running
    message = messages(kits.answered(key, 1, 1))[2]
    assert post(port, message)[0] == 201
    assert post(port, message)[0] == 200
    low = {**message, "rating": {**message["rating"], "values": [message["rating"]["values"][0] % 5 + 1]}}
    assert post(port, low)[0] == 409
    (kept,) = ratings.collected(folder, key)
    assert list(kept.values) == message["rating"]["values"]


def test_pages_are_served_and_the_key_is_not(running):
    port, _, folder, _ = running
    status, page, headers = post(port, None, "/1", "GET")
    assert status == 200 and page == (folder / "listen-1.html").read_bytes()
    assert headers["X-Content-Type-Options"] == "nosniff"
    for path in (
        "/2",
        "/key.json",
        "/../key.json",
        "/%2e%2e/key.json",
        "/ratings.sqlite",
        "/1/../key.json",
        "//",
    ):
        status, body, _ = post(port, None, path, "GET")
        assert status == 404 or body == page, path
        assert b"vits" not in body


@pytest.mark.parametrize(
    "body, status",
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"x"', 400),
        (b"\xff\xfe", 400),
        (b"[" * 9_000, 400),
        (b'{"rating": 1}', 400),
        (b'{"rating": {"trial": {"a": 1}}, "format": "listening-test/1"}', 400),
        (b'{"a": NaN, "rating": {}}', 400),
        (b" " * (server.MAX_BYTES + 1), 413),
    ],
)
def test_what_is_no_rating_is_refused_and_the_server_lives(running, body, status):
    port, key, folder, _ = running
    assert post(port, body)[0] == status
    assert post(port, messages(kits.answered(key, 1, 1))[0])[0] == 201
    assert len(ratings.collected(folder, key)) == 1


def test_other_methods_paths_and_bodies_without_a_length_are_refused(running):
    port, _, _, _ = running
    assert post(port, b"{}", method="PUT")[0] == 405
    assert post(port, None, method="DELETE")[0] == 405
    assert post(port, b"{}", path="/other")[0] == 404
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall(b"POST /ratings HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 411")
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall(b"POST /ratings HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 413")
    status, _, headers = post(port, None, method="OPTIONS")
    assert status == 204 and headers["Access-Control-Allow-Origin"] == "*"


def test_a_client_that_says_more_than_it_sends_leaves_nothing_behind(running):
    port, key, folder, _ = running
    whole = json.dumps(messages(kits.answered(key, 1, 1))[0]).encode()
    for sent in (0, 1, len(whole) // 2, len(whole) - 1):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            raw.sendall(
                b"POST /ratings HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole[:sent]
            )
    assert post(port, whole)[0] == 201
    assert len(ratings.collected(folder, key)) == 1


def test_too_many_at_once_are_told_to_wait(tmp_path):
    kits.make(tmp_path)
    with server.Server(tmp_path, bucket=server.Bucket(rate=0.5, burst=3)) as slow:
        threading.Thread(target=slow.serve_forever, daemon=True).start()
        sent = messages(kits.answered(slow.key, 1, 1))[:5]
        replies = [post(slow.server_port, message) for message in sent]
        slow.shutdown()
    assert [status for status, _, _ in replies] == [201, 201, 201, 429, 429]
    assert 1 <= int(replies[3][2]["Retry-After"]) <= 3


def test_where_the_disk_takes_no_more_the_page_is_told_to_come_back(running):
    port, key, folder, inside = running
    message = messages(kits.answered(key, 1, 1))[0]
    inside.store._file.execute("PRAGMA query_only = ON")  # every write fails, as on a full disk
    status, _, headers = post(port, message)
    assert status == 503 and headers["Retry-After"] == "30" and ratings.collected(folder, key) == []
    inside.store._file.execute("PRAGMA query_only = OFF")
    assert post(port, message)[0] == 201


def test_a_bucket_fills_again():
    bucket = server.Bucket(rate=2, burst=4)
    assert [bucket.take("a", 0.0) > 0 for _ in range(5)] == [False] * 4 + [True]
    assert bucket.take("b", 0.0) == 0
    assert bucket.take("a", 0.0) == pytest.approx(0.5)
    assert [bucket.take("a", 1.0) > 0 for _ in range(3)] == [False, False, True]


def test_a_folder_without_a_key_or_a_port_in_use_is_said(tmp_path, running):
    with pytest.raises(SpeechError, match="key"):
        server.Server(tmp_path / "empty")
    port, _, folder, _ = running
    with pytest.raises(SpeechError, match="another --port"):
        server.Server(folder, port=port)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot keep ratings"):
        store.Store(tmp_path / "file" / "ratings.sqlite")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(folder, port: int) -> subprocess.Popen:
    """A server process that answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lib.listening.server", str(folder), "--port", str(port)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process
        except OSError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
    raise AssertionError("the server never answered")


def listen(port: int, saved: dict, acknowledged: dict, stop: threading.Event) -> None:
    """Post a session as the page does: each rating until it is acknowledged, now and then twice."""
    rng = random.Random(saved["listener"])
    for message in messages(saved):
        while not stop.is_set():
            try:
                status = post(port, message)[0]
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
                continue
            if status in (200, 201):
                acknowledged[saved["listener"], message["rating"]["trial"]] = message["rating"]["values"]
                if rng.random() < 0.8:
                    break
                continue  # as if the answer had been lost on its way
            assert status == 429, status
            time.sleep(0.2)


def test_fifty_listeners_and_two_kills_lose_and_double_nothing(tmp_path):
    kits.make(tmp_path, sentences=2, listeners=LISTENERS)
    key = kit.read_key(tmp_path / "key.json")
    sessions = [kits.answered(key, 1, number, f"{number:08x}") for number in range(1, LISTENERS + 1)]
    port, acknowledged, stop = free_port(), {}, threading.Event()
    process = start(tmp_path, port)
    threads = [threading.Thread(target=listen, args=(port, s, acknowledged, stop)) for s in sessions]
    total = sum(len(s["ratings"]) for s in sessions)
    kills = 0
    try:
        for thread in threads:
            thread.start()
        for share in (0.2, 0.6):
            while len(acknowledged) < share * total and any(t.is_alive() for t in threads):
                time.sleep(0.01)
            assert any(t.is_alive() for t in threads), "all were done before the kill"
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            before = {(r.listener, r.trial) for r in ratings.collected(tmp_path, key)}
            assert before >= set(acknowledged)  # what was acknowledged is on the disk
            process = start(tmp_path, port)
        for thread in threads:
            thread.join(timeout=120)
    finally:
        stop.set()
        process.kill()
        process.wait()
    assert kills == 2
    kept = ratings.collected(tmp_path, key)
    wanted = {(s["listener"], r["trial"]): tuple(r["values"]) for s in sessions for r in s["ratings"]}
    assert len(kept) == total == len(wanted)
    assert {(r.listener, r.trial): r.values for r in kept} == wanted
    with store.Store(tmp_path / "ratings.sqlite") as held:
        assert len(held.all()) == total
