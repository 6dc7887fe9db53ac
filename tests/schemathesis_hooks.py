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
        case.body = in_order(body)
        if isinstance(body.get("session"), dict):
            case.body = body | {"session": in_order(body["session"])}
    return case


def in_order(session):
    """A session whose intervals are in order, if they are intervals at all."""
    pair = [session.get(name, default) for name, default in INTERVALS.items()]
    if not INTERVALS.keys() & session.keys() or not all(map(is_seconds, pair)):
        return session
    ordered = sorted(int(value) for value in pair)
    return session | dict(zip(INTERVALS, ordered, strict=True))


def is_seconds(value):
    """Whether openapi.yaml's `Seconds` takes it."""
    return type(value) in (int, float) and 1 <= value <= 60 and value % 1 == 0
