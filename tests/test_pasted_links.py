"""Links as people and programs bend them: they open, and they credit."""

from urllib.parse import quote

import pytest

from shown import visit


@pytest.fixture
def world(town):
    """The same owner, with a new session and a new stranger; a guest hands the link
    on, so that it is not their credit that a link without a code would give."""
    return town.anew()


# What follows /shared/ in a link that has {code} in it, and the guest's {r}.
BENT = {
    "as it is": "{code}?r={r}",
    # Sentences and lists around it
    "a full stop": "{code}?r={r}.",
    "a comma": "{code}?r={r},",
    "several": "{code}?r={r}?!...",
    "an ellipsis": "{code}?r={r}…",
    "a semicolon": "{code}?r={r};",
    "a colon": "{code}?r={r}:",
    "a Chinese full stop": "{code}?r={r}。",
    "a dash": "{code}?r={r}-",
    # Brackets, quotes, marks
    "a bracket": "{code}?r={r})",
    "a bracket and a full stop": "{code}?r={r}).",
    "a square bracket": "{code}?r={r}]",
    "an angle bracket": "{code}?r={r}>",
    "a brace": "{code}?r={r}}}",
    "a quote": '{code}?r={r}"',
    "an apostrophe": "{code}?r={r}'",
    "a typographic quote": "{code}?r={r}”",
    "a guillemet": "{code}?r={r}»",
    "emphasis": "{code}?r={r}*",
    "code": "{code}?r={r}`",
    "strike": "{code}?r={r}~~",
    "an underscore": "{code}?r={r}_",
    "the end of a tag": '{code}?r={r}"></a>',
    "quotes around the referral code": '{code}?r="{r}"',
    "typographic ones": "{code}?r=“{r}”",
    "brackets around it": "{code}?r=<{r}>",
    "a blank before it": "{code}?r=%20{r}",
    # What services add
    "facebook": "{code}?r={r}&fbclid=IwAR0x_y-z",
    "facebook, as if there were no query": "{code}?r={r}?fbclid=IwAR0x",
    "before it": "{code}?fbclid=IwAR0x&r={r}",
    "campaigns": "{code}?utm_source=a&utm_medium=b&r={r}&utm_campaign=c",
    "google": "{code}?r={r}&gclid=x#:~:text=lake",
    # Encodings
    "an entity": "{code}?fbclid=x&amp;r={r}",
    "an entity first": "{code}?amp;r={r}",
    "entities twice": "{code}?fbclid=x&amp;amp;r={r}",
    "an encoded query": "{code}%3Fr%3D{r}",
    "an encoded query in lower case": "{code}%3fr%3d{r}",
    "an encoded equals": "{code}?r%3D{r}",
    "an encoded ampersand": "{code}?fbclid=x%26r%3D{r}",
    "encoded twice": "{code}%253Fr%253D{r}",
    "an encoded quote": "{code}?r={r}%22",
    "an encoded bracket": "{code}?r={r}%29",
    "an encoded blank": "{code}?r={r}%20",
    "a plus": "{code}?r={r}+",
    "an encoded line break": "{code}?r={r}%0D%0A",
    "a line break before the query": "{code}%0D%0A?r={r}",
    "a line break at the end": "{code}?r={r}%0A",
    "an encoded query and a line break": "{code}%3Fr%3D{r}%0A",
    "a line break after a slash": "{code}/%0A?r={r}",
    "an encoded code": "{encoded}?r={r}",
    "quoted-printable": "{code}=?r={r}",
    "quoted-printable, not decoded": "{code}?r=3D{r}",
    "an equals sign encoded twice": "{code}?r%253D{r}",
    # Slashes and case
    "a trailing slash": "{code}/?r={r}",
    "two": "{code}//?r={r}",
    "a slash at the end": "{code}?r={r}/",
    "upper case": "{CODE}?R={R}",
    "an upper-case code": "{CODE}?r={r}",
    "an upper-case referral code": "{code}?r={R}",
    "punctuation before the query": "{code}.?r={r}",
    "a quote before the query": '{code}"?r={r}',
    "an encoded quote before the query": "{code}%22?r={r}",
    # The player's address, which is no way to play for who pastes it so
    "the player's with a slash": "{code}/play/?r={r}",
    "the player's with a bracket": "{code}/play)?r={r}",
    "the player's with its query encoded": "{code}/play%3Fr%3D{r}",
}


