"""Make room: remove the weights and checkpoints that nothing can return to."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import exchange
from training.versions import retention


class Command(BaseCommand):
    help = (
        "Show which weights and checkpoints of a project may go, and with --yes remove them. "
        "Versions in use, what they fall back to, candidates and the newest stay."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument(
            "--keep",
            type=int,
            default=retention.KEEP,
            metavar="N",
            help="newest versions of each kind to keep (default: %(default)s)",
        )
        parser.add_argument("--yes", action="store_true", help="remove them; else only show")

    def handle(self, *args: Any, project: str, **options: Any) -> None:
        try:
            act = retention.prune if options["yes"] else retention.plan
            plan = act(exchange.project(project), keep=options["keep"])
        except (exchange.UnknownProject, ValueError) as error:
            raise CommandError(str(error)) from error
        for removal in plan.removals:
            where = ", ".join(map(str, removal.folders))
            self.stdout.write(f"{megabytes(removal.size)}  {removal.what}  {where}")
        for reason in plan.held:
            self.stdout.write(reason)
        total = megabytes(plan.size).strip()
        if options["yes"] and plan.removals:
            exchange.record_command("prune", project_slug=project, removed=len(plan.removals))
        if not plan.removals:
            self.stdout.write("Nothing to remove.")
        elif options["yes"]:
            self.stdout.write(f"Removed {total}.")
        else:
            self.stdout.write(f"{total} could go. Remove with --yes.")


def megabytes(size: int) -> str:
    return f"{size / 1e6:9,.1f} MB"
