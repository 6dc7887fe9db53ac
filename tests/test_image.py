"""Dockerfile and compose.yaml without a Docker engine: linted, and done as they say."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest
import redis
import requests
import yaml

import joip_share
from servers import BIN, PERSON, ROOT, Process, free_port, need, wait_for

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def instructions():
    """The Dockerfile as (instruction, its text)."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [line.split(maxsplit=1) for line in lines]


def is_let_through(path):
    """Whether .dockerignore lets this path into the build."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    return any(fnmatch.fnmatch(path, line[1:]) for line in lines if line[0] == "!")


class Image:
    """A clean folder in which the steps of the Dockerfile are done, one by one."""

    def __init__(self, folder):
        self.folder = folder / "root"
        venv = folder / "venv"
        uv = [BIN / "uv", "venv", "-q", "--seed", "--python", sys.executable, venv]
        subprocess.run(uv, check=True)  # with pip, as the image that it stands for
        self.env = {"PATH": f"{venv}/bin:/usr/bin:/bin"}
        self.env |= {
            k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL"))
        }
        self.health, self.command, self.user = [], [], ""
        for word, text in instructions():
            getattr(self, f"do_{word.lower()}")(text)

    def do_from(self, text):
        assert text.startswith("python:3.")

    def do_workdir(self, text):
        self.folder = self.folder / text.strip("/")
        self.folder.mkdir(parents=True)

    def do_copy(self, text):
        *sources, target = text.split()
        for source in sources:
            assert is_let_through(source), f".dockerignore holds {source} back"
            for file in ROOT.glob(source):
                if file.is_dir():
                    shutil.copytree(file, self.folder / target)
                else:
                    (self.folder / target).mkdir(exist_ok=True)
                    shutil.copy(file, self.folder / target)

    def do_run(self, text):
        subprocess.run(
            ["/bin/sh", "-c", text], cwd=self.folder, env=self.env, check=True
        )

    def do_env(self, text):
        self.env |= dict(word.split("=", 1) for word in shlex.split(text))

    def do_expose(self, text):
        assert text == self.env["PORT"]

    def do_user(self, text):
        self.user = text

    def do_healthcheck(self, text):
        self.health = json.loads(text.partition("CMD ")[2])

    def do_cmd(self, text):
        self.command = json.loads(text)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return Image(tmp_path_factory.mktemp("image"))


def test_the_images_steps_make_a_service_that_answers_and_stops(
    tmp_path, image, redis_server, real_redis
):
    port = free_port()
    url = f"http://127.0.0.1:{port}/joip"
    given = {"REDIS_URL": redis_server.url, "PUBLIC_URL": url, "PORT": str(port)}
    env = image.env | given

    def is_healthy():
        elsewhere = {"http_proxy": "http://127.0.0.1:1"}  # as Docker may be set up
        check = subprocess.run(image.health, cwd=image.folder, env=env | elsewhere)
        return not check.returncode

    service = Process(image.command, tmp_path / "log", cwd=image.folder, env=env)
    with service:
        wait_for(is_healthy, 60, "the health check")  # nothing is compiled yet
        for path in ("/", "/api/openapi.json", "/static/app.css"):
            answer = requests.get(url + path, headers={"User-Agent": PERSON}, timeout=9)
            assert answer.ok, path
        service.signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
    assert not is_healthy()


def test_the_image_has_no_more_than_production_needs(image):
    names = {path.name for path in image.folder.iterdir()} - {"__pycache__"}
    assert names == {
        "requirements.lock", "openapi.yaml", "lua", "static", "templates", "deploy",
        *(path.name for path in ROOT.glob("*.py")),
    }  # fmt: skip
    pip = image.env["PATH"].partition(":")[0] + "/pip"
    packages = subprocess.check_output([pip, "freeze"], text=True)
    assert "fakeredis" not in packages
    assert "pytest" not in packages


@pytest.mark.parametrize(
    "name", ["requirements", "requirements-try", "requirements-dev"]
)
def test_the_locks_have_every_pin_with_its_hashes(name):
    pins = (ROOT / f"{name}.txt").read_text().splitlines()
    locked = (ROOT / f"{name}.lock").read_text().replace(" \\\n    --hash=", " --hash=")
    for pin in pins:
        if not pin.startswith("-r "):
            package, _, version = re.sub(r"\[.*\]", "", pin).lower().partition("==")
            assert f"\n{package}=={version} " in locked, pin
    for line in locked.splitlines():
        assert line.lstrip().startswith("#") or "--hash=sha256:" in line, line


def test_the_image_does_not_run_as_root(image):
    user, group = image.user.split(":")
    assert int(user) > 0
    assert int(group) > 0


def test_hadolint_finds_nothing_in_the_dockerfile():
    subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], check=True)


def test_compose_yaml_is_valid():
    subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec",
         ROOT / "compose.yaml"],
        check=True,
    )  # fmt: skip


def test_every_setting_of_env_reaches_the_service_of_compose():
    """Named without a value, it is what .env says, or not set at all."""
    environment = SERVICES["web"]["environment"]
    fixed = {"REDIS_URL", "PUBLIC_URL", "TRUSTED_PROXIES"}
    settings = {*joip_share.Settings.__struct_encode_fields__} - {"PORT"}
    assert environment.keys() == settings
    assert {name for name in settings if environment[name] is not None} == fixed
    assert SERVICES["web-2"]["environment"] == environment


def mounts(service):
    """What is mounted from the clone: (file of ours, path inside)."""
    for line in SERVICES[service]["volumes"]:
        source, target, *_ = line.replace("${COMPOSE_PROFILES:+-two}", "").split(":")
        if source.startswith("."):
            yield ROOT / source, target


def test_everything_that_compose_mounts_is_there():
    for name in ("redis", "nginx"):
        for source, _ in mounts(name):
            assert source.exists()


def test_every_service_has_a_health_check_and_comes_back():
    for name, service in SERVICES.items():
        assert service.get("restart") == "unless-stopped"
        assert "healthcheck" in service or service["build"] == "."
        assert "ports" not in service or name == "nginx"


def test_the_redis_of_compose_starts_with_its_command(tmp_path):
    [(config, inside)] = mounts("redis")
    command = SERVICES["redis"]["command"].replace(inside, str(config)).split()
    command[command.index("/data")] = str(tmp_path)
    command[command.index("*")] = "127.0.0.1"  # the test's machine is no container
    port = free_port()
    command[0] = need(command[0])
    with Process([*command, "--port", str(port)], tmp_path / "redis.log"):
        client = redis.Redis(port=port)
        wait_for(client.ping, what="redis")
        assert SERVICES["redis"]["healthcheck"]["test"] == ["CMD", "redis-cli", "ping"]


@pytest.mark.parametrize("upstream", ["upstream.conf", "upstream-two.conf"])
@pytest.mark.parametrize("behind_tls", [False, True])
def test_the_nginx_of_compose_takes_its_configuration(tmp_path, upstream, behind_tls):
    folder = tmp_path / "nginx"
    inside = {path: source for source, path in mounts("nginx") if "/nginx/" in path}
    shutil.copytree(inside.pop("/etc/nginx/joip-share"), folder / "joip-share")
    (folder / "conf.d").mkdir()
    for path, source in inside.items():
        shutil.copy(source, folder / path.removeprefix("/etc/nginx/"))
    shutil.copy(
        ROOT / "deploy" / "compose" / upstream, folder / "joip-share" / "upstream.conf"
    )
    site = folder / "joip-share" / "site.conf"
    if behind_tls:
        lines = r"^# ((?:set_)?real_ip_.*;)$"
        site.write_text(re.sub(lines, r"\1", site.read_text(), flags=re.M))
        gateway = COMPOSE["networks"]["outside"]["ipam"]["config"][0]["gateway"]
        assert f"\nset_real_ip_from {gateway};\n" in site.read_text()
    main = folder / "nginx.conf"
    text = main.read_text()
    main.write_text(text.replace("user nginx;", "").replace("/run/", f"{tmp_path}/"))
    subprocess.run([need("nginx"), "-t", "-p", folder, "-c", "nginx.conf"], check=True)


def test_the_nginx_of_compose_has_room_for_slow_clients():
    """As deploy/nginx.conf asks for in its head."""
    head = (ROOT / "deploy" / "nginx.conf").read_text().partition("\nupstream")[0]
    [main] = [source for source, path in mounts("nginx") if path.endswith("nginx.conf")]
    for directive in re.findall(r"`(worker_\w+ \d+;)`", head):
        assert directive in main.read_text()


def test_the_upstreams_of_compose_are_its_services_addresses():
    addresses = [
        SERVICES[name]["networks"]["inside"]["ipv4_address"]
        for name in ("web", "web-2")
    ]
    for file, wanted in (("upstream", addresses[:1]), ("upstream-two", addresses)):
        text = (ROOT / "deploy" / "compose" / f"{file}.conf").read_text()
        servers = [line.split()[1] for line in text.splitlines() if line[0] != "#"]
        assert servers == [f"{address}:8000" for address in wanted]
    monitoring = (ROOT / "docs" / "operations.md").read_text()  # no port leads there
    assert {*re.findall(r"172[\d.]+(?=:8000)", monitoring)} == {*addresses}
