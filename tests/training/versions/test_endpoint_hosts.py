"""Servers that may be asked, and the keys that they get."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from training.rlhf.completions import openai_endpoint
from training.versions import endpoint_hosts
from training.versions.endpoint_hosts import NotAllowed, checked


@pytest.fixture(autouse=True)
def named(settings: Settings) -> None:
    settings.ENDPOINT = "http://gpu-host:8000/v1"
    settings.ENDPOINT_HOSTS = ["api.example.org", " https://models.example.org:8443 ", "[::1]:9000"]


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("https://api.example.org/v1/", "https://api.example.org/v1"),
        ("HTTPS://API.example.org:443/v1", "https://api.example.org/v1"),
        ("https://models.example.org:8443", "https://models.example.org:8443"),
        ("http://gpu-host:8000/other/v1", "http://gpu-host:8000/other/v1"),
        ("https://[::1]:9000/v1", "https://[::1]:9000/v1"),
    ],
)
def test_a_server_that_the_operator_named_may_be_asked(written: str, asked: str) -> None:
    assert checked(written) == asked


@pytest.mark.parametrize(
    "written",
    [
        *("http://api.example.org/v1", "https://gpu-host:8000/v1", "http://gpu-host/v1"),
        *("https://api.example.org.evil.org/v1", "https://evil.org/api.example.org"),
        *("https://api.example.org@evil.org/v1", "https://key:x@api.example.org/v1"),
        *("https://api.example.org\\@evil.org/v1", "https://api.example.org/v1?key=1"),
        *("https://api.example.org/v1#x", "api.example.org"),
        *("file:///etc/passwd", "", "https://", "https://169.254.169.254/v1"),
        *("https://api.example.org:99999/v1\n", "https://аpi.example.org/v1"),
    ],
)
def test_no_other_server_may(written: str) -> None:
    with pytest.raises(NotAllowed):
        checked(written)


def test_a_server_gets_its_own_key_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIRLOOP_ENDPOINT_KEY", "of gpu-host")
    monkeypatch.setenv("PAIRLOOP_ENDPOINT_KEY_API_EXAMPLE_ORG", "of api")
    assert endpoint_hosts.keys(["https://api.example.org/v1"]) == {
        "PAIRLOOP_ENDPOINT_KEY_API_EXAMPLE_ORG": "of api"
    }
    assert endpoint_hosts.keys(["http://gpu-host:8000/v1"]) == {
        "PAIRLOOP_ENDPOINT_KEY_GPU_HOST": "of gpu-host"
    }
    assert endpoint_hosts.keys(["https://models.example.org:8443/v1"]) == {}


def test_the_only_server_gets_the_only_key(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.ENDPOINT, settings.ENDPOINT_HOSTS = "", ["api.example.org"]
    monkeypatch.setenv("PAIRLOOP_ENDPOINT_KEY", "the key")
    assert list(endpoint_hosts.keys(["https://api.example.org/v1"]).values()) == ["the key"]
    settings.ENDPOINT_HOSTS = ["api.example.org", "other.example.org"]
    assert endpoint_hosts.keys(["https://api.example.org/v1"]) == {}


@pytest.mark.parametrize("host", ["api.example.org", "10.0.0.1", "::1"])
def test_both_sides_name_the_key_of_a_host_alike(host: str) -> None:
    assert endpoint_hosts.key_name(host) == openai_endpoint.key_name(host)


def test_a_run_without_a_server_needs_no_key(settings: Settings) -> None:
    settings.ENDPOINT, settings.ENDPOINT_HOSTS = "", []
    assert endpoint_hosts.keys([]) == {}


def test_a_server_that_is_named_no_more_gets_no_key(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ENDPOINT, settings.ENDPOINT_HOSTS = "", ["api.example.org"]
    monkeypatch.setenv("PAIRLOOP_ENDPOINT_KEY_GONE_EXAMPLE_ORG", "secret")
    with pytest.raises(endpoint_hosts.NotAllowed):
        endpoint_hosts.keys(["https://gone.example.org/v1"])
