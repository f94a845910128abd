"""What was there before a sync isn't walked through by the garbage collector; afterwards all is as it was."""

from __future__ import annotations

import gc

import pytest

from airflow_provider_halo.sync.gc_frozen import gc_frozen


@pytest.fixture(autouse=True)
def _nothing_frozen():
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_the_heap_comes_back_with_the_last_block():
    with gc_frozen():
        with gc_frozen():
            assert gc.get_freeze_count()
        assert gc.get_freeze_count()
    assert not gc.get_freeze_count()


def test_it_comes_back_after_an_error():
    with pytest.raises(ZeroDivisionError), gc_frozen():
        raise ZeroDivisionError
    assert not gc.get_freeze_count()


def test_what_somebody_else_has_frozen_stays_frozen():
    gc.freeze()
    with gc_frozen():
        pass
    assert gc.get_freeze_count()


def test_a_sync_leaves_nothing_set_aside(app):
    app.fill(users=[(1, None, "Ada", "ada@acme.example", 1)])
    app.sync()
    assert not gc.get_freeze_count()
