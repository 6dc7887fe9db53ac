"""What the tests of the pages share: slideshows, and who has them."""

from __future__ import annotations

from servers import Client

PASSWORD = "long enough"
HOURS = "Dawn", "Morning", "Noon", "Dusk", "Night"


def picture(site, number):
    """The address of one of the pictures that the service ships."""
    return f"{site.url}/static/demo-{number}.svg"


def pictures(site, count):
    """So many items of a slideshow."""
    return [
        {"mediaUrl": f"{picture(site, n % 5 + 1)}?{n}", "caption": HOURS[n % 5]}
        for n in range(count)
    ]


def owner_of(site, count=5, **more):
    """An API client with an account and a slideshow that is not shared yet."""
    client = Client(site.url)
    client.user = client.sign_up(name="Mira")
    client.session = slideshow(client, pictures(site, count), **more)
    client.path = f"/sessions/{client.session}"
    return client


def slideshow(client, media, **more):
    """Make a slideshow; its id."""
    given = {"title": "Five hours by the lake", "media": media} | more
    answer = client.post("/api/sessions", json=given)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def saved(client):
    """A client's slideshow as the service has it."""
    return client.get(f"/api/sessions/{client.session}").json()
