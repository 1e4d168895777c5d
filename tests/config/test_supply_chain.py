"""The list of parts, and what is known against them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from config import supply_chain
from config.supply_chain import Package, audit, main, pinned, sbom

OLD = Package("django", "5.0.7", ("requirements-web.txt",))
ADVISORY = {
    "id": "PYSEC-2024-70",
    "aliases": ["CVE-2024-42005"],
    "modified": "2024-08-07T17:22:10Z",
    "details": "An issue was discovered in Django 5.0 before 5.0.8 and 4.2 before 4.2.15.",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "Django", "purl": "pkg:pypi/django"},
            "ranges": [
                {
                    "type": "ECOSYSTEM",
                    "events": [
                        *({"introduced": "5.0"}, {"fixed": "5.0.8"}),
                        *({"introduced": "4.2"}, {"fixed": "4.2.15"}),
                    ],
                }
            ],
        }
    ],
}


def test_no_known_advisory_is_about_a_pinned_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit"]) == 0, capsys.readouterr().out


def test_a_pin_that_an_advisory_is_about_is_named_with_it() -> None:
    (line,) = audit([OLD], [supply_chain.shortened(ADVISORY)])
    assert line.startswith("django 5.0.7: PYSEC-2024-70 CVE-2024-42005 An issue was discovered")


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        *(("4.1", False), ("4.2", True), ("4.2.14", True), ("4.2.15", False), ("4.2.16", False)),
        *(("5.0", True), ("5.0.7", True), ("5.0.8", False), ("5.2.19", False)),
    ],
)
def test_ranges_are_read_as_the_format_says(version: str, affected: bool) -> None:
    one = OLD._replace(version=version)
    assert bool(audit([one], [supply_chain.shortened(ADVISORY)])) is affected


def test_an_advisory_may_name_the_last_bad_version_or_list_versions() -> None:
    last = {"package": {"name": "django"}, "ranges": [
        {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"last_affected": "5.0.7"}]}
    ]}  # fmt: skip
    listed = {"package": {"name": "django"}, "versions": ["5.0.7"]}
    for affected in (last, listed):
        advisory = {"id": "X-1", "affected": [affected]}
        assert audit([OLD], [advisory])
        assert not audit([OLD._replace(version="5.0.8")], [advisory])


def test_a_withdrawn_advisory_says_nothing() -> None:
    assert not audit([OLD], [supply_chain.shortened({**ADVISORY, "withdrawn": "2024-09-01"})])


def test_the_list_of_parts_holds_every_pin_once_and_is_the_same_each_time(tmp_path: Path) -> None:
    first, again = tmp_path / "a.json", tmp_path / "b.json"
    assert main(["sbom", "--out", str(first)]) == main(["sbom", "--out", str(again)]) == 0
    assert first.read_bytes() == again.read_bytes()
    told = json.loads(first.read_text("utf-8"))
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    names = [one["bom-ref"] for one in told["components"]]
    assert len(names) == len(set(names)) > 150
    assert "pkg:pypi/django@5.2.19" in names and "pkg:pypi/psycopg@3.3.9" in names
    assert told["dependencies"] == [{"ref": "pairloop", "dependsOn": names}]


def test_a_package_says_which_files_pin_it() -> None:
    (django,) = (one for one in pinned() if one.name == "django")
    assert "requirements-web.txt" in django.files
    (part,) = sbom([django])["components"]
    assert {one["value"] for one in part["properties"]} == set(django.files)


class Server(BaseHTTPRequestHandler):
    """Answers as osv.dev does, with one advisory about Django."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        names = [one["package"]["name"] for one in asked]
        known: list[dict[str, Any]] = [
            {"vulns": [{"id": ADVISORY["id"]}]} if name == "django" else {} for name in names
        ]
        self.answer({"results": known})

    def do_GET(self) -> None:
        assert self.path == "/v1/vulns/PYSEC-2024-70"
        self.answer(ADVISORY)

    def answer(self, told: dict[str, Any]) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Server) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/v1"
        serving.shutdown()


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list in the place of the committed one."""
    path = tmp_path / "advisories.json"
    monkeypatch.setattr(supply_chain, "ADVISORIES", path)
    return path


def test_the_list_is_refreshed_from_a_server(server: str, committed: Path) -> None:
    assert main(["refresh", "--url", server]) == 0
    told = json.loads(committed.read_text("utf-8"))
    assert [one["id"] for one in told["advisories"]] == ["PYSEC-2024-70"]
    assert told["newest"] == "2024-08-07T17:22:10Z"
    assert main(["audit"]) == 0


def test_without_a_network_the_old_list_stays(
    committed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    committed.write_text("{}")
    assert main(["refresh", "--url", "http://127.0.0.1:9/v1"]) == 2
    assert committed.read_text() == "{}"
    assert capsys.readouterr().err.startswith("Not refreshed: ")
