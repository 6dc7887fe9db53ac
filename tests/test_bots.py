"""Crawlers, unfurlers and programs are machines; in-app browsers are people."""

import json
from pathlib import Path

import crawleruseragents
import pytest

import joip_share

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15"
IPHONE = f"{PHONE} (KHTML, like Gecko) Mobile/15E148"
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
    "nobody": "",
}


@pytest.mark.parametrize("agent", PEOPLE.values(), ids=PEOPLE)
def test_browsers_are_people_inside_apps_too(agent):
    assert not joip_share.is_bot(agent)


@pytest.mark.parametrize("agent", MACHINES.values(), ids=MACHINES)
def test_crawlers_unfurlers_and_programs_are_machines(agent):
    assert joip_share.is_bot(agent)


def test_every_instance_in_the_lists_own_test_data_is_a_machine():
    folder = Path(crawleruseragents.__file__).parent
    rows = json.loads((folder / "crawler-user-agents.json").read_text())
    agents = [agent for row in rows for agent in row["instances"]]
    assert len(agents) > 2000
    assert [agent for agent in agents if not joip_share.is_bot(agent)] == []


def test_people_are_counted_and_machines_are_left_out(owner, visitor):
    session_id = owner.make_session()
    code = owner.share(session_id)["shareCode"]
    for agent in (*PEOPLE.values(), *MACHINES.values()):
        for path in (f"/shared/{code}", f"/api/shared/{code}/preview"):
            assert visitor.get(path, agent=agent).status_code == 200
    stats = owner.get(f"/api/sessions/{session_id}/stats").json
    assert stats["totals"]["opens"] == 2 * len(PEOPLE)
    assert stats["excluded"]["bot"] == 2 * len(MACHINES)


def test_a_user_agent_of_any_length_and_any_bytes_is_only_a_user_agent(owner, visitor):
    code = owner.share(owner.make_session())["shareCode"]
    for agent in ("x" * 20_000, "Mozilla/5.0 \xff\xfe é", "(" * 5000, "Java " * 800):
        answer = visitor.get(f"/api/shared/{code}/preview", agent=agent)
        assert answer.status_code == 200
