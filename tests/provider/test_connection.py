from __future__ import annotations

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.hooks import HaloHook
from airflow_provider_halo.settings import HaloSettings

SECRET = "ha_secret_0123456789"


@pytest.fixture
def settings(monkeypatch):
    """Reads a connection from its text."""

    def read(text: str) -> HaloSettings:
        monkeypatch.setenv("AIRFLOW_CONN_HALO_DEFAULT", text)
        return HaloHook().settings

    return read


def test_a_key_is_enough(settings):
    assert settings('{"conn_type": "halo", "password": "ab_live_1"}') == HaloSettings(widget_key="ab_live_1")


def test_every_field_is_read_and_the_form_s_empty_ones_are_defaults(settings):
    full = settings(
        '{"conn_type": "halo", "password": " ab_live_1 ", "host": "https://halo.test/api/", "extra": {"identity_secret": '
        '"ha_secret_0123456789", "verify_identity": false, "timeout": 5, "max_in_flight": 2, "requests_per_second": 0.5, '
        '"max_retry_seconds": 9}}'
    )
    assert full == HaloSettings(
        widget_key="ab_live_1",
        base_url="https://halo.test/api",
        identity_secret=SECRET,
        verify_identity=False,
        timeout=5.0,
        max_in_flight=2,
        requests_per_second=0.5,
        max_retry_seconds=9.0,
    )
    empty = settings(
        '{"conn_type": "halo", "password": "ab_live_1", "host": "", "extra": {"identity_secret": "", "verify_identity": '
        'null, "timeout": null, "max_in_flight": "", "requests_per_second": null}}'
    )
    assert empty == HaloSettings(widget_key="ab_live_1")


def test_a_uri_gives_texts_and_they_are_read_as_numbers_and_booleans(settings):
    uri = "halo://:ab_live_1@https%3A%2F%2Fhalo.test%2Fapi?timeout=5&max_in_flight=2&verify_identity=false"
    assert settings(uri) == HaloSettings(
        widget_key="ab_live_1", base_url="https://halo.test/api", timeout=5.0, max_in_flight=2, verify_identity=False
    )


def test_a_host_without_a_scheme_is_https(settings):
    assert (
        settings('{"conn_type": "halo", "password": "k", "host": "halo.test/api"}').base_url == "https://halo.test/api"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('"extra": {"timeout": "soon"}', "timeout must be a number, or left empty."),
        ('"extra": {"timeout": true}', "timeout must be a number, or left empty."),
        ('"extra": {"timeout": "nan"}', "timeout must be a number, or left empty."),
        ('"extra": {"max_in_flight": 2.5}', "max_in_flight must be a whole number, or left empty."),
        ('"extra": {"verify_identity": "perhaps"}', "verify_identity must be true or false, or left empty."),
        ('"extra": {"identity_secret": 17}', "identity_secret must be a text."),
        ('"extra": {"max_retry_seconds": 0}', "max_retry_seconds must be above 0."),
        (
            '"host": "https://halo.test", "port": 443',
            (
                "only its host (the whole base URL, such as https://api.haloagents.ai/api/sdk) and its password (the "
                "widget key) are used; leave port, schema and login empty."
            ),
        ),
    ],
)
def test_a_field_that_cannot_be_used_is_named(settings, fields, message):
    with pytest.raises(SetupError) as caught:
        settings('{"conn_type": "halo", "password": "ab_live_1", ' + fields + "}")
    assert str(caught.value) == f"Halo connection 'halo_default': {message}"


def test_plain_http_is_refused_for_another_machine(settings):
    with pytest.raises(SetupError, match=r"plain http to halo\.test would send the widget key in clear"):
        settings('{"conn_type": "halo", "password": "ab_live_1", "host": "http://halo.test"}')


def test_a_missing_connection_is_named_with_the_way_to_make_it():
    with pytest.raises(SetupError) as caught:
        _ = HaloHook("halo_other").settings
    assert str(caught.value) == snapshot(
        "The Halo connection 'halo_other' is not there: create it in Airflow (Admin > Connections), or set the "
        "environment variable AIRFLOW_CONN_HALO_OTHER."
    )


def test_an_extra_that_nothing_reads_is_told(settings, caplog):
    settings('{"conn_type": "halo", "password": "ab_live_1", "extra": {"max_inflight": 2}}')
    assert "extras that nothing reads: max_inflight" in caplog.text


def test_key_and_secret_are_masked_and_do_not_print(settings):
    from airflow.sdk.log import redact

    read = settings(
        '{"conn_type": "halo", "password": "ab_live_masked", "extra": {"identity_secret": "ha_secret_masked"}}'
    )
    assert redact("ab_live_masked and ha_secret_masked") == "*** and ***"
    assert "masked" not in repr(read)


def test_without_a_word_the_hook_takes_the_configured_connection(monkeypatch):
    assert HaloHook().halo_conn_id == "halo_default"
    monkeypatch.setenv("AIRFLOW__HALO__CONN_ID", "halo_eu")
    assert HaloHook().halo_conn_id == "halo_eu"
    assert HaloHook("mine").halo_conn_id == "mine"
