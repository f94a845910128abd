from __future__ import annotations

import json

import pytest
import sqlalchemy as sa
from airflow.providers.postgres.hooks.postgres import PostgresHook
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.hooks import airflow_sources

takes_a_scheme = pytest.mark.skipif(
    not hasattr(PostgresHook, "sqlalchemy_scheme"),
    reason="before 7.1 apache-airflow-providers-postgres has one driver and doesn't look at sqlalchemy_scheme",
)


def message_of(conn_id):
    with airflow_sources() as sources, pytest.raises(SetupError) as caught:
        sources(conn_id)
    return str(caught.value)


def test_a_connection_becomes_an_engine_and_stays_the_same_one(shop):
    with airflow_sources() as sources:
        engine = sources("shop")
        assert sources("shop") is engine
        with engine.connect() as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM teams")).scalar() == 3


def test_the_engine_keeps_no_connection_open(shop):
    with airflow_sources() as sources:
        assert isinstance(sources("shop").pool, sa.NullPool)


def test_a_missing_connection_is_named_with_the_way_to_make_it():
    assert message_of("nowhere") == snapshot(
        "The source connection 'nowhere' is not there: create it in Airflow (Admin > Connections), or set the "
        "environment variable AIRFLOW_CONN_NOWHERE."
    )


@pytest.mark.parametrize(
    ("kind", "package"),
    [
        ("snowflake", "apache-airflow-providers-snowflake"),
        ("gcpbigquery", "apache-airflow-providers-google"),
        ("duckdb", "airflow-provider-duckdb"),
        ("some_sql", "apache-airflow-providers-some-sql"),
    ],
)
def test_a_type_that_no_provider_knows_is_named_with_the_package_to_install(monkeypatch, kind, package):
    monkeypatch.setenv("AIRFLOW_CONN_FAR", json.dumps({"conn_type": kind, "host": "far"}))
    assert message_of("far") == (
        f"The source connection 'far' has the type {kind!r}, which no installed Airflow provider knows: pip install "
        f"{package}, wherever tasks run."
    )


def test_a_connection_without_a_database_s_type_is_told(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FAR", json.dumps({"conn_type": "generic", "host": "far"}))
    assert message_of("far") == snapshot(
        "The source connection 'far' has the type 'generic': give it the type of its database, for example postgres."
    )


def test_a_connection_that_is_no_database_is_told(halo):
    assert message_of("halo_default") == snapshot(
        "The source connection 'halo_default' has the type 'halo', which is no SQL database."
    )


@takes_a_scheme
def test_a_missing_driver_is_named(monkeypatch):
    # An SQLAlchemy dialect that isn't installed here, asked for by a type that is.
    monkeypatch.setenv(
        "AIRFLOW_CONN_FAR",
        json.dumps({"conn_type": "postgres", "host": "far", "extra": {"sqlalchemy_scheme": "postgresql+nodriver"}}),
    )
    assert message_of("far") == snapshot(
        "The source connection 'far' needs the SQLAlchemy driver of its database, which is not installed: pip install "
        "apache-airflow-providers-postgres with the driver that its documentation names, wherever tasks run."
    )


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({"sqlalchemy_scheme": "no scheme"}, marks=takes_a_scheme),
        {"sqlalchemy_query": "no object"},
        {"sqlalchemy_query": {"no": {"text": "s3cret"}}},
    ],
)
def test_a_url_that_cannot_be_one_is_told_without_showing_it(monkeypatch, extra):
    fields = {"conn_type": "postgres", "host": "far", "password": "s3cret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_FAR", json.dumps(fields))
    assert message_of("far") == snapshot(
        "The source connection 'far' makes no usable database URL: check its host, port, schema and extras."
    )
