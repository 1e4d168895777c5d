"""A webhook reaches nothing inside the server's own network, unless the operator names it."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from annotate.webhooks.checked_http_post import NotAnswered, post
from annotate.webhooks.target_address import WrongAddress, check_url, public_addresses

INSIDE = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1"),
    *("[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[fec0::1]", "[ff02::1]"),
    *("[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]"),
    *("localhost", "a.localhost", "LOCALHOST"),
]


@pytest.mark.parametrize("host", INSIDE)
def test_an_address_inside_is_refused_and_may_be_named(settings: Settings, host: str) -> None:
    with pytest.raises(WrongAddress, match="PAIRLOOP_WEBHOOK_HOSTS"):
        check_url(f"https://{host}/hook")
    settings.WEBHOOK_HOSTS = [host.strip("[]")]
    assert check_url(f"http://{host}:8000/hook")


@pytest.mark.parametrize("host", ["93.184.215.14", "[2606:2800:21f::1]", "hooks.example"])
def test_an_address_outside_is_taken(host: str) -> None:
    assert check_url(f"https://{host}:8443/hook?key=1") == f"https://{host}:8443/hook?key=1"


@pytest.mark.parametrize(
    "url",
    [
        *("", "hooks.example", "//hooks.example", "https://", "https:///hook", "https://h:99999/"),
        *("http://hooks.example/", "ftp://hooks.example/", "file:///etc/passwd"),
        *("https://me:secret@hooks.example/", "https://hooks.example/#part"),
        *(
            "https://hooks.example/a b",
            "https://hooks.example\\@127.0.0.1/",
            "https://höks.example/",
        ),
        *("https://hooks.example/\n", "https://[::1/", "https://hooks.example/" + "x" * 500),
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(WrongAddress, match="address must"):
        check_url(url)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "017700000001"])
def test_other_spellings_of_an_address_inside_are_refused_when_they_are_resolved(
    host: str,
) -> None:
    with pytest.raises(NotAnswered):
        post(f"https://{host}/", b"{}", {}, timeout=2)


def test_a_name_that_leads_inside_is_refused_when_it_is_resolved() -> None:
    with pytest.raises(WrongAddress, match="inside the server's network"):
        public_addresses("localhost", 443)


def test_a_name_without_an_address_is_said_in_words() -> None:
    with pytest.raises(WrongAddress, match="has no address"):
        public_addresses("no-such-host.invalid", 443)
