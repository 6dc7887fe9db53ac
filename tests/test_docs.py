"""What the documents say is what there is."""

import random
import re
import subprocess

import fakeredis
import pytest
import yaml

import joip_share
import redis_url
import test_crashes
from clock import today
from conftest import Visitor
from records import EVENTS
from servers import ROOT

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
PLACEHOLDERS = {
    "code": r"[0-9a-f-]{36}|[a-z0-9]{8}",
    "sha256": "[0-9a-f]{64}",
    "day": r"\d{4}-\d\d-\d\d",
    "id": r"[\w-]+",
    "limit": r"[\w-]+",
    "person": ".+",
}


def rows(page, heading):
    """The first cell of each row of the table below a heading, without its head."""
    text = (ROOT / page).read_text().partition(f"{heading}\n")[2]
    lines = text.partition("\n| --- ")[2].partition("\n\n")[0].splitlines()[1:]
    return [line.split(" | ")[0].strip("| ") for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_documents_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        headings = re.findall(r"^#+ (.+)$", file.read_text(), re.M) if anchor else []
        slugs = [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings]
        assert not anchor or anchor in slugs, target


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_the_readme_names_every_setting():
    named = re.findall("`([A-Z_]+)`", "\n".join(rows("README.md", "## Settings")))
    fields = joip_share.Settings.__struct_encode_fields__
    assert {*named} == {*fields, "HOST"}


def test_operations_names_every_option_of_redis_url():
    told = text_of("docs/operations.md").partition("\n## Redis\n")[2]
    named = {*re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", told.partition("\n## ")[0])}
    assert {*redis_url.OPTIONS, *redis_url.SENTINEL_OPTIONS} <= named


def test_the_readme_names_what_programs_ask_for_outside_the_api():
    for path in ("/oembed", "/healthz", "/readyz", "/metrics"):
        assert f"`{path}" in text_of("README.md"), path


def test_who_comes_from_version_1_is_told_what_else_is_new_than_the_code():
    first = {"REDIS_URL", "PUBLIC_URL", "PORT", "KEY_PREFIX", "TRUSTED_PROXIES"}
    first.add("RATELIMIT_ENABLED")
    new = {*joip_share.Settings.__struct_encode_fields__, "HOST"} - first
    told = text_of("CHANGELOG.md").partition("that are new:")[2].partition("Gone:")[0]
    assert {*re.findall("`([A-Z_]+)`", told)} == new
    upgrade = text_of("docs/operations.md").partition("## Upgrade\n")[2]
    for unit in ROOT.glob("deploy/joip-share@.*"):  # version 1 has no socket
        assert unit.suffix[1:] in upgrade.partition("\n## ")[0]


def test_what_compose_takes_from_outside_stands_in_its_head():
    head, _, file = text_of("compose.yaml").partition("\nname:")
    taken = {*re.findall(r"\$\{([A-Z_]+)", file)}
    assert taken == {"PUBLIC_URL", "LISTEN", "COMPOSE_PROFILES"}
    assert {name for name in taken if not re.search(rf"\b{name}\b", head)} == set()


def test_who_upgrades_with_compose_is_told_what_keeps_its_old_files():
    """A file that is mounted alone stays the one of the start; git makes another."""
    services = yaml.safe_load(text_of("compose.yaml"))["services"]
    keeping = {
        name for name, service in services.items()
        if any(".conf:/" in volume for volume in service.get("volumes", ()))
    }  # fmt: skip
    assert keeping == {"nginx", "redis"}
    upgrade = text_of("docs/operations.md").partition("## Upgrade\n")[2]
    assert "`docker compose restart nginx` (or `redis`" in upgrade.partition("\n## ")[0]


def test_who_runs_the_procfile_elsewhere_is_told_how_its_router_gets_in():
    assert "HOST" not in text_of("Procfile")  # then only this machine gets in
    told = text_of("docs/operations.md").partition("`Procfile`")[2]
    assert "`HOST=0.0.0.0`" in told.partition("\n\n")[0]


def test_where_things_stand_names_all_that_there_is_and_nothing_else():
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True)
    there = {re.sub("/.*", "/", path) for path in listed.splitlines()}
    cells = "\n".join(rows("CONTRIBUTING.md", "## How it is laid out"))
    named = {*re.findall("`([^`]+)`", cells)}
    assert {name for name in named if not (ROOT / name).exists()} == set()
    locks = {name.replace(".txt", ".lock") for name in named if ".txt" in name}
    apart = {".ci/", ".gitignore", "CONTRIBUTING.md", *locks}
    assert there - apart == named - {".ci/run"}


def test_flask_is_imported_where_the_map_says():
    listed = "\n".join(rows("CONTRIBUTING.md", "## How it is laid out"))
    modules = {*re.findall(r"`(\w+)\.py`", listed)}
    flask = re.compile(r"^\s*(?:import|from) flask\b", re.M)
    imports = {name for name in modules if flask.search(text_of(f"{name}.py"))}
    assert imports == {"joip_share"}
    assert "The only file that imports Flask |" in text_of("CONTRIBUTING.md")


def test_every_attack_names_the_tests_that_keep_it_in_vain():
    text = text_of("docs/security.md").partition("## Attacks\n")[2]
    attacks = text.partition("\n## ")[0].partition("| --- ")[2].splitlines()[1:]
    assert len(attacks) > 20
    for row in filter(None, attacks):
        named = re.findall("`(test_[a-z_]+[.]py)`", row)
        assert named, row
        assert all((ROOT / "tests" / name).exists() for name in named), row


def test_what_the_path_of_a_request_names_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    told = text.partition("## How a request goes")[2].partition("\n## ")[0]
    for name in re.findall("`([a-z_/]+(?:\\.(?:py|lua))?)`", told):
        assert (ROOT / name).exists() or hasattr(joip_share, name), name


def test_what_a_sample_says_stands_in_a_module_stands_there():
    samples = [file for file in ROOT.glob("deploy/**/*") if file.is_file()]
    text = "".join(file.read_text() for file in samples)
    named = re.findall(r"\b([A-Z]+_[A-Z]+) in (\w+\.py)\b", text)
    assert named
    for name, module in named:
        assert re.search(rf"^{name}\b.* = ", text_of(module), re.M), module


def test_as_many_kills_are_survived_as_the_readme_says():
    [rounds] = re.findall(r"(\d+)\s+rounds of `kill -9`", text_of("README.md"))
    assert int(rounds) == test_crashes.ROUNDS


def test_what_a_session_takes_is_what_the_documents_say(real_redis):
    """With addresses that have much in common, and with those that have not."""
    app = joip_share.create_app(joip_share.Settings(), real_redis)
    owner = Visitor(app)
    owner.sign_up()
    for part in ("picture", "{0}-{0}-{0}"):
        before = {*real_redis.scan_iter()}
        urls = [
            f"https://cdn.example.org/{part.format(random.randbytes(8).hex())}/{n}.jpg"
            for n in range(20)
        ]
        media = [{"mediaUrl": url, "caption": f"Number {url[-6:]}"} for url in urls]
        made = owner.post("/api/sessions", json={"title": "A walk", "media": media})
        code = owner.share(made.json["id"])["shareCode"]
        Visitor(app).get(f"/api/shared/{code}/preview")
        keys = {*real_redis.scan_iter()} - before
        assert 2_500 < sum(map(real_redis.memory_usage, keys)) < 4_500
    days = {today(ago): 0 for ago in range(400)}
    counts = {f"{day}:{event}": 1234 for day in days for event in EVENTS}
    for number, most in ((365, 150_000), (400, 160_000)):
        real_redis.delete("daily")
        for each in [*counts][: number * len(EVENTS)]:
            real_redis.hset("daily", each, counts[each])
        assert real_redis.memory_usage("daily") < most
    assert "takes 3 to 4 kB; a year of counters 150 kB" in text_of("docs/operations.md")
    assert "some 160 kB at most" in text_of("docs/design.md")


def text_of(page):
    return (ROOT / page).read_text()


def test_the_design_lists_every_key():
    patterns = []
    for cell in rows("docs/design.md", "## Keys"):
        parts = re.split("<([a-z0-9]+)>", cell.strip("`"))
        parts[::2] = map(re.escape, parts[::2])
        parts[1::2] = [f"(?:{PLACEHOLDERS[name]})" for name in parts[1::2]]
        patterns.append(re.compile("".join(parts)))
    redis = fakeredis.FakeStrictRedis()
    use_everything(joip_share.create_app(joip_share.Settings(), redis))
    keys = [key.decode() for key in redis.scan_iter()]
    unlisted = [key for key in keys if not any(p.fullmatch(key) for p in patterns)]
    assert not unlisted
    unused = [p.pattern for p in patterns if not any(map(p.fullmatch, keys))]
    assert not unused


def use_everything(app):
    """Leave a key of every kind behind."""
    owner, guest, stranger = Visitor(app), Visitor(app), Visitor(app)
    referral_code = owner.sign_up()["referralCode"]
    guest_id = guest.sign_up("guest@example.com", referralCode=referral_code)["id"]
    session_id = owner.make_session()
    code = owner.share(session_id)["shareCode"]
    owner.share(session_id, userId=guest_id)
    owner.share(session_id, email="somebody@example.com")
    elsewhere = {"Referer": "https://blog.example/"}
    page = stranger.get(f"/shared/{code}?r={referral_code}", headers=elsewhere).text
    token = re.search('data-token="([^"]+)"', page)[1]
    seen = stranger.post(f"/api/shared/{code}/seen", json={"token": token})
    assert seen.status_code == 204
    assert guest.get(f"/api/shared/{code}").status_code == 200
    assert owner.post("/api/tokens", json={"name": "script"}).status_code == 201
    assert owner.get("/readyz").status_code == 200
