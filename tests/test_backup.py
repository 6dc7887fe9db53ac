"""The README's way to back up and to restore, with deploy/redis.conf as it stands."""

import re
import subprocess
import sys
import threading

import pytest
import redis

from servers import ROOT, Client, Process, Service, contents, free_port, need, wait_for


class ShippedRedis(Process):
    """A redis-server with deploy/redis.conf, in a folder of its own."""

    def __init__(self, folder):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, protocol=2)
        command = [need("redis-server"), ROOT / "deploy" / "redis.conf"]
        options = ["--port", str(self.port), "--dir", str(folder)]
        options += ["--repl-diskless-sync-delay", "0"]  # redis-cli comes as a replica
        super().__init__([*command, *options], folder / "redis.log")
        self.wait_until(self.client.ping, "redis-server")


@pytest.fixture
def shipped(tmp_path):
    folder = tmp_path / "first"
    folder.mkdir()
    with ShippedRedis(folder) as server:
        yield server


def back_up(server, folder):
    """As the README says it."""
    backup = folder / "backup.rdb"
    command = [need("redis-cli"), "-p", str(server.port), "--rdb", str(backup)]
    subprocess.run(command, check=True, capture_output=True)
    return backup


def restore(backup, folder):
    """As the README says it, into a folder that a new Redis will use."""
    command = [ROOT / "deploy" / "restore.sh", backup, folder]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def check(server):
    """The exit status and the output of `flask --app maintain check`."""
    environ = {"REDIS_URL": server.url, "PUBLIC_URL": "http://127.0.0.1:8000"}
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "maintain", "check", "--repair"],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def sign_up(service):
    client = Client(service.url)
    given = {"email": "ada@example.org", "password": "a long pass-phrase"}
    assert client.post("/api/register", json=given).status_code == 201
    return client


def make_and_share(client):
    """A shared session; its code."""
    made = client.post("/api/sessions", json={"title": "Lisbon"})
    assert made.status_code == 201, made.text
    shared = client.post(f"/api/sessions/{made.json()['id']}/share")
    return shared.json()["shareCode"]


def test_a_backup_is_restored_under_the_shipped_configuration(tmp_path, shipped):
    with Service(tmp_path, shipped.url, RATELIMIT_ENABLED="0") as service:
        client = sign_up(service)
        code = make_and_share(client)
    before = contents(shipped.client)
    backup = back_up(shipped, tmp_path)
    shipped.stop()
    second = tmp_path / "second"
    second.mkdir()
    restored = restore(backup, second)
    assert restored.returncode == 0, restored.stderr
    for _ in range(2):  # what was restored is there after another start, too
        with ShippedRedis(second) as server:
            assert contents(server.client) == before
    with ShippedRedis(second) as server, Service(tmp_path, server.url) as service:
        assert check(server)[0] == 0
        preview = Client(service.url).get(f"/api/shared/{code}/preview")
        assert preview.json()["title"] == "Lisbon"


def as_written(pattern, **here):
    """A command of the page on operations, with what is different here."""
    [line] = re.findall(pattern, (ROOT / "docs" / "operations.md").read_text(), re.M)
    for written, instead in here.items():
        assert written in line
        line = line.replace(written, str(instead))
    return line


