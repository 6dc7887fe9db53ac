"""Which user agents are machines: the kept list, and where it is mended."""

from __future__ import annotations

import re

import crawleruseragents

# Entries of the list that take people for machines, each with its reason.
NOT_MACHINES = {
    r"AP3A\.240617\.008": "the build number of Android 15 on many telephones",
    r"MetaIAB Facebook": "Facebook's in-app browser",
    r"Sonic": "a word that Slack's desktop app bears",
}
# What the list does not know of.
OWN = (
    # How machines speak of themselves; but CUBOT makes telephones.
    r"(?<!cu)bot\b|crawl|spider|scrap[ey]|unfurl|https?://"
    r"|(?:link|url|microsoft).?preview"
    # Unfurlers without such a word.
    r"|^(?:Iframely|Viber|Valve/Steam|Synapse|matrix-media|mattermost|Misskey|Discourse)"
    r"|Cardyb|Google(?:Messages|-Safety|-PageRenderer)|XING-content|^Microsoft Office"
    r"|ms-office"
    # Programs.
    r"|^(?:Java|node|undici|Ruby|PHP|GuzzleHttp|PostmanRuntime|insomnia|Deno|Bun|reqwest"
    r"|Dart|Faraday)\b|WindowsPowerShell|^(?!Mozilla/).*CFNetwork/"
)
PEOPLE = re.compile(r"^Mozilla/5\.0 .* (?:Slack_SSB|Viber|ViberPC)/\d")
MACHINES = re.compile(OWN, re.IGNORECASE)
LISTED = re.compile(
    "|".join(
        row["pattern"]
        for row in crawleruseragents.CRAWLER_USER_AGENTS_DATA
        if row["pattern"] not in NOT_MACHINES
    )
)
