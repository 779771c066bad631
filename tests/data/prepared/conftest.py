import pytest


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr("stylegen.data.prepared.prepare._IMAGES_PER_SHARD", (4, 4))
