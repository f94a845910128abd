"""What somebody may type into the Halo connection: a clear word about the field, before anything is sent."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_halo.api.transport import HaloTransport
from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.settings import HaloSettings

KEY = "ab_live_0123456789"
NONE = [
    *("https://[::1", "https://[]", "https://[v1.a]", "https://[fe80::1%25eth0]"),  # brackets
    *(
        "https://℀.com",
        "https://a℀b",
        "https://ⓛocalhost",
        "https://\u202eh",
        "https://xn--a",
        "https://xn--",
    ),  # letters
    *("https://h:-1", "https://h:0", "https://h:99999", "https://h:1:2", "https://h:port"),  # ports
    *("https://exa mple", "https://h;x", "https://a..b", "https://.", "https://" + "a" * 64, "https://" + "a." * 200),
    *("https://user@h", "https://u:p@h", "https://h\\@evil", "https://api.haloagents.ai@evil.example"),  # user info
    *("https://h?x", "https://h/?", "https://h#x", "https://h/#", "https://h/\r\nX: y", "https://h\r\nX: y"),
    *("https://", "https:///x", "//h", "ftp://h", "javascript://h", "file:///etc/passwd", "https:\\\\h", "https:/h"),
    "https://h/" + "x" * 70_000,
]
# In clear to another machine, by names that look like this one's.
CLEAR = [
    *("http://localhost@evil.example", "http://127.0.0.1:80@evil.example", "http://evil.example/@localhost"),
    *("http://127.1", "http://2130706433", "http://0x7f.1", "http://127.0.0.1.evil.example", "http://0.0.0.0"),
    *(
        "http://\uff11\uff12\uff17.0.0.1",
        "http://ⓛocalhost",
        "http://localhost.evil.example",
        "http://localhost%00.evil.example",
    ),
    *("http://evil.example%23.localhost", "http://localhost\\.evil.example", "http://localhost\t.evil.example"),
    *(
        "http://[::ffff:8.8.8.8]",
        "http://localhost.",
        "http://evil.example#.localhost",
        "http://evil.example?.localhost",
    ),
]


def opened(**given) -> str:
    """The base URL that requests would go to."""

    async def scenario():
        async with HaloTransport(HaloSettings(widget_key=KEY, **given)) as transport:
            return str(transport._base)

    return asyncio.run(scenario())


@pytest.mark.parametrize("url", [*NONE, *CLEAR], ids=ascii)
def test_a_host_that_is_none_or_a_trap_is_refused(url):
    with pytest.raises(SetupError, match="Halo connection 'halo_default': "):
        opened(base_url=url)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("HTTPS://API.Example", "https://api.example/"),
        ("https://münchen.example/ü", "https://xn--mnchen-3ya.example/%C3%BC/"),
        ("https://h:8443/a/b///", "https://h:8443/a/b/"),
        ("https://h/a b/%2f", "https://h/a%20b/%2f/"),
        ("http://[::1]:80/x", "http://[::1]/x/"),
        ("http://localhost/.evil.example", "http://localhost/.evil.example/"),
        ("https://my_host-1.example.", "https://my_host-1.example./"),
    ],
)
def test_a_host_with_port_path_and_letters_of_any_script_is_taken_as_it_is_meant(url, base):
    assert opened(base_url=url) == base


@given(st.text(max_size=40) | st.text("/:@[]%.?#\\ 1a\u212a\uff0f", max_size=20))
@settings(max_examples=150, deadline=None)
def test_any_text_for_a_host_is_refused_in_words_or_stays_the_host(text):
    try:
        settings = HaloSettings(widget_key=KEY, base_url=f"https://{text}")
        transport = HaloTransport(settings)
    except SetupError:
        return
    assert transport._base.scheme == "https"
    assert transport._base.userinfo == b""


@pytest.mark.parametrize("secret", ["a\r\nX-Evil: 1", "a\nb", "a b", "ключ", "a\0", "\ud800", "a\u2028", "", "\t"])
@pytest.mark.parametrize("field", ["widget_key", "identity_secret"])
def test_a_key_that_would_break_out_of_its_header_is_refused(field, secret):
    given = {"widget_key": KEY, "identity_secret": None, field: secret}
    if field == "identity_secret" and not secret:
        return  # empty is none
    with pytest.raises(SetupError) as refused:
        HaloSettings(**given)
    assert not secret.strip() or secret not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_in_flight": 10**9}, "max_in_flight must be at most 1,000"),
        ({"max_in_flight": 0}, "max_in_flight must be above 0"),
        ({"timeout": -1.0}, "timeout must be above 0"),
        ({"timeout": float("nan")}, "timeout must be above 0"),
        ({"max_retry_seconds": 0.0}, "max_retry_seconds must be above 0"),
        ({"requests_per_second": 1e-320}, "requests_per_second must be at least 0.001"),
        ({"requests_per_second": float("nan")}, "requests_per_second must be at least 0.001"),
    ],
)
def test_a_number_that_would_hang_or_eat_the_memory_is_refused(given, said):
    with pytest.raises(SetupError, match=said):
        HaloSettings(widget_key=KEY, **given)
