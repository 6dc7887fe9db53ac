"""Names that block lists know would take the service from whoever has a blocker."""

import re

import pytest

from servers import ROOT

# What general rules of EasyPrivacy and its kin block wherever it stands.
BLOCKED = {
    "beacon", "track", "stat", "hit", "count", "pixel", "analytics", "event", "log",
    "beacons", "tracker", "tracking", "hits", "counter", "pixels", "events", "logs",
    "metric", "collect", "telemetry", "ads", "ad", "banner", "piwik", "matomo",
}  # fmt: skip
STATIC = sorted(path.relative_to(ROOT) for path in (ROOT / "static").rglob("*.*"))


def words(text):
    """The words of a name: of `player-page.js` they are player, page and js; not what
    the letters of a code spell between its digits."""
    return set(re.split("[^a-z0-9]+", text.lower()))


def test_no_asset_is_named_so():
    assert STATIC
    assert [str(path) for path in STATIC if words(str(path)) & BLOCKED] == []


def test_no_route_is_named_so(app):
    rules = [rule.rule for rule in app.url_map.iter_rules()]
    assert "/api/shared/<code>/seen" in rules
    plain = {rule: re.sub("<[^>]*>", "", rule) for rule in rules}
    assert [rule for rule in rules if words(plain[rule]) & BLOCKED] == []


@pytest.mark.parametrize(
    "path", ["/", "/login", "/register", "{link}", "/referrals", "/account"]
)
def test_no_address_on_a_page_is_named_so(world, path):
    for person in (world.stranger, world.owner):
        page = person.get(path.format(link=world.link)).text
        addresses = re.findall(r'(?:href|src|action|data-\w+)="([^"]*)"', page)
        named = [a for a in addresses if words(a.partition("?")[0]) & BLOCKED]
        assert named == []


def test_no_script_asks_for_such_a_name():
    for path in STATIC:
        if path.suffix == ".js":
            text = (ROOT / path).read_text()
            asked = re.findall(r"[\"'`](?:\./|/)[\w./-]+[\"'`]", text)
            named = [name for name in asked if words(name) & BLOCKED]
            assert named == [], path


def test_the_message_of_a_page_is_sent_where_sendbeacon_is_missing_too():
    script = (ROOT / "static" / "shown.js").read_text()
    assert "keepalive: true" in script
    assert "sendBeacon" not in script
