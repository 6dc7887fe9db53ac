"""The store's contract, on Redis in memory and on a real redis-server."""

import pytest

import joip_share
from store_contract import StoreContract, code, owner, session_id  # noqa: F401


@pytest.fixture
def store(redis):
    return joip_share.create_app(joip_share.Settings(), redis).store


class TestStore(StoreContract):
    """On one Redis."""