def bend(world, shape):
    referral = world.guest.user["referralCode"]
    return "/shared/" + shape.format(
        code=world.code, CODE=world.code.upper(), r=referral, R=referral.upper(),
        encoded="".join(f"%{ord(c):02X}" for c in world.code),
    )  # fmt: skip


def remembered(answer):
    """The referral and share code that the visitor's cookie has."""
    (cookie,) = answer.headers.getlist("Set-Cookie")
    code, _, share_code, _ = (
        cookie.removeprefix("joip_ref=").partition(";")[0].split(".")
    )
    return code, share_code


@pytest.mark.parametrize("shape", BENT.values(), ids=BENT)
def test_a_bent_link_opens_and_credits_who_handed_it_on(world, shape):
    answer = world.stranger.get(bend(world, shape))
    assert answer.status_code == 200
    assert remembered(answer) == (world.guest.user["referralCode"], world.code)
    assert world.stats()["opens"] == 1


@pytest.mark.parametrize("shape", BENT.values(), ids=BENT)
def test_it_also_does_when_it_was_fetched_ahead(world, shape):
    prefetch = {"Sec-Purpose": "prefetch"}
    answer = visit(world.stranger, bend(world, shape), headers=prefetch)
    assert remembered(answer) == (world.guest.user["referralCode"], world.code)
    assert world.stats()["opens"] == 1


# Bent so that nothing is left of the code: the link's session and owner are remembered.
WITHOUT = ["{code}", "{code}/", "{code}.", "{code})", '{code}"', "{code}%22", "{code}…",
           "{CODE}", "{code}?", "{code}?r=", "{code}?r=short", "{code}?r={r}x",
           "{code}?fbclid=x", "{code}&fbclid=x", "{code}&amp;r", "{code}?x{r}",
           "{code}?rr={r}", "{code}#r={r}", "{code}%00", "{code}%E2%80%A6",
           "{code},", "{code}**", "{code}>", "{code}&gt;", "{code}%3E",
           "{code}?r=&x={r}", "{code}?r=3d{r}x", "{code}/play.", "{code}%0A",
           "{code}%0D%0A", "{code}.%0A", "{code}/play%0A", "{code}%0A%0A"]  # fmt: skip


@pytest.mark.parametrize("shape", WITHOUT)
def test_a_link_that_lost_its_code_opens_and_credits_its_owner(world, shape):
    answer = world.stranger.get(bend(world, shape))
    assert answer.status_code == 200
    assert remembered(answer) == (world.referral_code, world.code)


# Something else than the link's code.
BROKEN = ["{code}x", "{code}0", "x{code}", "({code}", "{code} and more", "{code}/x",
          "{code}/play/x", "{code}/player", "{code}.html", "{code}{code}",
          "{code}-{code}"]  # fmt: skip


@pytest.mark.parametrize("shape", BROKEN)
def test_what_is_another_word_is_not_found(world, shape):
    path = quote(bend(world, shape), safe="/?=&")
    answer = world.stranger.get(path)
    assert answer.status_code == 404
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("shape", ["?r={r}.", "?r={R}", "?x&amp;r={r}", "?r%3D{r}"])
def test_the_code_of_a_bent_api_address_is_read_as_well(world, shape):
    answer = world.stranger.get("/api" + bend(world, "{code}/preview" + shape))
    assert answer.status_code == 200
    assert remembered(answer) == (world.guest.user["referralCode"], world.code)


FRONT = ["?ref={r}", "?ref={R}", "?ref={r}.", "?ref={r}%22", "?ref={r}?fbclid=x",
         "?fbclid=x&ref={r}", "?fbclid=x&amp;ref={r}", "?ref%3D{r}", "?REF={R}",
         "?ref={r}/", "?ref={r})"]  # fmt: skip


@pytest.mark.parametrize("shape", FRONT)
def test_a_bent_link_to_the_front_page_credits_too(world, shape):
    referral = world.guest.user["referralCode"]
    answer = world.stranger.get("/" + shape.format(r=referral, R=referral.upper()))
    assert answer.status_code == 200
    assert remembered(answer) == (referral, "")


@pytest.mark.parametrize(
    "shape", ["?ref=short", "?ref={r}x", "?xref={r}", "?r={r}", "?ref={r}{r}"]
)
def test_what_is_no_referral_link_to_the_front_page_is_ignored(world, shape):
    path = "/" + shape.format(r=world.guest.user["referralCode"])
    answer = world.stranger.get(path)
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
