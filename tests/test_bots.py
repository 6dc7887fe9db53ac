"""Crawlers, unfurlers and programs are machines; whoever holds a telephone is not."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import crawleruseragents
import pytest
import yaml_rs
from hypothesis import given, settings
from hypothesis import strategies as st

from machines import BORNE_BY_BROWSERS
from visits import AGENT_LENGTH, is_machine

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15"
IPHONE = f"{PHONE} (KHTML, like Gecko) Mobile/15E148"
IPAD = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko)"
)
SAFARI = f"{PHONE} (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0"
WEBVIEW = (
    "Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/AP1A.240505.004; wv) "
    "AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/125.0.6422.165 "
    "Mobile Safari/537.36"
)
WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME}"

PEOPLE = {
    "Instagram on iOS": f"{IPHONE} Instagram 334.0.4.32.98 (iPhone14,5; iOS 17_5)",
    "Instagram on Android": f"{WEBVIEW} Instagram 334.0.0.42.95 Android (34/14)",
    "Facebook on iOS": f"{IPHONE} [FBAN/FBIOS;FBAV/467.1.0.44.109;FBDV/iPhone15,2]",
    "Facebook on Android": f"{WEBVIEW} [FB_IAB/FB4A;FBAV/466.0.0.51.78;]",
    "Messenger": f"{IPHONE} [FBAN/MessengerForiOS;FBAV/429.0.0.32.107;FBLC/en_GB]",
    "Threads": f"{IPHONE} Barcelona 330.0.3.24.107 (iPhone15,2; iOS 17_4; en_US)",
    "Line on iOS": f"{IPHONE} Safari Line/14.9.0",
    "Line on Android": f"{WEBVIEW} Line/14.7.1/IAB",
    "TikTok on iOS": f"{IPHONE} musical_ly_34.9.0 JsSdk/2.0 BytedanceWebview/d8a21c6",
    "TikTok on Android": f"{WEBVIEW} trill_340905 AppName/musical_ly ByteLocale/de-DE",
    "WeChat": f"{WEBVIEW} XWEB/1160117 MicroMessenger/8.0.49.2600 WeChat/arm64",
    "Snapchat on iOS": f"{IPHONE} Snapchat/12.88.0.43 (like Safari/8618.2.12, panda)",
    "Snapchat on Android": f"{WEBVIEW} Snapchat12.87.0.46 (Pixel 8; Android 14)",
    "Pinterest": f"{IPHONE} [Pinterest/iOS]",
    "LinkedIn": f"{IPHONE} [LinkedInApp]/9.29.7362",
    "Twitter": f"{SAFARI} Twitter for iPhone/10.44",
    "Twitter on Android": f"{WEBVIEW} TwitterAndroid",
    "Telegram": f"{SAFARI} Telegram-iOS/10.13",
    "Telegram on Android": f"{WEBVIEW} Telegram-Android/11.2.3 (Android 14; SDK 34)",
    "Slack's desktop app": f"{WINDOWS} Electron/9.0.5 Sonic Slack_SSB/4.7.0",
    "Discord's desktop app": f"{WINDOWS} discord/1.0.9147 Electron/28.2.10",
    "Mattermost's desktop app": f"{WINDOWS} Electron/30.0.9 Mattermost/5.8",
    "Google's app": f"{PHONE} (KHTML, like Gecko) GSA/318.0.634488990 Mobile/15E148",
    "KakaoTalk": f"{IPHONE} KAKAOTALK/10.7.3 (INAPP)",
    "Viber": f"{WEBVIEW} Viber/22.8.0.0",
    "Steam's overlay": f"Mozilla/5.0 (X11; Valve Steam GameOverlay/17162) {CHROME}",
    "a CUBOT telephone": f"Mozilla/5.0 (Linux; Android 12; CUBOT KINGKONG 9) {CHROME}",
    "Safari": SAFARI,
    "Chrome": f"{WINDOWS} Safari/537.36",
    "Edge": f"{WINDOWS} Safari/537.36 Edg/125.0.2535.67",
    "Firefox": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Slack on Android": f"{WEBVIEW} Slack/24.05.10",
    "Bluesky's app": f"{IPHONE} Bluesky/1.90.0",
    "Mastodon's app": f"{IPHONE} Mastodon/2024.5",
    "Bluesky's app on an iPad": f"{IPAD} Bluesky/1.90.0",
    "Mastodon's app on an iPad": f"{IPAD} Mastodon/2024.5",
    "Tumblr's app on an iPad": f"{IPAD} Tumblr/33.5",
    "a scanner of QR codes on an iPad": f"{IPAD} CamScanner/6.63.0.2405",
    "a school's app": f"{WEBVIEW} Blackboard/3.6.1",
    "a scanner of QR codes": f"{WEBVIEW} CamScanner/6.63.0.2405",
    "Notion's desktop app": f"{WINDOWS} Notion/3.8.0 Electron/30.0.9",
    "Asana's desktop app": f"{WINDOWS} Asana/2.1.2 Electron/28.2.10",
    "Teams": f"{WINDOWS} Teams/1.6.00.26474 Electron/19.1.8",
    "Facebook in its newest form": f"{WEBVIEW} MetaIAB Facebook",
    "Facebook on a CUBOT": f"{WEBVIEW} [FBAN/FB4A;FBMF/CUBOT;FBDV/CUBOT_NOTE_S;]",
    "a bare in-app browser": "[FBAN/FBIOS;FBAV/467.1.0;FBDV/iPhone15,2;FBLC/en_GB]",
    "Android 15": "Mozilla/5.0 (Linux; Android 15; Pixel 9 Build/AP3A.240617.008) "
    f"{CHROME} Mobile Safari/537.36",
    "an HTC Butterfly": f"Mozilla/5.0 (Linux; Android 4.2; HTC Butterfly) {CHROME}",
    "Instagram on a CUBOT": f"{WEBVIEW} Instagram 334.0 Android (33; CUBOT_P80)",
    "UC Browser on an M bot": "UCWEB/2.0 (MIDP-2.0; U; Adr 7.0; M bot 60) UCBrowser/10",
    "an M bot 60": f"Mozilla/5.0 (Linux; Android 7.0; M bot 60 Build/NRD90M) {CHROME}",
    "Sogou's browser": f"{WEBVIEW} SogouMSE,SogouMobileBrowser/5.22.8",
    "a KaiOS telephone": "Mozilla/5.0 (Mobile; Nokia_8110_4G; rv:48.0) Gecko/48.0 "
    "Firefox/48.0 KAIOS/2.5",
    "Opera Mini": "Opera/9.80 (J2ME/MIDP; Opera Mini/7.1/37.9; U; en) Presto/2.12.423",
    "an old Nokia": "Nokia6230i/2.0 (03.80) Profile/MIDP-2.0 Configuration/CLDC-1.1",
    "an old Samsung": "SAMSUNG-SGH-E250",
    "a PlayStation": "Mozilla/4.0 (PSP (PlayStation Portable); 2.00)",
    "Internet Explorer": "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; "
    "Trident/6.0)",
    "Konqueror": "Mozilla/5.0 (compatible; Konqueror/4.5; Linux) KHTML/4.5",
    "Delphi's browser": "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 5.1; Embedded "
    "Web Browser from: http://bsalsa.com/)",
    "w3m": "w3m/0.5.3+git20230121",
    "Lynx": "Lynx/2.8.9rel.1 libwww-FM/2.14 SSL-MM/1.4.1 GNUTLS/3.6.13",
}

MACHINES = {
    "WhatsApp, and Signal in its name": "WhatsApp/2",
    "WhatsApp on iOS": "WhatsApp/2.24.11.79 i",
    "Facebook": "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "iMessage": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 "
    "(KHTML, like Gecko) Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot "
    "Twitterbot/1.0",
    "Slack": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Slack's images": "Slack-ImgProxy (+https://api.slack.com/robots)",
    "Twitter": "Twitterbot/1.0",
    "Telegram": "TelegramBot (like TwitterBot)",
    "Discord": "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "LinkedIn": "LinkedInBot/1.0 (compatible; Mozilla/5.0; +http://www.linkedin.com)",
    "Skype": "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
    "Teams": f"{WINDOWS} Teams/1.0 MicrosoftPreview/2.0",
    "Google's previews": f"Mozilla/5.0 (X11) {CHROME} Google-PageRenderer Google",
    "Snapchat": f"{WINDOWS} (compatible; Snap URL Preview Service; bot; snapchat)",
    "Pinterest": "Pinterest/0.2 (+https://www.pinterest.com/bot.html)",
    "Line": "facebookexternalhit/1.1;line-poker/1.0",
    "KakaoTalk": "facebookexternalhit/1.1; kakaotalk-scrap/1.0",
    "Viber": "Viber/13.3.0.9 CFNetwork/1125 Darwin/19.4.0",
    "Iframely": "Iframely/1.3.1 (+https://iframely.com/docs/about)",
    "Embedly": "Mozilla/5.0 (compatible; Embedly/0.2; +http://support.embed.ly/)",
    "Mastodon": "Mastodon/4.3.0 (http.rb/5.2.0; +https://mastodon.social/) Bot",
    "Bluesky": "Mozilla/5.0 (compatible; Bluesky Cardyb/1.1; +mailto:support@bsky.app)",
    "PeerTube": "PeerTube/6.1.0 (+https://example.org)",
    "Matrix": "Synapse (bot; +https://github.com/matrix-org/synapse)",
    "Notion": "Mozilla/5.0 (compatible; Notionbot/1.0; +https://notion.so)",
    "Dropbox": "DropboxPreviewBot/1.0",
    "Office": "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0; Pro)",
    "Google": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "OpenAI": f"{CHROME} (compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "headless Chrome": "Mozilla/5.0 (X11; Linux) HeadlessChrome/125.0.0.0 Safari",
    "curl": "curl/8.5.0",
    "Wget": "Wget/1.21.4",
    "python-requests": "python-requests/2.32.3",
    "Go": "Go-http-client/2.0",
    "Node": "node",
    "Java": "Java/17.0.2",
    "Postman": "PostmanRuntime/7.39.0",
    "Mattermost": "mattermost-9.5.0",
    "Google Messages": f"{WINDOWS} Safari/537.36 GoogleMessages/15.1",
    "Skype's link preview": f"{WINDOWS} SkypeUriPreview Preview/0.5 skype-url-preview",
    "Gmail's images": "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 "
    "(via ggpht.com GoogleImageProxy)",
    "Yahoo's mail": "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy",
    "Seznam's mail": "Mozilla/5.0 SeznamEmailProxy/2.0.174",
    "Outlook": "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Trident/7.0; "
    "Microsoft Outlook 16.0.5122; ms-office; MSOffice 16)",
    "Apple's networking": "com.apple.WebKit.Networking/8615 CFNetwork/1410",
    "okhttp": "okhttp/4.12.0",
    "axios": "axios/1.7.2",
    "node-fetch": "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
    "undici": "undici",
    "Apache's client": "Apache-HttpClient/4.5.13 (Java/11.0.20)",
    "Guzzle": "GuzzleHttp/7",
    "PowerShell": "Mozilla/5.0 (Windows NT; Windows NT 10.0) WindowsPowerShell/5.1",
    "UptimeRobot": "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
    "Pingdom": "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
    "Kubernetes": "kube-probe/1.29",
    "Amazon's balancer": "ELB-HealthChecker/2.0",
    "Google's balancer": "GoogleHC/1.0",
    "Consul": "Consul Health Check",
    "something of one's own": "acme-link-resolver/1.2",
    "a browser's name and nothing else": "Mozilla/5.0",
    "blanks": "  \t ",
    "nobody": "",
}


@pytest.mark.parametrize("agent", PEOPLE.values(), ids=PEOPLE)
def test_browsers_are_people_inside_apps_too(agent):
    assert not is_machine(agent)


@pytest.mark.parametrize("agent", MACHINES.values(), ids=MACHINES)
def test_crawlers_unfurlers_and_programs_are_machines(agent):
    assert is_machine(agent)


# Real user agents by the thousand, as packages ship them.

# What `device_detector` calls browsers although nobody looks at their pages: Apple's
# and Google's networking libraries, a game shop's downloads, Office's link resolver,
# apps that ask for data.
PROGRAMS = re.compile(
    r"CFNetwork/|Cronet/|GOGGalaxyClient|MSOffice|wp-android|com\.ipspirates"
)


@pytest.fixture(scope="module")
def fixtures():
    """Matomo's test data: user agents with what they are, in `device_detector`."""
    folder = files("device_detector") / "tests" / "fixtures" / "upstream"
    rows = []
    for file in folder.iterdir():
        if file.name.endswith(".yml"):
            rows += yaml_rs.loads(file.read_text("utf-8"))
    return rows


