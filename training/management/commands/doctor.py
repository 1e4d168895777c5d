"""Examine the installation and say what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from training.setup import doctor_checks
from training.setup.doctor_checks import Finding, Level


class Command(BaseCommand):
    help = (
        "Check database, queue, workers, disk, permissions, GPU and models. "
        "Ends with exit code 1 when something is broken."
    )
    # A damaged installation is what this command is for.
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def handle(self, *args: Any, json: bool, **options: Any) -> None:
        findings = []
        for finding in doctor_checks.examine():
            findings.append(finding)
            if not json:
                self._print(finding)
        if json:
            self.stdout.write(as_json(findings))
        if broken := sum(finding.level == Level.FAIL for finding in findings):
            raise CommandError(f"{broken} of {len(findings)} checks failed.", returncode=1)
        if not json:
            self.stdout.write(f"{len(findings)} checks, none failed.")

    def _print(self, finding: Finding) -> None:
        style: dict[Level, Callable[[str], str]] = {
            Level.OK: self.style.SUCCESS,
            Level.WARN: self.style.WARNING,
            Level.FAIL: self.style.ERROR,
        }
        mark = style[finding.level](f"{finding.level:<4}")
        self.stdout.write(f"{mark}  {finding.check}: {finding.text}")
        if finding.advice:
            self.stdout.write(f"      {finding.advice}")


def as_json(findings: list[Finding]) -> str:
    """The report as {"ok", "findings": [{"check", "level", "text", "advice"}]}."""
    healthy = all(finding.level != Level.FAIL for finding in findings)
    rows = [asdict(finding) for finding in findings]
    return json.dumps({"ok": healthy, "findings": rows}, indent=2, ensure_ascii=False)
