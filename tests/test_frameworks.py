"""It is an ordinary Flask application: what Flask, Werkzeug and Flask-Session document
happens."""

import gc
import os
import signal
import subprocess
import sys

import fakeredis
import flask
import pytest
from flask import signals

import joip_share
from conftest import Visitor
from servers import ROOT


@pytest.fixture
def place():
    settings = joip_share.Settings(ratelimit_enabled=False)
    return joip_share.create_app(settings, fakeredis.FakeStrictRedis())


def test_every_kind_of_hook_runs(place):
    ran = []
    place.before_request(lambda: ran.append("before_request"))
    place.teardown_request(lambda _: ran.append("teardown_request"))
    place.teardown_appcontext(lambda _: ran.append("teardown_appcontext"))

    @place.after_request
    def after(response):
        ran.append("after_request")
        response.headers["X-Extension"] = "here"
        response.call_on_close(lambda: ran.append("call_on_close"))

        @flask.after_this_request
        def never_too_late(response):
            return response

        return response

    @place.context_processor
    def variables():
        ran.append("context_processor")
        return {}

    for path in ("/login", "/healthz", "/api/nowhere"):
        ran.clear()
        answer = place.test_client().get(path)
        answer.close()
        assert answer.headers["X-Extension"] == "here", path
        wanted = {"before_request", "after_request", "teardown_request",
                  "teardown_appcontext", "call_on_close"}  # fmt: skip
        assert wanted <= set(ran), path
        assert ("context_processor" in ran) == (path == "/login")


def test_an_extension_may_answer_before_everything_else(place):
    place.before_request_funcs[None].insert(0, lambda: ("closed for today", 418))
    answer = place.test_client().get("/login")
    assert (answer.status_code, answer.text) == (418, "closed for today")
    assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("request_started", "/healthz"),
        ("request_finished", "/healthz"),
        ("request_tearing_down", "/healthz"),
        ("appcontext_pushed", "/healthz"),
        ("appcontext_popped", "/healthz"),
        ("appcontext_tearing_down", "/healthz"),
        ("before_render_template", "/login"),
        ("template_rendered", "/login"),
        ("got_request_exception", "/finishing-fails"),
    ],
)
def test_every_signal_is_sent(place, name, path):
    heard = []

    def listen(sender, **_):
        heard.append(sender)

    @place.after_request
    def fail(response):
        if flask.request.path == "/finishing-fails":
            raise RuntimeError
        return response

    with getattr(signals, name).connected_to(listen, place):
        place.test_client().get(path)
    assert heard == [place]


def test_flasks_session_is_one_to_read_and_to_write(place):
    place.add_url_rule(
        "/who", "who", lambda: flask.jsonify("userId" in flask.session)
    )  # fmt: skip
    place.add_url_rule("/keep", "keep", lambda: flask.session.update(seen=1) or "kept")
    place.add_url_rule("/kept", "kept", lambda: flask.jsonify(dict(flask.session)))
    stranger, owner = Visitor(place), Visitor(place)
    owner.sign_up()
    assert (stranger.get("/who").json, owner.get("/who").json) == (False, True)
    for person in (stranger, owner):
        assert person.get("/keep").text == "kept"
        assert person.get("/kept").json["seen"] == 1
    assert owner.get("/api/auth/user").status_code == 200
    assert stranger.get("/api/auth/user").status_code == 401


def test_an_error_handler_of_an_extension_comes_first(place):
    place.register_error_handler(LookupError, lambda _: ("looked up in vain", 404))

    @place.get("/lookup")
    def lookup():
        raise LookupError

    assert place.test_client().get("/lookup").text == "looked up in vain"


def test_creating_an_application_leaves_the_process_alone(place):
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_importing_it_connects_to_nothing_and_reads_no_environment():
    script = "import socket\nsocket.socket.connect = None\nimport joip_share\n"
    wrong = {"PORT": "none", "REDIS_URL": "nonsense", "PUBLIC_URL": "nowhere"}
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | wrong,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
