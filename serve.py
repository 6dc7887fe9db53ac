"""Joip Share in production: waitress with its options, its socket, and how it stops.

    REDIS_URL=redis://… PUBLIC_URL=https://… python serve.py

The settings are joip_share's, and HOST: the address on which PORT is opened, by default
127.0.0.1, where the proxy is. A socket that systemd hands over (sd_listen_fds(3)) is
used instead; deploy/joip-share@.socket makes one.
"""

from __future__ import annotations

import gc
import os
import queue
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import waitress
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask, WSGITask

import joip_share
import openapi
from headers import JSON, NO_STORE, NOSNIFF
from joip_share import JoipShare
from problems import Problem, code_of
from records import to_json
from wsgi import accepted_request_id

OPTIONS = {
    "threads": 8,
    "send_bytes": 18_000,  # a usual answer, headers and body, leaves in one write
    "connection_limit": 1000,
    "channel_timeout": 30,  # seconds; the proxy gives its kept connections up at 20
    "asyncore_use_poll": True,  # select() takes no descriptor above 1023
    "max_request_header_size": 32 << 10,
    # The service itself refuses what is over 1 MiB, and 2 MiB as nginx lets through.
    "max_request_body_size": (2 << 20) + (1 << 10),
    "outbuf_overflow": 256 << 10,  # a larger answer waits for its reader on the disk
    "ident": "",
    "clear_untrusted_proxy_headers": False,  # TRUSTED_PROXIES decides
}
LINGER = 1.0  # seconds in which balancers see /readyz turn 503 while we still accept
QUIET = 0.5  # seconds without a request after which a kept connection may be closed
PATIENCE = 8.0  # seconds after which we end in any case


# ------------------------------------------------------------------- One connection


class Parser(HTTPRequestParser):
    """waitress's, but a request that it trips over is answered with 400, and nobody is
    told to go on (RFC 9110, 10.1.1) with a body that is none, or that is refused:
    waitress forgets that such a request is complete, and waits for its rest in vain."""

    def parse_header(self, header_plus: bytes) -> None:
        """Python refuses some addresses and numbers by ValueError, uncaught so far."""
        try:
            super().parse_header(header_plus)
        except ValueError:
            raise ParsingError("The request is malformed") from None
        finally:
            limit = self.adj.max_request_body_size
            if self.body_rcv is None or self.content_length >= limit:
                self.expect_continue = False


class Task(WSGITask):
    """One request."""

    def get_environment(self) -> dict[str, Any]:
        """A link is a secret: once WSGI has the path, waitress's log has it no more."""
        environ: dict[str, Any] = super().get_environment()
        self.request.path = "a request"
        return environ

    def build_response_header(self) -> bytes:
        """Close the connection when stopping, and when the client has asked again
        before it was answered.

        So one connection queues one answer. A thread that waits until the answers to a
        pipeline are read would be held for as long as the client likes.
        """
        stopping = self.channel.server.application.stopping
        if stopping or len(self.channel.requests) > 1:
            self.request.headers["CONNECTION"] = "close"  # as if the client had asked
        header: bytes = super().build_response_header()
        return header


class Refused(ErrorTask):
    """One request that does not get as far as the application: too large, or no HTTP.
    It is answered as every other error is."""

    def execute(self) -> None:
        """Write the whole answer."""
        error = self.request.error
        given = self.request.headers.get("X_REQUEST_ID", "")
        request_id = accepted_request_id(given)
        body = to_json(Problem(code_of(error.code)).body(request_id))
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [
            ("Content-Type", JSON),
            ("X-Request-ID", request_id),
            NOSNIFF,
            NO_STORE,
        ]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Connection(HTTPChannel):
    """One connection; waitress's log names it without the client's address."""

    parser_class = Parser
    task_class = Task
    error_task_class = Refused

    def __repr__(self) -> str:
        return "<Connection>"


# ------------------------------------------------------------------------- Stopping


