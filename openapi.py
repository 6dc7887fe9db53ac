"""The OpenAPI 3.1 document: paths by hand in openapi.yaml, schemas from the types that
bodies are checked by and answers are made of."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import msgspec
import yaml

from answers import ANSWERS
from inputs import BODIES

# In C where PyYAML has it: reading takes a tenth of the time, at every start.
SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SCHEMAS = "#/components/schemas/{name}"
DOCUMENT = {"type": "object", "required": ["openapi", "info", "servers", "paths"]}


def document(public_url: str, cookie_name: str = "connect.sid") -> dict[str, Any]:
    """The document, with the service at this URL as its server."""
    return _document(cookie_name) | {"servers": [{"url": public_url}]}


@functools.cache
def _document(cookie_name: str) -> dict[str, Any]:
    text = (Path(__file__).parent / "openapi.yaml").read_text("utf-8")
    written = yaml.load(text, SafeLoader)  # noqa: S506 - it is one
    types = [*BODIES, *ANSWERS]
    _, schemas = msgspec.json.schema_components(types, ref_template=SCHEMAS)
    written["components"]["schemas"] = {
        name: _in_ecma(schema) for name, schema in schemas.items()
    } | {"OpenApiDocument": DOCUMENT}
    written["components"]["securitySchemes"]["login"]["name"] = cookie_name
    return dict(written)


def _in_ecma(schema: Any) -> Any:
    """A schema without members that are not named, whose patterns end as ECMA-262 has
    it, which JSON Schema asks for."""
    if isinstance(schema, list):
        return [_in_ecma(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    ended = {name: _in_ecma(part) for name, part in schema.items()}
    if "properties" in ended:
        ended["additionalProperties"] = False
    if isinstance(ended.get("pattern"), str):
        ended["pattern"] = ended["pattern"].replace(r"\Z", "$")
    return ended
