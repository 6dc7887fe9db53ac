"""A host of media for the player's tests: good ones, slow, stalling and broken ones.

`clips/film.webm` is twenty seconds of changing colours and a tone, made by

ffmpeg -f lavfi -i "gradients=s=160x90:r=5:d=20:c0=0x0b6e74:c1=0xffd98a:speed=0.02,\
format=yuv420p" -f lavfi -i "sine=f=330:d=20" -c:v libvpx -b:v 8k -crf 50 -g 10 \
-c:a libopus -b:a 6k -ac 1 -cues_to_front 1 -cluster_time_limit 2000 film.webm
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

FILM = (Path(__file__).parent / "clips" / "film.webm").read_bytes()
CAPTIONS = b"""WEBVTT

00:00.000 --> 00:20.000
A <b>wave</b> comes in.
"""
CLUSTER = b"\x1f\x43\xb6\x75"  # what each two seconds of a WebM begin with
STALL = FILM.index(CLUSTER, len(FILM) * 2 // 3)
# A void element (RFC 8794, 11.3.2): chromium sees what came only by blocks of 32 KiB.
VOID = b"\xec\x10\x04\x00\x00" + bytes(0x40000)


def picture(colour: str, width: int = 400, height: int = 300) -> bytes:
    """A picture of one colour."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        f'<path fill="{colour}" d="M0 0h{width}v{height}H0z"/></svg>'
    ).encode()


class MediaServer(ThreadingHTTPServer):
    """Serves /picture/COLOUR, /film.webm and /captions.vtt. `/slow/` in a path holds an
    answer back until `release`, `/stall/` stops a film after two thirds."""

    daemon_threads = True

    def __init__(self, cors: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cors = cors
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: Counter[str] = Counter()
        self.referrers: set[str | None] = set()
        self._held = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self.shutdown()
        self.server_close()

    def release(self) -> None:
        """Let go of everything that is held back, now and later."""
        self._held.set()

    def wait(self) -> None:
        """Wait for `release`."""
        self._held.wait(120)


class Handler(BaseHTTPRequestHandler):
    """One request for a medium, or for a part of it (RFC 9110, Range)."""

    server: MediaServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The medium, as slowly as its path says."""
        path = urlsplit(self.path).path
        self.server.asked[path] += 1
        self.server.referrers.add(self.headers["Referer"])
        body, content_type = self._medium(path.rpartition("/")[2], path)
        if "/slow/" in path:
            self.server.wait()
        if "/stall/" in path:
            body = FILM[:STALL] + VOID + FILM[STALL:]
        self._send(body, content_type, stall="/stall/" in path)

    def _medium(self, name: str, path: str) -> tuple[bytes, str]:
        if name == "film.webm":
            return FILM, "video/webm"
        if name == "captions.vtt":
            return CAPTIONS, "text/vtt"
        if "/picture/" in path:
            return picture(name), "image/svg+xml"
        return b"", ""

    def _send(self, body: bytes, content_type: str, stall: bool) -> None:
        if not body:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, end = self._range(len(body))
        partial = "Range" in self.headers
        self.send_response(206 if partial else 200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-store")
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
        if self.server.cors:
            self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        if stall:
            self.wfile.write(body[start : STALL + len(VOID)])
            self.server.wait()
        else:
            self.wfile.write(body[start:end])

    def _range(self, length: int) -> tuple[int, int]:
        given = self.headers.get("Range", "bytes=0-").removeprefix("bytes=")
        first, _, last = given.partition("-")
        return int(first), min(int(last), length - 1) + 1 if last else length

    def handle(self) -> None:
        """As ever, but a browser may close a connection when it wants."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
