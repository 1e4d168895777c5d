"""Compose, systemd and Kubernetes start the same processes, each in its own way."""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_project import read_settings

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD, KUBERNETES = ROOT / "config/systemd", ROOT / "config/kubernetes"
PARTS = {"migrate", "web", "worker", "worker-gpu"}
NOT_OURS = {"HF_HUB_DISABLE_TELEMETRY", "PYTHONUNBUFFERED", "PAIRLOOP_WEB_PROCESSES"}
NOT_OURS |= {"PAIRLOOP_BIND"}
"""Read by others than the settings: gunicorn's configuration, Python, the hub's client."""


def unit(name: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((SYSTEMD / name).read_text("utf-8"))
    return parser


def documents() -> Iterator[dict[str, Any]]:
    for path in sorted(KUBERNETES.glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text("utf-8"))


def kustomization() -> dict[str, Any]:
    return next(one for one in documents() if one["kind"] == "Kustomization")


def pods() -> dict[str, dict[str, Any]]:
    """The specification of each part's pod."""
    workloads = [one for one in documents() if one["kind"] in ("Deployment", "Job")]
    templates = [one["spec"]["template"] for one in workloads]
    return {one["metadata"]["labels"]["part"]: one["spec"] for one in templates}


def bare(command: list[str]) -> list[str]:
    """A command without the folder of its program."""
    return [command[0].rpartition("/")[2], *command[1:]]


def test_all_three_start_the_same_processes() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    image = re.findall(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    by_image = dict(zip(("web", "worker-gpu"), map(yaml.safe_load, image), strict=True))
    composed = {part: compose[part].get("command") or by_image[part] for part in PARTS}
    assert {
        part: bare(shlex.split(unit(f"pairloop-{part}.service")["Service"]["ExecStart"]))
        for part in PARTS
    } == composed
    assert {part: pod["containers"][0]["command"] for part, pod in pods().items()} == composed


def test_every_container_is_confined() -> None:
    for part, pod in pods().items():
        assert pod["securityContext"]["runAsNonRoot"] is True, part
        (container,) = pod["containers"]
        confined = container["securityContext"]
        assert confined["readOnlyRootFilesystem"] and confined["capabilities"] == {"drop": ["ALL"]}
        assert confined["allowPrivilegeEscalation"] is False
        assert container["resources"]["limits"]["memory"]
    assert {pod["containers"][0]["image"] for pod in pods().values()} == {
        one["name"]
        for doc in documents()
        if doc["kind"] == "Kustomization"
        for one in doc["images"]
    }


@pytest.mark.parametrize("name", sorted(path.name for path in SYSTEMD.glob("*.service")))
def test_every_unit_is_confined_to_its_own_folder(name: str) -> None:
    service = unit(name)["Service"]
    assert (service["User"], service["ProtectSystem"]) == ("pairloop", "strict")
    assert (service["NoNewPrivileges"], service["CapabilityBoundingSet"]) == ("yes", "")
    assert service["StateDirectory"] == "pairloop"


def test_what_they_set_is_what_the_settings_read() -> None:
    texts = [path.read_text("utf-8") for path in (*SYSTEMD.iterdir(), *KUBERNETES.glob("*.yaml"))]
    named = set(re.findall(r"\b(?:PAIRLOOP|HF|PYTHON)_?[A-Z_]+\b(?==|, value)", " ".join(texts)))
    assert named and named - NOT_OURS <= read_settings()
    listed = set(kustomization()["resources"])
    assert listed == {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