@pytest.fixture(scope="module")
def browsers(fixtures):
    """User agents of real browsers."""
    lines = (files("fake_useragent") / "data" / "browsers.jsonl").read_text("utf-8")
    agents = {json.loads(line)["useragent"] for line in lines.splitlines()}
    for row in fixtures:
        if "bot" not in row and (row.get("client") or {}).get("type") == "browser":
            agents.add(row["user_agent"])
    return {agent for agent in agents if agent and not PROGRAMS.search(agent)}


@pytest.fixture(scope="module")
def listed():
    """The kept list's own examples, but for those of entries that people bear."""
    return {
        agent
        for row in crawleruseragents.CRAWLER_USER_AGENTS_DATA
        if row["pattern"] not in BORNE_BY_BROWSERS
        for agent in row["instances"]
    }


def tell(capsys, what, agents, wrong):
    """Figures for whoever reads the test's output."""
    with capsys.disabled():
        print(f"\n{len(agents)} {what} {len(wrong)} ({len(wrong) / len(agents):.1%})")


def test_not_one_of_30_000_browsers_is_a_machine(capsys, browsers):
    lost = [agent for agent in browsers if is_machine(agent)]
    tell(capsys, "people, lost:", browsers, lost)
    assert len(browsers) > 30_000
    assert lost == []


