"""What those see who read OpenGraph and oEmbed: libraries from PyPI and npm, as chats
and blogs use them, on ten odd sessions.

They are read where they are installed; the ones of npm are installed for the test.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import World
from servers import ROOT

HERE = ROOT / "tests" / "consumers"
PICTURE = "https://bücher.example/two words/ü.jpg?a=[1]&b='x'"
SERIALIZED = "https://xn--bcher-kva.example/two%20words/%C3%BC.jpg?a=[1]&b=%27x%27"
CARD = "{url}/static/card.png"
LONG = "One word after the other " * 60
# What is given, the description and the picture that are to be seen.
ODD = [
    ({}, "nothing in it yet", CARD),
    ({"description": "By the lake"}, "By the lake", CARD),
    ({"description": LONG}, f"{LONG[:199].rstrip()}…", CARD),
    ({"description": "Two\n\nlines\tand   blanks"}, "Two lines and blanks", CARD),
    ({"title": "🌊 Lake 🏔", "description": "🌊" * 300}, "🌊" * 199 + "…", CARD),
    (
        {"title": "<b>Lake</b> & \"light\" 'n' more", "description": "</head><i>x"},
        "</head><i>x",
        CARD,
    ),
    ({"title": "שלום עולם", "description": "مرحبا"}, "مرحبا", CARD),
    ({"thumbnail": PICTURE}, "nothing in it yet", SERIALIZED),
    ({"media": [{"mediaUrl": PICTURE}]}, "1 item, about 7 seconds", SERIALIZED),
    ({"title": "x" * 200, "thumbnail": None}, "nothing in it yet", CARD),
]


@pytest.fixture(scope="module")
def sessions(live):
    """The ten sessions: (what was given, what is to be seen, share URL)."""
    world = World.at(live.url)
    made = []
    for given, description, picture in ODD:
        given = {"title": "A walk"} | given
        session_id = world.owner.post("/api/sessions", json=given).json()["id"]
        answer = world.owner.post(f"/api/sessions/{session_id}/share").json()
        seen = {
            "title": given["title"], "description": description,
            "image": picture.format(url=live.url),
        }  # fmt: skip
        made.append((seen, answer["shareUrl"]))
    return made


@pytest.fixture(scope="module")
def by_node(sessions, tmp_path_factory):
    """What each consumer of npm made of each session."""
    folder = tmp_path_factory.mktemp("consumers")
    for file in HERE.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    run(folder, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
    urls = [url for _, url in sessions]
    return json.loads(run(folder, "node", "read.js", *urls))


def run(folder: Path, *command: str) -> str:
    """What a program of Node.js prints; where there is none, the test is skipped."""
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300
    )
    if done.returncode and command[0] == "npm":
        pytest.skip(f"npm could not install the consumers: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_linkpreview(url):
    page = pytest.importorskip("linkpreview").link_preview(url)
    return {
        "title": page.title, "description": page.description, "image": page.image
    }  # fmt: skip


def by_webpreview(url):
    page = pytest.importorskip("webpreview").webpreview(url)
    return {
        "title": page.title, "description": page.description, "image": page.image
    }  # fmt: skip


def by_micawber(url):
    endpoint = f"{url.partition('/shared/')[0]}/oembed"
    provider = pytest.importorskip("micawber").Provider(endpoint)
    return as_seen(provider.request(url))


def by_pyoembed(url):
    """It finds the address of our oEmbed on the page."""
    return as_seen(pytest.importorskip("pyoembed").oEmbed(url))


def as_seen(told):
    return {
        "title": told["title"], "description": told["description"],
        "image": told.get("thumbnail_url"),
    }  # fmt: skip


def without_version(seen):
    """The card's address changes with its content."""
    image = seen["image"] and seen["image"].partition("?v=")[0]
    return seen | {"image": image}


@pytest.mark.parametrize("read", [by_linkpreview, by_webpreview])
def test_consumers_of_opengraph_see_title_description_and_picture(sessions, read):
    for seen, url in sessions:
        assert without_version(read(url)) == seen


@pytest.mark.parametrize("read", [by_micawber, by_pyoembed])
def test_consumers_of_oembed_see_the_same(sessions, read):
    """But a picture only where its size is known: oEmbed allows none without."""
    for seen, url in sessions:
        image = None if seen["image"] == SERIALIZED else seen["image"]
        assert without_version(read(url)) == seen | {"image": image}


@pytest.mark.parametrize("name", ["open-graph-scraper", "url-metadata", "unfurl.js"])
def test_so_do_those_of_opengraph_on_node(sessions, by_node, name):
    for (seen, _), told in zip(sessions, by_node, strict=True):
        assert "error" not in told[name], told[name]
        assert without_version(told[name]) == seen


@pytest.mark.parametrize("name", ["unfurl.js, oEmbed", "oembed-extractor"])
def test_so_do_those_of_oembed_on_node(sessions, by_node, name):
    for (seen, _), told in zip(sessions, by_node, strict=True):
        assert "error" not in told[name], told[name]
        image = None if seen["image"] == SERIALIZED else seen["image"]
        wanted = seen | {"image": image}
        if told[name]["description"] is None:  # unfurl.js does not read it
            wanted["description"] = None
        assert without_version(told[name]) == wanted
