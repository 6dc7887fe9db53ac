"""What the documents say is what there is."""

import re

import fakeredis
import pytest

import joip_share
from conftest import Visitor
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


def test_where_things_stand_names_every_module():
    named = "\n".join(rows("CONTRIBUTING.md", "## How it is laid out"))
    for path in ROOT.glob("*.py"):
        assert f"`{path.name}`" in named


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