def test_at_most_5_percent_of_real_machines_are_missed(capsys, fixtures, listed):
    bots = {row["user_agent"] for row in fixtures if "bot" in row}
    for name, agents in (("Matomo's", bots), ("the list's", listed)):
        missed = [agent for agent in agents if not is_machine(agent)]
        tell(capsys, f"of {name} machines, missed:", agents, missed)
        assert len(agents) > 1000
        assert len(missed) <= 0.05 * len(agents)


def test_programs_that_name_no_browser_are_machines(fixtures):
    libraries = [
        row["user_agent"]
        for row in fixtures
        if (row.get("client") or {}).get("type") in ("library", "feed reader")
    ]
    assert len(libraries) > 90
    missed = [agent for agent in libraries if not is_machine(agent)]
    assert len(missed) <= 0.05 * len(libraries), missed


def test_what_is_struck_from_the_list_still_stands_in_it():
    """An entry that the list mends itself needs no mending here."""
    entries = {row["pattern"] for row in crawleruseragents.CRAWLER_USER_AGENTS_DATA}
    assert set(BORNE_BY_BROWSERS) - entries == set()


# No telephone, no build and no app can make somebody a machine.

WORDS = st.sampled_from(
    [
        re.sub(r"[^\w .-]", "", row["pattern"]) or "bot"
        for row in crawleruseragents.CRAWLER_USER_AGENTS_DATA
    ]
)
NAMES = WORDS | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 _+.-]{0,30}", fullmatch=True)
MANY = settings(max_examples=300, derandomize=True, deadline=None)


