"""README.md's transcript is true: its commands, run in order, print what it shows."""

import re
import subprocess
import sys

import requests

from servers import ROOT, Process, free_port, wait_for

SHOWN_AT = "http://127.0.0.1:8000"
BLOCK = re.compile(r"^```console\n(\$ .*?)^```$", re.MULTILINE | re.DOTALL)
# What differs from run to run, and what it becomes; the longest shapes first.
VARYING = [
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<code>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>"),
    (r'"id":\d{15,16}\b', '"id":<id>'),
    (r'"id":"[0-9a-f]{32}"', '"id":"<id>"'),
    (r'"userId":"[0-9a-f]{32}"', '"userId":"<id>"'),
    (r'"requestId":"[A-Za-z0-9._-]{1,64}"', '"requestId":"<request>"'),
    (r'"referralCode":"[a-z0-9]{8}"', '"referralCode":"<referral>"'),
    (r"\?r=[a-z0-9]{8}", "?r=<referral>"),
]


def transcript():
    """Each command of the README with the output it shows; what is indented goes on
    with the command above it."""
    [block] = BLOCK.findall((ROOT / "README.md").read_text())
    steps = []
    for line in block.splitlines():
        if line.startswith("$ "):
            steps.append([line[2:], []])
        elif line.startswith("    "):
            steps[-1][0] += f"\n{line}"
        else:
            steps[-1][1].append(line)
    return [(command, "\n".join(output).strip()) for command, output in steps]


def plain(text):
    """The text without what differs from run to run."""
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text)
    return text


def run(commands, folder):
    """What each command prints, all of them in one bash, one after another."""
    mark = "--8<-- next"
    script = "".join(f"{command}\necho; echo '{mark}'\n" for command in commands)
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return [output.strip() for output in done.stdout.split(mark)[:-1]]


def test_the_readmes_transcript_is_what_happens(tmp_path):
    """At the service to try, as `make run` starts it, on another port."""
    steps, port = transcript(), free_port()
    url = f"http://127.0.0.1:{port}"
    command, env = [sys.executable, "joip_share.py"], {"PORT": str(port)}
    with Process(command, tmp_path / "log", cwd=ROOT, env=env):
        wait_for(lambda: requests.get(f"{url}/readyz", timeout=30).ok)
        commands = [command.replace(SHOWN_AT, url) for command, _ in steps]
        outputs = run(commands, tmp_path)
    printed = [output.replace(url, SHOWN_AT) for output in outputs]
    for (command, shown), output in zip(steps, printed, strict=True):
        assert plain(output) == plain(shown), command


def test_the_readmes_transcript_is_a_users_first_five_minutes():
    shown = "\n".join(output for _, output in transcript())
    assert re.findall(r'"code":"(\w+)"', shown) == [
        "UNAUTHORIZED", "SHARED_SESSION_NOT_FOUND"
    ]  # fmt: skip
    for step in ("/api/register", "/share ", "/preview", "/stats", "-X DELETE"):
        assert any(step in command for command, _ in transcript())
