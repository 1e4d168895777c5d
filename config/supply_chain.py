"""The parts that the product is made of, and what is known against them.

    python -m config.supply_chain sbom [--out FILE]      # CycloneDX 1.6 of all pinned packages
    python -m config.supply_chain audit                  # against advisories.json, offline
    python -m config.supply_chain refresh                # ask osv.dev for the pinned packages
    python -m config.supply_chain refresh --from FOLDER  # or read a clone of its source

That source is pypa/advisory-database.

The advisories are those of the Open Source Vulnerability format, shortened, of pinned packages.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
ADVISORIES = ROOT / "config" / "advisories.json"
OSV = "https://api.osv.dev/v1"
SECONDS = 60
SHORTENED = 300
PIN = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", re.MULTILINE)


class Package(NamedTuple):
    """A pinned package and the files of requirements that pin it."""

    name: str
    version: str
    files: tuple[str, ...]

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"


def plain(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(folder: Path = ROOT) -> list[Package]:
    """Every package that a file of requirements pins, by name."""
    files: dict[tuple[str, str], list[str]] = {}
    for file in sorted(folder.glob("requirements*.txt")):
        for name, version in PIN.findall(file.read_text("utf-8")):
            files.setdefault((plain(name), version), []).append(file.name)
    return [Package(*key, tuple(places)) for key, places in sorted(files.items())]


def sbom(packages: Iterable[Package]) -> dict[str, Any]:
    """The list of parts as CycloneDX 1.6; the same pins give the same bytes."""
    listed = list(packages)
    serial = uuid.uuid5(uuid.NAMESPACE_URL, " ".join(one.purl for one in listed))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": "pairloop", "bom-ref": "pairloop"}
        },
        "components": [
            {
                "type": "library",
                "bom-ref": one.purl,
                "name": one.name,
                "version": one.version,
                "purl": one.purl,
                "properties": [
                    {"name": "pairloop:requirements", "value": file} for file in one.files
                ],
            }
            for one in listed
        ],
        "dependencies": [{"ref": "pairloop", "dependsOn": [one.purl for one in listed]}],
    }


def audit(packages: Iterable[Package], advisories: Iterable[dict[str, Any]]) -> list[str]:
    """A line for each pinned package that an advisory is about."""
    by_name = {one.name: one for one in packages}
    return [
        f"{one.name} {one.version}: {advisory['id']} {', '.join(advisory.get('aliases', []))}"
        f" {advisory.get('summary', '')}".strip()
        for advisory in advisories
        for affected in advisory["affected"]
        if (one := by_name.get(plain(affected["package"]["name"]))) and _is_in(one, affected)
    ]


def _is_in(package: Package, affected: dict[str, Any]) -> bool:
    if package.version in affected.get("versions", []):
        return True
    return any(
        _within(Version(package.version), one["events"])
        for one in affected.get("ranges", [])
        if one["type"] == "ECOSYSTEM"
    )


def _within(version: Version, events: list[dict[str, str]]) -> bool:
    """As the format's description evaluates a range: the last event before the version tells."""
    inside = False
    for bound, kind in sorted(_bounds(events)):
        if kind == "introduced" and version >= bound:
            inside = True
        elif (kind == "fixed" and version >= bound) or (
            kind == "last_affected" and version > bound
        ):
            inside = False
    return inside


def _bounds(events: list[dict[str, str]]) -> Iterator[tuple[Version, str]]:
    for event in events:
        for kind, text in event.items():
            try:
                yield Version(text), kind
            except InvalidVersion:
                continue


def shortened(advisory: dict[str, Any]) -> dict[str, Any]:
    """The part of an advisory that an audit needs, and a sentence for people."""
    text = " ".join((advisory.get("summary") or advisory.get("details") or "").split())
    return {
        "id": advisory["id"],
        "aliases": sorted(advisory.get("aliases", [])),
        "modified": str(advisory.get("modified", "")),
        "summary": text[:SHORTENED],
        "affected": [
            {
                "package": {"ecosystem": "PyPI", "name": one["package"]["name"]},
                "ranges": [
                    {"type": span["type"], "events": span["events"]}
                    for span in one.get("ranges", [])
                    if span["type"] == "ECOSYSTEM"
                ],
                # Only where no range says it: they are long.
                "versions": [] if one.get("ranges") else one.get("versions", []),
            }
            for one in advisory.get("affected", [])
            if one.get("package", {}).get("ecosystem") == "PyPI" and not advisory.get("withdrawn")
        ],
    }


def of_folder(folder: Path, packages: Iterable[Package]) -> list[dict[str, Any]]:
    """The advisories of a clone of pypa/advisory-database about the packages."""
    return [
        shortened(yaml.safe_load(path.read_text("utf-8")))
        for one in packages
        for path in sorted((folder / "vulns" / one.name).glob("*.yaml"))
    ]


def of_server(packages: Iterable[Package], url: str = OSV) -> list[dict[str, Any]]:
    """The advisories that a server such as osv.dev has about any version of the packages."""
    asked = [{"package": {"ecosystem": "PyPI", "name": one.name}} for one in packages]
    answer = _ask(f"{url}/querybatch", {"queries": asked})
    if any("next_page_token" in result for result in answer["results"]):
        raise OSError("the server has more about one package than it says at once")
    names = {one["id"] for result in answer["results"] for one in result.get("vulns", [])}
    return [shortened(_ask(f"{url}/vulns/{name}")) for name in sorted(names)]


def _ask(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


def write(advisories: list[dict[str, Any]], source: str) -> None:
    """Replace the committed list."""
    # Withdrawn ones and those about other ecosystems tell an audit nothing.
    kept = sorted((one for one in advisories if one["affected"]), key=lambda one: str(one["id"]))
    newest = max((one["modified"] for one in kept), default="")
    told = {"source": source, "newest": newest, "advisories": kept}
    ADVISORIES.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m config.supply_chain", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sbom").add_argument("--out", type=Path)
    commands.add_parser("audit")
    refresh = commands.add_parser("refresh")
    refresh.add_argument("--from", dest="folder", type=Path)
    refresh.add_argument("--url", default=OSV)
    given = parser.parse_args(arguments)
    if given.command == "sbom":
        text = json.dumps(sbom(pinned()), indent=1) + "\n"
        (given.out.write_text(text, "utf-8") if given.out else sys.stdout.write(text))
        return 0
    if given.command == "refresh":
        return _refresh(given.folder, given.url)
    return _audit()


def _refresh(folder: Path | None, url: str) -> int:
    packages = pinned()
    try:
        read = of_folder(folder, packages) if folder else of_server(packages, url)
    except OSError as error:
        print(f"Not refreshed: {error}", file=sys.stderr)
        return 2
    write(read, "pypa/advisory-database" if folder else url)
    print(f"{len(read)} advisories about {len(packages)} packages.")
    return 0


def _audit() -> int:
    told = json.loads(ADVISORIES.read_text("utf-8"))
    packages = pinned()
    lines = audit(packages, told["advisories"])
    print(*lines, sep="\n", end="\n" if lines else "")
    print(
        f"{len(packages)} pinned packages, {len(told['advisories'])} advisories of "
        f"{told['source']} (newest {told['newest'][:10]}): {len(lines)} apply."
    )
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
