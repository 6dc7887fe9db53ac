"""What a preview page does once somebody sees it: it sends its message."""

from __future__ import annotations

import html
import re
from typing import Any


def message(page: str) -> tuple[str, str] | None:
    """Where a page sends its message, and the token that it carries; None for a page
    that sends none."""
    body = re.search(r"<body[^>]*>", page)
    assert body, page[:200]
    said = dict(re.findall(r'data-(seen|token)="([^"]*)"', body[0]))
    return (html.unescape(said["seen"]), said["token"]) if said else None


def show(visitor: Any, page: str, **options: Any) -> Any:
    """The page is shown to this visitor: its message is sent, and answered."""
    sent = message(page)
    assert sent, "this page sends no message"
    path, token = sent
    return visitor.post(path, json={"token": token}, **options)


def visit(visitor: Any, path: str, **options: Any) -> Any:
    """A page is opened and shown; what the server answered to the message."""
    return show(visitor, visitor.get(path, **options).text)
