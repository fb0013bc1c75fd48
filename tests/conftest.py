"""Fixtures shared by all tests."""

import pytest


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch):
    """A test that reaches for a model hub fails at once instead of waiting for the network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