@MANY
@given(model=NAMES, build=NAMES)
def test_no_model_and_no_build_of_a_telephone_makes_a_machine(model, build):
    for device in (model, f"{model} Build/{build}", f"SM ({model}) Build/{build}; wv"):
        agent = (
            f"Mozilla/5.0 (Linux; Android 15; {device}) {CHROME} Mobile Safari/537.36"
        )
        assert not is_machine(agent)


@MANY
@given(app=st.from_regex(r"[A-Z][a-z]{2,11}[A-Z]?[a-z]{0,7}", fullmatch=True) | WORDS)
def test_only_an_app_that_calls_itself_a_machine_is_one(app):
    for browser in (IPHONE, WEBVIEW, f"{WINDOWS} Electron/30.0.9"):
        if is_machine(f"{browser} {app}/1.0"):
            assert re.search(
                r"(?i)bot|crawl|spider|scrap|preview|synthetic|unfurl|slurp|headless"
                r"|pingdom|facebookexternalhit|PTST|cypress", app
            )  # fmt: skip


@MANY
@given(agent=st.text(max_size=600) | st.text("(;) A/Mozilla.[FB@:", max_size=600))
def test_any_text_is_a_user_agent_and_only_its_beginning_counts(agent):
    assert is_machine(agent) == is_machine(agent[:AGENT_LENGTH])


def test_people_are_counted_and_machines_are_left_out(world):
    for agent in (*PEOPLE.values(), *MACHINES.values()):
        for path in (f"/shared/{world.code}", f"/api/shared/{world.code}/preview"):
            assert world.stranger.get(path, agent=agent).status_code == 200
    answer = world.owner.get(f"/api/sessions/{world.session_id}/stats").json
    assert answer["totals"]["opens"] == 2 * len(PEOPLE)
    assert answer["excluded"]["bot"] == 2 * len(MACHINES)


def test_a_user_agent_of_any_length_and_any_bytes_is_only_a_user_agent(world):
    preview = f"/api/shared/{world.code}/preview"
    for agent in ("x" * 20_000, "Mozilla/5.0 \xff\xfe é", "(" * 5000, "Java " * 800):
        assert world.stranger.get(preview, agent=agent).status_code == 200