@pytest.mark.parametrize(
    ("pattern", "redis_cli", "more"),
    [
        (r"^    0 3 \* \* \* (.*)$", "redis-cli", {"/var/backups/": "", r"\%": "%"}),
        (r"^    (\(umask.*\))  +#", "redis-cli", {}),
        (r"^    (.* > backup.rdb\))$", "docker compose exec -T redis redis-cli", {}),
    ],
)
def test_a_backup_is_for_nobody_elses_eyes(tmp_path, shipped, pattern, redis_cli, more):
    shipped.client.set("a", "key")
    line = as_written(pattern, **{redis_cli: f"redis-cli -p {shipped.port}"}, **more)
    folder = tmp_path / "backups"
    folder.mkdir()
    subprocess.run(
        ["/bin/sh", "-c", f"umask 022; {line}"], cwd=folder, check=True,
        capture_output=True,
    )  # fmt: skip
    [backup] = folder.iterdir()
    assert backup.stat().st_mode & 0o777 == 0o600
    subprocess.run([need("redis-check-rdb"), backup], check=True, capture_output=True)


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_compose_restores_over_is_kept(tmp_path, shipped, is_whole):
    shipped.client.set("a", "key")
    backup = back_up(shipped, tmp_path)
    shipped.client.set("another", "key")
    shipped.stop()
    if not is_whole:
        backup.write_bytes(backup.read_bytes()[:-9])
    volume = shipped.log.parent
    here = {"/from/backup.rdb": backup, "/from": ROOT, "/data": volume}
    script = as_written(r"^        '(.*restore.sh.*)'$", **here)
    done = subprocess.run(["/bin/sh", "-c", script], check=False, capture_output=True)
    assert (done.returncode == 0) == is_whole
    if is_whole:
        with ShippedRedis(volume) as server:
            assert server.client.keys() == [b"a"]
        (volume / "appendonlydir").rename(tmp_path / "restored")
    (volume / "old").rename(volume / "appendonlydir")
    with ShippedRedis(volume) as server:
        assert {*server.client.keys()} == {b"a", b"another"}


def test_a_backup_under_load_has_all_that_was_acknowledged_before_it(tmp_path, shipped):
    done = threading.Event()
    codes = []
    with Service(tmp_path, shipped.url, RATELIMIT_ENABLED="0") as service:
        client = sign_up(service)

        def share_on():
            while not done.is_set():
                codes.append(make_and_share(client))

        thread = threading.Thread(target=share_on)
        thread.start()
        wait_for(lambda: len(codes) > 20, what="the first shares")
        acknowledged = list(codes)
        backup = back_up(shipped, tmp_path)
        wait_for(lambda: len(codes) > len(acknowledged) + 20, what="more shares")
        done.set()
        thread.join()
    second = tmp_path / "second"
    second.mkdir()
    assert restore(backup, second).returncode == 0
    with ShippedRedis(second) as server:
        status, said = check(server)
        assert status == 0, said
        with Service(tmp_path, server.url, RATELIMIT_ENABLED="0") as service:
            stranger = Client(service.url)
            for code in acknowledged:
                assert stranger.get(f"/api/shared/{code}/preview").status_code == 200


@pytest.mark.parametrize("damage", [b"", b"REDIS0010 and no more"])
def test_what_is_no_backup_is_not_restored(tmp_path, damage):
    backup, target = tmp_path / "backup.rdb", tmp_path / "redis"
    target.mkdir()
    backup.write_bytes(damage)
    assert restore(backup, target).returncode != 0
    assert not list(target.iterdir())


@pytest.mark.parametrize("is_whole", [True, False])
def test_where_there_is_only_valkey_its_tool_looks_at_the_backup(
    tmp_path, shipped, is_whole
):
    backup = back_up(shipped, tmp_path)
    if not is_whole:
        backup.write_bytes(backup.read_bytes()[:-9])
    tools, target = tmp_path / "tools", tmp_path / "valkey"
    tools.mkdir()
    target.mkdir()
    for tool in ("chown", "cp", "mkdir", "stat"):
        (tools / tool).symlink_to(need(tool))
    tool = tools / "valkey-check-rdb"  # the real one would look at argv[0]
    tool.write_text(f'#!/bin/sh\nexec {need("redis-check-rdb")} "$@"\n')
    tool.chmod(0o755)
    done = subprocess.run(
        [ROOT / "deploy" / "restore.sh", backup, target], env={"PATH": str(tools)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode == 0) == is_whole, done.stderr
    assert [each.name for each in target.iterdir()] == ["appendonlydir"] * is_whole


def test_a_restore_writes_over_nothing(tmp_path, shipped):
    backup = back_up(shipped, tmp_path)
    folder = shipped.log.parent
    before = {path.name for path in (folder / "appendonlydir").iterdir()}
    assert restore(backup, folder).returncode != 0
    assert {path.name for path in (folder / "appendonlydir").iterdir()} == before
