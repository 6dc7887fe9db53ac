"""What openapi.yaml says in words, because JSON Schema has none for it.

Schemathesis loads this file (see test_openapi.py); it changes generated requests only.
"""

import schemathesis

INTERVALS = {"intervalMin": 3, "intervalMax": 10}
WRITES = ("POST /api/sessions", "PATCH /api/sessions/{id}")


@schemathesis.hook
def map_case(context, case):
    """Seconds are whole and look it (20, not 20.0, which to JSON Schema is the same);
    `intervalMin` is at most `intervalMax`, defaults and stored values included."""
    body = case.body
    if case.operation.label in WRITES and isinstance(body, dict):
        pair = [body.get(name, default) for name, default in INTERVALS.items()]
        if INTERVALS.keys() & body.keys() and all(map(is_seconds, pair)):
            pair = sorted(int(value) for value in pair)
            case.body = body | dict(zip(INTERVALS, pair, strict=True))
    return case


def is_seconds(value):
    """Whether openapi.yaml's `Seconds` takes it."""
    return type(value) in (int, float) and 1 <= value <= 60 and value % 1 == 0
