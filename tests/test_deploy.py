"""What deploy/ gives to systemd and Redis, tried with their own tools."""

import os
import re
import subprocess
import sys

import pytest
import redis
import requests

import serve
from servers import (
    BIN,
    ROOT,
    Client,
    Cluster,
    Process,
    Service,
    contents,
    free_port,
    need,
    wait_for,
)

DEPLOY = ROOT / "deploy"
UNITS = ["joip-share@.socket", "joip-share@.service"]


# systemd


@pytest.fixture
def units(tmp_path):
    """A folder with the units, for this checkout."""
    for name in UNITS:
        text = (DEPLOY / name).read_text()
        text = text.replace("/srv/joip-share/.venv/bin", str(BIN))
        (tmp_path / name).write_text(text.replace("/srv/joip-share", str(ROOT)))
    return tmp_path


def analyze(folder, *arguments):
    """What systemd-analyze finds; fails where it fails."""
    done = subprocess.run(
        [need("systemd-analyze"), *arguments], cwd=folder, check=False, text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_systemd_finds_nothing_wrong_with_the_units(units):
    instances = [f"./{name.replace('@', '@0')}" for name in UNITS]
    assert analyze(units, "verify", *instances) == ""


def test_an_instance_without_a_core_opens_no_socket_at_which_people_would_wait(units):
    cores = os.sched_getaffinity(0)
    for name in UNITS:
        condition = re.search("^ConditionCPUs=.*$", (units / name).read_text(), re.M)[0]
        for instance in (*range(len(cores)), len(cores)):
            asked = condition.replace("%i", str(instance))
            done = subprocess.run([need("systemd-analyze"), "condition", asked])
            assert (done.returncode == 0) == (instance < len(cores))


def test_systemd_finds_the_service_well_locked_in(units):
    """An exposure of 2.0 at most, of 10."""
    analyze(units, "security", "--offline=true", "--threshold=20", f"./{UNITS[1]}")


def test_the_unit_runs_what_the_procfile_runs():
    command = re.search(r"^ExecStart=\S+/(.*)$", (DEPLOY / UNITS[1]).read_text(), re.M)
    assert (ROOT / "Procfile").read_text() == f"web: {command[1]}\n"


def test_the_unit_leaves_the_service_what_it_needs():
    text = (DEPLOY / UNITS[1]).read_text()
    unit = dict(re.findall(r"^(\w+)=(\w+|%i)$", text, re.M))
    assert int(unit["TimeoutStopSec"]) > serve.PATIENCE + 2
    # a connection, and two temporary files where much is sent or read
    assert int(unit["LimitNOFILE"]) > 3 * serve.OPTIONS["connection_limit"]
    assert int(unit["TasksMax"]) > 3 * serve.OPTIONS["threads"]
    assert unit["MemoryMax"] == "512M"
    assert unit["CPUAffinity"] == "%i"
    assert (unit["Type"], unit["Restart"]) == ("notify", "always")


def test_the_file_of_secrets_is_private_from_its_first_byte(tmp_path):
    """The unit's own commands, whatever the umask."""
    text = (DEPLOY / UNITS[1]).read_text()
    commands = re.search(r"^(#   install .*\n)((?:#   .*\n)*?)(?=#   cp)", text, re.M)
    for lines in commands.groups():
        script = lines.replace("#   ", "").replace("/etc/", f"{tmp_path}/")
        subprocess.run(["/bin/sh", "-c", f"umask 0; {script}"], check=True)
        file = tmp_path / "joip-share.env"
        assert file.stat().st_mode & 0o777 == 0o600
    settings = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert settings.keys() == {"REDIS_URL", "PUBLIC_URL", "TRUSTED_PROXIES"}
    assert settings["REDIS_URL"].startswith("'redis://joip-share:")
    # systemd and the shell of README's commands read the same, whatever is put there
    odd = 's&cr$t;`#*"\\'
    file.write_text(file.read_text().replace("PASSWORD", odd))
    read = f'. {file}; printf %s "$REDIS_URL"'
    said = subprocess.run(["/bin/sh", "-c", read], check=True, capture_output=True)
    url = settings["REDIS_URL"].strip("'").replace("PASSWORD", odd)
    assert (said.stdout.decode(), said.stderr) == (url, b"")


def test_the_readmes_way_gives_a_command_the_units_settings(tmp_path, redis_server):
    file = tmp_path / "joip-share.env"
    settings = f"REDIS_URL={redis_server.url}\nPUBLIC_URL=http://example.org\n"
    file.write_text(settings)
    [line] = re.findall("^    (cd /srv.*)$", (ROOT / "README.md").read_text(), re.M)
    for written, here in (
        ("/srv/joip-share", str(ROOT)), ("/etc/joip-share.env", str(file)),
        (".venv/bin/flask", str(BIN / "flask")), ("…", "--app joip_share report"),
    ):  # fmt: skip
        assert written in line
        line = line.replace(written, here)
    said = subprocess.run(["/bin/sh", "-c", line], check=True, capture_output=True)
    assert said.stdout.startswith(b"accounts: ")


def test_systemds_own_tool_hands_over_the_socket(tmp_path, redis_server):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"REDIS_URL": redis_server.url, "PUBLIC_URL": url, "PORT": "1"}
    command = [
        need("systemd-socket-activate"), f"--listen=127.0.0.1:{port}",
        *(f"--setenv={name}={value}" for name, value in settings.items()),
        sys.executable, "serve.py",
    ]  # fmt: skip
    with Process(command, tmp_path / "log", cwd=ROOT) as process:
        wait_for(lambda: "Listening on" in process.said())
        assert requests.get(f"{url}/healthz", timeout=30).ok
        process.process.terminate()
        assert process.process.wait(60) == 0


