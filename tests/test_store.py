"""The store's contract, on Redis in memory and on a real redis-server."""

import pytest

from redis_link import Link
from store import Store
from store_contract import StoreContract, code, owner, session_id, settled  # noqa: F401


@pytest.fixture
def store(redis):
    return Store(Link(redis))


class TestStore(StoreContract):
    """On one Redis."""
