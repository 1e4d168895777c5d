from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from annotate.models import Project
from annotate.people.joining import openid_answers
from tests.annotate.views.joining import identity_provider
from training.models import ModelVersion, WorkerBeat
from training.setup import doctor_checks
from training.setup.doctor_checks import Level


@pytest.fixture
def healthy(project: Project, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private home with its key, and both workers alive."""
    monkeypatch.delenv("SECRET_KEY", raising=False)
    home.chmod(0o700)
    (home / "secret_key").write_text("k" * 50)
    (home / "secret_key").chmod(0o600)
    for kind in ("short", "gpu"):
        WorkerBeat.objects.create(kind=kind, host="here", pid=1, seen_at=timezone.now())
    return home


def doctor(*, expect: int = 0) -> dict[str, tuple[str, str, str]]:
    """Run it: check -> (level, text, advice)."""
    out, code = StringIO(), 0
    try:
        call_command("doctor", "--json", stdout=out)
    except CommandError as error:
        code = error.returncode
    assert code == expect, out.getvalue()
    data = json.loads(out.getvalue())
    assert data["ok"] is (expect == 0)
    return {f["check"]: (f["level"], f["text"], f["advice"]) for f in data["findings"]}


def level(check: doctor_checks.Findings) -> Level:
    return next(check).level


def test_a_healthy_installation_passes(healthy: Path) -> None:
    found = doctor()
    assert not [check for check, (level, _, _) in found.items() if level == "FAIL"]
    for check in ("home", "secret key", "disk", "database", "migrations", "worker gpu"):
        assert found[check][0] == "OK", found[check]
    assert found["queue short"][0] == found["queue gpu"][0] == "OK"
    assert found["models"] == (
        "WARN",
        "no policy is in use yet",
        "python manage.py quickstart makes the sample project with its starter policy.",
    )


def test_every_line_of_the_text_has_a_verdict_and_advice_where_needed(healthy: Path) -> None:
    out = StringIO()
    call_command("doctor", stdout=out, no_color=True)
    lines = out.getvalue().splitlines()
    assert lines[-1].endswith("checks, none failed.")
    for line in lines[:-1]:
        assert line.startswith(("OK    ", "WARN  ", "FAIL  ", "      "))


def test_a_key_that_others_can_read_fails(healthy: Path) -> None:
    (healthy / "secret_key").chmod(0o644)
    verdict, text, advice = doctor(expect=1)["secret key"]
    assert verdict == "FAIL" and "0644" in text and advice.startswith("chmod 600")


def test_a_key_from_the_environment_needs_no_file(
    healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (healthy / "secret_key").unlink()
    assert level(doctor_checks.secret_key()) == Level.FAIL
    monkeypatch.setenv("SECRET_KEY", "from outside")
    assert level(doctor_checks.secret_key()) == Level.OK


def test_a_home_open_to_others_is_a_warning(healthy: Path) -> None:
    healthy.chmod(0o755)
    assert level(doctor_checks.home()) == Level.WARN
    assert stat.S_IMODE(healthy.stat().st_mode) == 0o755


def test_a_home_that_cannot_be_written_fails(healthy: Path, settings: Settings) -> None:
    settings.HOME = healthy / "gone"
    assert level(doctor_checks.home()) == Level.FAIL


def test_a_full_disk_fails_and_a_nearly_full_one_is_a_warning(
    healthy: Path, settings: Settings
) -> None:
    free = shutil.disk_usage(healthy).free / 1e9
    for least, expected in ((free * 2, Level.FAIL), (free / 2, Level.WARN), (0.0, Level.OK)):
        settings.MIN_FREE_GB = least
        assert level(doctor_checks.disk()) == expected


def test_a_policy_without_its_folder_fails(healthy: Path, project: Project) -> None:
    ModelVersion.objects.create(
        project=project, kind="policy", number=3, path="runs/x/train_policy/model", state="promoted"
    )
    verdict, text, advice = doctor(expect=1)["model desk/policy-3"]
    assert verdict == "FAIL"
    assert str(healthy / "runs/x/train_policy/model") in text and "restore the folder" in advice


def test_silent_workers_are_warnings_that_name_the_command(healthy: Path) -> None:
    WorkerBeat.objects.filter(kind="short").delete()
    WorkerBeat.objects.filter(kind="gpu").update(
        seen_at=timezone.now() - 2 * doctor_checks.SILENT_AFTER
    )
    short, gpu = doctor_checks.workers()
    assert (short.level, gpu.level) == (Level.WARN, Level.WARN)
    assert "make worker" in short.advice and "make worker-gpu" in gpu.advice


def test_a_check_that_breaks_is_a_finding(healthy: Path) -> None:
    def broken() -> Iterator[doctor_checks.Finding]:
        raise RuntimeError("cable unplugged")
        yield

    (found,) = doctor_checks._guarded(broken)
    assert found.level == Level.FAIL and "cable unplugged" in found.text


@pytest.mark.parametrize(
    ("answer", "level", "text"),
    [
        ({"stopped": 8, "with_text": 8, "tokens": 21.6}, "OK", "8 of 8 replies stopped"),
        ({"stopped": 0, "with_text": 8, "tokens": 128}, "WARN", "never stops"),
        ({"stopped": 8, "with_text": 0, "tokens": 1}, "FAIL", "empty replies"),
        ({"error": "ModelError: config.json is missing"}, "FAIL", "config.json is missing"),
    ],
)
def test_a_model_must_write_text_and_should_stop(
    answer: dict[str, object], level: str, text: str
) -> None:
    found = doctor_checks.judge("model desk/policy-0", {"replies": 8} | answer)
    assert found.level == level and text in found.text
    assert bool(found.advice) == (level != "OK")


def test_an_identity_provider_is_asked_whether_it_is_the_one(
    healthy: Path, settings: Settings
) -> None:
    assert "identity provider" not in doctor()
    with identity_provider.running() as here:
        settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID = here.url, ""
        assert doctor()["identity provider"][0] == "WARN"
        settings.OIDC_CLIENT_ID = "pairs"
        assert doctor()["identity provider"][0] == "OK"
        openid_answers.forget()
        here.shown = []
        assert "no key for RS256 or ES256" in doctor()["identity provider"][1]
        openid_answers.forget()
        settings.OIDC_ISSUER = f"{here.url}/"
        assert "another provider" in doctor()["identity provider"][1]
        settings.OIDC_CREATE = True
        assert "no domain" in doctor()["identity provider"][1]
    settings.OIDC_ISSUER, settings.OIDC_CREATE = "http://192.0.2.1", False
    assert "not safe" in doctor()["identity provider"][1]