def stop_when_told(
    told: queue.SimpleQueue[int], app: JoipShare, server: Any, listener: socket.socket
) -> None:
    """Wait for a signal, finish what was accepted, and end waitress's loop."""
    told.get()
    app.stopping = True
    notify("STOPPING=1")
    deadline = time.monotonic() + PATIENCE
    time.sleep(LINGER)
    in_loop(server, lambda: stop_accepting(server, listener))
    while server.active_channels and time.monotonic() < deadline:
        in_loop(server, lambda: close_quiet_connections(server))
        time.sleep(0.02)
    # No thread may be about to wake the loop when its trigger is closed.
    server.task_dispatcher.shutdown(timeout=1)
    in_loop(server, lambda: close(server))


def in_loop(server: Any, step: Callable[[], None]) -> None:
    """Run a step in the thread of waitress's loop, which owns the sockets; wait."""
    done = threading.Event()

    def thunk() -> None:
        try:
            step()
        finally:
            done.set()

    server.trigger.pull_trigger(thunk)
    done.wait(PATIENCE)


def stop_accepting(server: Any, listener: socket.socket) -> None:
    """Accept who is in the queue, and nobody more.

    A socket that was handed over lives on: who connects now waits for the next process.
    Our own is gone, and who connects now is refused.
    """
    while select.select([listener], [], [], 0)[0]:
        server.handle_accept()
    server.accepting = False
    listener.close()


def close_quiet_connections(server: Any) -> None:
    """Close the kept connections on which nothing is asked."""
    for connection in list(server.active_channels.values()):
        if is_quiet(connection):
            connection.handle_close()


def is_quiet(connection: HTTPChannel) -> bool:
    """Whether no request is under way, half sent, or waiting to be read."""
    if connection.requests or connection.request or connection.total_outbufs_len:
        return False
    if time.time() - connection.last_activity < QUIET:
        return False
    try:
        return not connection.socket.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def close(server: Any) -> None:
    """End the loop: it runs while it has a socket."""
    for connection in list(server.active_channels.values()):
        connection.handle_close()
    server.close()


# -------------------------------------------------------------------------- Serving


def handed_over_socket() -> socket.socket | None:
    """The socket that systemd listens on for us (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    if os.environ.get("LISTEN_FDS") != "1":
        raise SystemExit("serve: systemd must hand over one socket, not several")
    try:
        return socket.socket(fileno=3)
    except OSError as error:
        raise SystemExit(f"serve: the socket of LISTEN_FDS: {error}") from None


def new_socket(host: str, port: int) -> socket.socket:
    """A socket of our own, or exit with the reason why there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:  # the latter for what no name can be
        raise SystemExit(f"serve: HOST or PORT will not do: {error}") from None


def notify(state: str) -> None:
    """Tell systemd where we are, if it wants to know (sd_notify(3))."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.connect(f"\0{address[1:]}" if address[0] == "@" else address)
            manager.sendall(state.encode())


def run(app: JoipShare, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; returns when all that was accepted is answered."""
    server: Any = waitress.create_server(app, sockets=[listener], **OPTIONS)
    server.channel_class = Connection
    told: queue.SimpleQueue[int] = queue.SimpleQueue()  # its put() may be interrupted
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: told.put(number))
    threading.Thread(
        target=stop_when_told, args=(told, app, server, listener), daemon=True
    ).start()
    where = server.effective_host, server.effective_port
    joip_share.log.info("Joip Share %s on %s:%s", joip_share.__version__, *where)
    notify("READY=1")
    server.run()


def read_files(app: JoipShare) -> None:
    """Read what answers are made of: `git pull` brings files of the next version, which
    this one must not take up before it is replaced."""
    for template in app.jinja_env.list_templates():
        app.jinja_env.get_template(template)
    for file in os.scandir(str(app.static_folder)):
        if file.is_file():
            app.asset(file.name)
    openapi.document(app.settings.public_url, app.settings.cookie_name)


def main() -> None:
    """Serve Joip Share as the environment says."""
    # resolv.conf(5): a resolver that is silent is asked for ten seconds, else.
    os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:1")
    app = joip_share.create_app()
    host = os.environ.get("HOST") or "127.0.0.1"  # empty: not given, as any setting
    listener = handed_over_socket() or new_socket(host, app.settings.port)
    read_files(app)
    gc.freeze()  # what is made by now stays, and need not be looked through again
    run(app, listener)


if __name__ == "__main__":
    main()
