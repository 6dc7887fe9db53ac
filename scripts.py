"""Lua by the name of its file: what Redis runs as one step."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

LUA = Path(__file__).parent / "lua"

Command = tuple[Any, ...]


class Script:
    """A script, made into a command by calling it. All its keys share a slot; what it
    will not do, it tells by an error of one word in capitals."""

    texts: ClassVar[dict[str, str]] = {}  # by SHA-1, for a server that has not seen it

    def __init__(self, text: str) -> None:
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.texts[self.sha] = text

    def __call__(self, keys: Sequence[str], *args: Any) -> Command:
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


@functools.cache
def script(name: str) -> Script:
    """The script in lua/<name>.lua, where a line `-- include parts/count` stands for
    the text of lua/parts/count.lua. Raises OSError where there is no such file."""

    def included(match: re.Match[str]) -> str:
        return (LUA / f"{match[1]}.lua").read_text("utf-8").rstrip()

    text = (LUA / f"{name}.lua").read_text("utf-8")
    return Script(re.sub(r"^-- include (\S+)$", included, text, flags=re.MULTILINE))


def by_text(command: Command, shebang: bool = True) -> Command:
    """The same command for a server that has not seen the script; without its shebang,
    the line `#!lua`, where that cannot be read."""
    text = Script.texts[command[1]]
    return ("EVAL", text if shebang else re.sub("^#!.*", "", text), *command[2:])
