"""Which user agents are machines: a kept list, mended where it takes people for them.

The list is `crawler-user-agents` (monperrus, monthly releases). It matches its entries
anywhere, so that the builds of telephones and the names of apps make people machines.
Here an agent is read in this order:

1. A browser names its engine, and an old telephone its maker. What names neither is a
   program: an HTTP library, a health check, a link resolver, a mail proxy.
2. What stands for the telephone (model, build) names nobody and is struck out.
3. Who calls itself a machine in what is left is one.
4. The browser inside an app bears the app's name; more than that proves nothing there.
5. Elsewhere the list's entries count, as whole words, and the names that it lacks.

`tests/test_bots.py` holds this to some 35,000 real browsers and 3,500 real machines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import crawleruseragents

# Entries of the list that browsers bear as well, with the people whom they would lose.
BORNE_BY_BROWSERS = {
    r"AP3A\.240617\.008": "everybody whose telephone runs this build of Android 15",
    r"MetaIAB Facebook": "Facebook's in-app browser",
    r"Sonic": "Slack's desktop app (Sonic Slack_SSB)",
    r"Viber": "Viber's browser; its unfurler names no engine",
    r"Sogou": "Sogou's browser; its crawlers call themselves spiders",
    r"Blackboard": "the app of many schools; its crawler names no engine",
    r"Butterfly": "HTC's telephone; the crawler gives its address",
    r"Fever": "a telephone; the feed reader gives its address",
    r"Fluid": "a browser for a single site",
}

# What browsers and old telephones are known by.
BROWSER = re.compile(
    r"""
    # Engines, and browsers older than engines.
      AppleWebKit | WebKit/ | Gecko | KHTML | Presto | Trident | MSIE | Opera | OPR/
    | Chrom(?:e|ium)[/ _] | Firefox/ | Safari/ | Browser[/ ] | [a-z]Browser\b | Mosaic/
    | NetFront | Obigo | Teleca | Polaris | Dalvik/ | \(Linux;\ U;\ Android | HbbTV
    | UCWEB | AWeb | HotJava | PalmOS | ^Qwant | ^Aloha
    | \b(?: Lynx | E?Links | w3m | Dillo | NetSurf | iCab | OmniWeb | Konqueror | Midori
        | Uzbl | Galeon | Amaya | Bunjalloo | IBrowse | AmigaVoyager | Palmscape | Xiino
        | JUC | Surf | Iron | NCSA[ _]Mosaic )\b
    # Old telephones and televisions.
    | MIDP | CLDC | \bWAP | UP\.Link | MAUI | Series\ ?[46]0 | Symbian | \bBREW
    | DoCoMo | KDDI | J-PHONE | Vodafone | SoftBank | smart-?tv | Tizen
    | ^(?: Nokia | Samsung | SEC- | SGH- | SCH- | GT- | Sony | MOT- | Motorola | LG
        | SIE- | Alcatel | HTC | ZTE | Huawei | Lenovo | ASUS | Pantech | Sagem | BIRD
        | Philips | KWC- | BlackBerry | Palm | iPhone | iPad | iPod )
    | ^(?: Linux;\ U;\ )?Android\ \d
    # Apps that are given instead of the browser inside them.
    | \[FB | Instagram\ \d
    # Netscape's days.
    | ^Mozilla/[1-4]\.\d.* (?: Win | Mac | X11 | Linux | Amiga | RISC\ OS | PlayStation
        | Palm | SonyEricsson | Charon | Danger | AvantGo | NetPositive | WebTV )
    | ^Mozilla/5\.0\ \( (?: Windows | Macintosh | X11 | Linux | Android | iP | Danger
        | PlayStation | Nintendo | Nokia | Apple )
    """,
    re.IGNORECASE | re.VERBOSE,
)
TELEPHONE = re.compile(
    # "(Linux; Android 12; CUBOT KINGKONG 9 Build/SP1A)", with brackets in some models;
    # but not what gives a name of its own there: "(Linux; Android 8.0; Pixel 2
    # Build/OPD3; Storebot-Google/1.0)".
    r"\((?![^()]*(?:compatible|https?:|-Google/))[^()]*\b(?:Android|Adr)\b"
    r"[^()]*(?:\([^()]*\)[^()]*)*\)"
    # "Instagram 334.0 Android (34/14; 420dpi; 1080x2340; CUBOT; P80; mt6833)"
    r"|\bAndroid \([^()]*\)"
    # "[FBAN/FB4A;FBAV/466.0;FBMF/CUBOT;FBDV/CUBOT_NOTE_S;]"
    r"|\[FB[^\]]*"
)
# Android's WebView, Electron, everything on iOS; and WebKit without Safari that calls
# itself a Macintosh: apps on iPads (WebKit, WKWebpagePreferences.ContentMode.desktop).
APP = re.compile(
    r"; wv\)|\bElectron/|\((?:iPhone|iPad|iPod)"
    r"|\(Macintosh;[^()]*\) AppleWebKit/[\d.]+ \(KHTML, like Gecko\)"
    r"(?!.*\b(?:Version|Chrome|Safari)/)"
)

# How machines speak of themselves.
SELF_STYLED = re.compile(
    r"""
      (?<!cu)bot (?: s?\b | [_-] ) | crawl | spider | scrap[ey] | unfurl | slurp
    | (?: link | ur[li] | bing | microsoft ).?preview | facebookexternalhit | synthetic
    | headless
    # Addresses for complaints, but not those that old browsers give.
    | https?:// (?! (?:www\.)? (?:bsalsa|qtweb|avantbrowser)\. ) | mailto:
    | [\w.+-] @ [a-z][\w-]* \. [a-z]{2}
    # "Mozilla/5.0 (compatible; Name/1.0)", "(KHTML, like Gecko; Name/1.0)"
    | ^Mozilla/5 (?! .* (?: MSIE\ ?\d | Trident/ | rv:\d ) ) .* \b(?-i:compatible);\ ?
        (?! \ | Konqueror | Teleca | OSS/ | U; | IBrowse | iCab | Origyn | Windows
        | Linux | Intel )
    | KHTML,\ like\ Gecko;\ (?!googleweblight | Version)
    | \bPTST\b | Pingdom | Cypress/ | wechatdevtools
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Machines that the list lacks. An app may well be a scanner or a monitor.
UNLISTED = re.compile(
    r"""
      scanner | checker | monitor | uptime | validator | archiver | fetcher | lighthouse
    | screenshot | thumbnail | (?<!WAP\ )proxy/ | (?<!user.)agent[/ ]\d | \bAgent-
    | \bGoogle (?: - | \ (?:Page\ Speed|Search\ Console|favicon) | Messages )
    | Cloudflare | Cardyb | XING-content | Neustar\ WPM | Keydrop | TagInspector
    | DejaClick | Sparkler | Mixnode | Functionize | Assetnote | WhatCMS | Classifier
    | Transcoder | burpcollaborator | \ proxy\)
    # Office asks for a link before it hands it to the browser (Microsoft, KB 899927).
    | ms-office | MSOffice | Microsoft\ Outlook | \b(?:Word|Excel|PowerPoint)/\d
    | WindowsPowerShell | \bJava/1\. | CFNetwork/ | Cronet/
    """,
    re.IGNORECASE | re.VERBOSE,
)


def _whole_words(patterns: Iterable[str]) -> str:
    """Entries from a word's start to its end; grouped by initial, 20 times as fast."""
    by_initial: dict[str, list[str]] = {}
    for pattern in patterns:
        plain = pattern[0].isalnum() and "|" not in pattern
        end = r"(?!\w)" if pattern[-1].isalnum() else ""
        initial, rest = (pattern[0], pattern[1:]) if plain else ("", f"(?:{pattern})")
        by_initial.setdefault(initial, []).append(rest + end)
    words = (f"{initial}(?:{'|'.join(rests)})" for initial, rests in by_initial.items())
    return rf"(?<!\w)(?:{'|'.join(words)})"


LISTED = re.compile(
    _whole_words(
        row["pattern"]
        for row in crawleruseragents.CRAWLER_USER_AGENTS_DATA
        if row["pattern"] not in BORNE_BY_BROWSERS
    )
)


def names_a_machine(agent: str) -> bool:
    """Whether a user agent is a crawler's, an unfurler's or another program's."""
    if not BROWSER.search(agent):
        return True
    rest = TELEPHONE.sub("", agent)
    if SELF_STYLED.search(rest):
        return True
    if APP.search(agent):
        return False
    return bool(UNLISTED.search(rest) or LISTED.search(rest))