# Redis


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A Redis with deploy/redis.conf; its admin's client, and the service's URL."""
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    command = [need("redis-server"), str(DEPLOY / "redis.conf")]
    options = ["--port", str(port), "--dir", str(folder), "--appendfsync", "no"]
    with Process([*command, *options], folder / "log") as server:
        server.client = redis.Redis(port=port, protocol=2)
        wait_for(server.client.ping, what="redis-server")
        url = re.search(r"REDIS_URL=(\S+):6379/0", (DEPLOY / "redis.conf").read_text())
        server.url = f"{url[1]}:{port}/0"
        yield server


def test_the_passwords_of_redis_stand_in_a_copy_that_others_cannot_read(tmp_path):
    """As deploy/redis.conf says in its head."""
    text = (DEPLOY / "redis.conf").read_text().replace("/etc/redis", str(tmp_path))
    command = re.search(r"^#   (install .*)$", text, re.M)[1]
    command = command.replace("-o redis -g redis ", "")  # there may be nobody so called
    subprocess.run(["/bin/sh", "-c", f"umask 0; {command}"], cwd=ROOT, check=True)
    copy = tmp_path / "joip-share.conf"
    assert copy.stat().st_mode & 0o777 == 0o640
    main = tmp_path / "redis.conf"
    main.write_text(re.search(r"^#   (include .*)$", text, re.M)[1])
    options = ["--port", str(port := free_port()), "--dir", str(tmp_path)]
    with Process([need("redis-server"), str(main), *options], tmp_path / "log"):
        client = redis.Redis(port=port, protocol=2)
        wait_for(client.ping, what="redis-server")
        assert "joip-share" in client.acl_users()


def refused(server):
    """What the ACL has refused: the commands."""
    return {entry["object"] for entry in server.client.acl_log()}


def do_all(folder, url, **settings):
    """All that the service does with Redis."""
    with Service(folder, url, RATELIMIT_ENABLED="0", **settings) as service:
        owner, guest = Client(service.url), Client(service.url)
        owner.sign_up("owner@example.org")
        session = owner.make_session()
        code = owner.share(session)
        for body in ({"email": "guest@example.org"}, {"label": "a poster"}):
            owner.share(session, **body)
        page = guest.get(f"/shared/{code}")
        message = dict(re.findall(r'data-(seen|token)="([^"]+)"', page.text))
        assert guest.post(message["seen"], json={"token": message["token"]}).ok
        guest.sign_up("guest@example.org")
        wrong = {"email": "guest@example.org", "password": "quite wrong"}
        assert guest.post("/api/login", json=wrong).status_code == 401
        assert guest.get(f"/api/shared/{code}").ok
        assert guest.patch("/api/auth/user", json={"name": "A guest"}).ok
        token = guest.post("/api/tokens", json={"name": "a script"}).json()
        for path in ("/", "/account", "/referrals", "/api/tokens", "/api/referrals"):
            assert guest.get(path).ok
        assert guest.delete(f"/api/tokens/{token['id']}").ok
        for path in ("/", f"/sessions/{session}", f"/api/sessions/{session}/stats.csv"):
            assert owner.get(path).ok
        assert owner.patch(f"/api/sessions/{session}", json={"isPublic": False}).ok
        assert owner.delete(f"/api/sessions/{session}/shares/{code}").ok
        assert owner.delete(f"/api/sessions/{session}").ok
        assert guest.post("/api/logout", json={"everywhere": True}).ok
        gone = owner.delete("/api/auth/user", json={"currentPassword": "long enough"})
        assert gone.ok, gone.text
        assert owner.get("/readyz").ok


def test_the_services_redis_user_may_do_all_that_the_service_does(tmp_path, shipped):
    do_all(tmp_path, shipped.url)
    assert refused(shipped) == set()


WALKS = ["joip_share report", "maintain check --repair"]  # by SCAN
COMMANDS = [
    "joip_share create-user --email=ann@example.org --name=Ann --password=long-enough",
    "joip_share list-users",
    *WALKS,
    "joip_share delete-user ann@example.org --yes",
]


def give(commands, url, **settings):
    """Give these commands, to their end."""
    environ = {"REDIS_URL": url, "PUBLIC_URL": "http://example.org", **settings}
    for command in commands:
        words = [sys.executable, "-m", "flask", "--app", *command.split()]
        subprocess.run(words, cwd=ROOT, env=environ, check=True, capture_output=True)


def test_it_may_do_all_that_the_commands_do(shipped):
    give(COMMANDS, shipped.url)
    assert refused(shipped) == set()


def test_it_may_say_its_name_where_the_url_gives_it_one(shipped):
    give(WALKS, f"{shipped.url}?client_name=joip-share")
    assert refused(shipped) == set()


def test_on_a_cluster_and_with_a_prefix_it_may_as_well(tmp_path):
    text = (DEPLOY / "redis.conf").read_text()
    name, rights = re.search(r"^user (\S+) (.*)$", text, re.M).groups()
    rights = rights.replace("~*", "~joip:*").split()
    with Cluster(tmp_path) as cluster:
        for node in cluster.nodes:
            node.client.execute_command("ACL", "SETUSER", name, *rights)
        url = cluster.url.replace("://", f"://{name}:CHANGE-ME@")
        do_all(tmp_path, url, KEY_PREFIX="joip:")
        give(WALKS, url, KEY_PREFIX="joip:")
        assert [refused(node) for node in cluster.nodes] == [set()] * 3


def test_it_may_do_nothing_else(shipped):
    service = redis.Redis.from_url(shipped.url, protocol=2)
    before = contents(shipped.client)
    for command in (
        "FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG SET save 1", "CONFIG REWRITE", "SAVE",
        "SHUTDOWN NOSAVE", "ACL LIST", "ACL SETUSER eve on", "MONITOR",
        "REPLICAOF 127.0.0.1 1", "MIGRATE 127.0.0.1 1 k 0 1", "CLIENT LIST",
        "SCRIPT FLUSH", "FUNCTION LIST", "MODULE LIST", "SUBSCRIBE all", "RENAME a b",
    ):  # fmt: skip
        with pytest.raises(redis.exceptions.NoPermissionError):
            service.execute_command(*command.split())
    assert contents(shipped.client) == before


# What the driver needs, and what is called by its methods; all others stand in lua/ or,
# in capitals, in a module. READONLY is an error there.
OF_OTHERS = {
    *("client", "cluster", "command", "config", "dbsize", "info", "scan", "select"),
    "wait",
}


def test_the_acl_names_what_the_code_uses_and_no_more(shipped):
    user = re.search(r"^user joip-share .*$", (DEPLOY / "redis.conf").read_text(), re.M)
    allowed = set(re.findall(r"\+([a-z]+)", user[0]))
    files = [*ROOT.glob("lua/**/*.lua"), *ROOT.glob("*.py")]
    code = "".join(file.read_text() for file in files)
    lua = re.findall(r"redis\.p?call\(\s*[\"'](\w+)[\"']", code)
    python = re.findall(r"[(\[]\s*\"([A-Z]{3,})\",", code)
    commands = {
        name.decode() for name in shipped.client.execute_command("COMMAND LIST")
    }
    used = {name.lower() for name in [*lua, *python]} & commands - {"readonly"}
    assert allowed == used | OF_OTHERS
