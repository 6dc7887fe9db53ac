"""People with browsers, for the tests of the pages: each with cookies of their own."""

from __future__ import annotations

import base64
import os
import time
from collections import Counter

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from servers import PERSON, ROOT

ARGS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
    # Nothing is heard until the page is touched, as on telephones.
    "--autoplay-policy=document-user-activation-required",
]  # fmt: skip
PATIENCE = 15_000  # ms
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}

LOOKS = {
    "light": {"color_scheme": "light", "forced_colors": "none"},
    "dark": {"color_scheme": "dark", "forced_colors": "none"},
    "forced": {"color_scheme": "light", "forced_colors": "active"},
}
# What axe-core looks at: but for contrast all is the same in any light, and in forced
# colours every text has the reader's own, which it does not know of.
RULES = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}

# Makes chromium an iPhone of 2021: what that has not.
OLD = """
  const without = (object, ...names) => names.forEach((name) => delete object[name]);
  without(Document.prototype, ...Object.getOwnPropertyNames(Document.prototype)
    .filter((name) => /fullscreen/i.test(name)));
  without(HTMLDialogElement.prototype, "showModal", "close", "open");
  without(Navigator.prototype, "wakeLock", "mediaSession", "share", "userActivation");
  without(Array.prototype, "at", "findLast", "toSorted");
  without(URL, "canParse", "parse");
  without(Object, "hasOwn", "groupBy");
  without(HTMLElement.prototype, "inert", "popover");
  without(SubmitEvent.prototype, "submitter");
  without(window, "structuredClone");
"""

# Makes chromium one that forbids pages to keep anything.
FORBIDDEN = """
  for (const name of ["localStorage", "sessionStorage"]) {
    Object.defineProperty(window, name, {
      get() { throw new DOMException("", "SecurityError") },
    });
  }
"""

# Makes chromium one that lets a page copy nothing, as where there is no https.
UNCOPIED = """
  Object.defineProperty(navigator, "clipboard", { value: undefined });
  document.execCommand = () => false;
"""


class Person:
    """Somebody with cookies of their own; whatever the console complains of is kept."""

    def __init__(self, browser, site, **options):
        self.url = site.url
        usual = {"viewport": WIDE, "user_agent": PERSON}
        self.context = browser.new_context(**usual | options)
        self.context.set_default_timeout(PATIENCE)
        self.page = self.context.new_page()
        self.expected = []  # parts of addresses that are meant to fail
        self.complaints = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, message):
        text = f"{message.text} {message.location['url']}"
        if message.type in ("error", "warning") and not any(
            part in text for part in self.expected
        ):
            self.complaints.append(text)

    def __getattr__(self, name):
        return getattr(self.page, name)

    def go(self, path):
        """Open a path of the service, or an address."""
        self.page.goto(path if path.startswith("http") else self.url + path)

    def press(self, name, exact=False):
        """Click the button of that name."""
        self.page.get_by_role("button", name=name, exact=exact).click()

    def copied(self, name):
        """Click a button that copies; what it has put into the clipboard."""
        self.press(name)
        expect(self.page.locator("#announce")).to_have_text("Copied.")
        return self.page.evaluate("navigator.clipboard.readText()")

    def follow(self, name):
        """Click the first link of that name."""
        self.page.get_by_role("link", name=name).first.click()

    def heading(self, name):
        """Wait for the page of that name."""
        expect(self.page.get_by_role("heading", name=name, level=1)).to_be_visible()

    def borrow(self, client):
        """Take over an API client's cookies."""
        for cookie in client.cookies:
            given = {"name": cookie.name, "value": cookie.value, "url": self.url}
            self.context.add_cookies([given])
        return self

    def finger(self, start, end):
        """Draw a finger over the screen, by the browser's own input."""
        touch = self.context.new_cdp_session(self.page)
        for step in range(11):
            x, y = (a + (b - a) * step / 10 for a, b in zip(start, end, strict=True))
            kind = "touchMove" if step else "touchStart"
            event = {"type": kind, "touchPoints": [{"x": x, "y": y}]}
            touch.send("Input.dispatchTouchEvent", event)
        lifted = {"type": "touchEnd", "touchPoints": []}
        touch.send("Input.dispatchTouchEvent", lifted)

    def double_tap(self, x, y):
        """Tap twice within a tenth of a second, however busy the machine is."""
        touch = self.context.new_cdp_session(self.page)
        begun = time.time()
        for n, kind in enumerate(("touchStart", "touchEnd") * 2):
            points = [{"x": x, "y": y}] if kind == "touchStart" else []
            event = {"type": kind, "touchPoints": points, "timestamp": begun + n / 30}
            touch.send("Input.dispatchTouchEvent", event)

    def lose_answer(self, pattern):
        """What is asked next at such an address is done, and its answer gets lost."""

        def lose(route):
            route.fetch()
            route.abort()

        self.page.route(pattern, lose, times=1)

    def faults(self, look="light"):
        """What axe-core finds in the page, as it is now."""
        if look not in RULES:
            return []
        found = Axe().run(self.page, options=RULES[look]).response["violations"]
        return [f"{v['id']} at {node['target']}" for v in found for node in v["nodes"]]

    def photograph(self, name, **options):
        """Keep a picture in screenshots/, which git ignores, for who sets SCREENSHOTS:
        no test looks at one."""
        if os.environ.get("SCREENSHOTS"):
            path = ROOT / "screenshots" / f"{name}.jpg"
            self.page.screenshot(path=path, **options)

    def colours(self, box):
        """The colours of the pixels in a box of the screen, and how often each is."""
        png = base64.b64encode(self.page.screenshot(clip=box)).decode()
        paper = self.context.new_page()
        pixels = paper.evaluate(PIXELS, png)
        paper.close()
        return Counter(map(tuple, pixels))


PIXELS = """async (png) => {
  const image = new Image();
  image.src = `data:image/png;base64,${png}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  const colour = (_, n) => [...data.slice(n * 4, n * 4 + 3)];
  return Array.from({ length: data.length / 4 }, colour);
}"""


def contrast(one, other):
    """The contrast ratio of two colours (WCAG 2.2)."""
    lights = sorted((luminance(one), luminance(other)), reverse=True)
    return (lights[0] + 0.05) / (lights[1] + 0.05)


def luminance(colour):
    """The relative luminance of an sRGB colour (WCAG 2.2)."""
    parts = [value / 255 for value in colour]
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return sum(p * w for p, w in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))
