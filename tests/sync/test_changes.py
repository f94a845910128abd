"""The ledger tells which records differ from what it has, on every kind of database alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from databases import own_url

from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.ledger.acknowledged import AcknowledgedRecords, Acknowledgement, KnownRecord
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.records.fingerprint import Fingerprinter
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.settings import HaloSettings
from airflow_provider_halo.sync.changes import ChangeFinder, ChangeOptions

SETTINGS = HaloSettings(widget_key="ab_live_sandbox", base_url="http://127.0.0.1:9")
ONE, TWO = b"\x00" * 15 + b"\x0f", b"\xff" * 16
KEYS = ["17", "it's", 'quo"te', "back\\slash", "%s :x {0}", "Zürich", "\U0001f600"]


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("psycopg2", marks=pytest.mark.databases),
        pytest.param("pymysql", marks=pytest.mark.databases),
    ]
)
def acknowledged(request, tmp_path) -> Iterator[AcknowledgedRecords]:
    for url in own_url(request.param, tmp_path, "lookups"):
        engine = sa.create_engine(url)
        yield Ledger(engine, "ledger").of_plan("plan", SETTINGS).acknowledged
        engine.dispose()


def _write(acknowledged: AcknowledgedRecords, *entries: Acknowledgement) -> None:
    acknowledged.database.write(lambda connection: acknowledged.acknowledge(connection, 1, entries))


def test_only_what_differs_is_told_with_what_the_ledger_has_of_it(acknowledged):
    _write(acknowledged, *(Acknowledgement(scope="users", key=key, token=0, fingerprint=ONE) for key in KEYS))
    _write(acknowledged, Acknowledgement(scope="users", key="refused", token=0, fingerprint=None, refused=TWO))
    _write(acknowledged, Acknowledgement(scope="companies", key="17", token=0, fingerprint=TWO))
    asked = {**dict.fromkeys(KEYS, ONE), "refused": ONE, "new": ONE}

    assert acknowledged.differing("users", asked) == {
        "refused": KnownRecord(None, 1, TWO),
        "new": KnownRecord(None, 0, None),
    }
    assert acknowledged.differing("users", dict.fromkeys(KEYS, TWO)) == dict.fromkeys(KEYS, KnownRecord(ONE, 1, None))
    assert acknowledged.differing("users", dict.fromkeys([*KEYS, "refused"], b"")) == {
        **dict.fromkeys(KEYS, KnownRecord(ONE, 1, None)),
        "refused": KnownRecord(None, 1, TWO),
    }


def test_a_record_that_is_about_to_be_sent_again_differs_from_whatever_it_was(acknowledged):
    _write(acknowledged, Acknowledgement(scope="users", key="17", token=0, fingerprint=ONE))
    token = acknowledged.mark_in_flight("users", ["17"])

    assert acknowledged.differing("users", {"17": ONE}) == {"17": KnownRecord(None, token, None)}


def test_of_a_key_that_comes_twice_each_is_compared(app):
    # As from a source that compares its keys without case: a, A, a.
    run = app.with_ledger().run()
    fingerprints = Fingerprinter("users/update", {"traits": b"plan"})
    finder = ChangeFinder(run, "users", fingerprints, b"plan", ChangeOptions())
    had, other = (Payload("users", "a", traits, b"") for traits in (b'{"n":1}', b'{"n":2}'))
    _write(
        run.plan_ledger.acknowledged,
        Acknowledgement(scope="users", key="a", token=0, fingerprint=fingerprints.whole(had)),
    )

    for payloads in ([other, had], [had, other]):
        changes = list(finder.find([payloads]))
        assert [change.payload.traits for change in changes if isinstance(change, Change)] == [other.traits]
        _write(
            run.plan_ledger.acknowledged,
            Acknowledgement(scope="users", key="a", token=changes[-1].mark.token, fingerprint=fingerprints.whole(had)),
        )
