"""Have a server or model versions write completions for a project's prompts."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import exchange
from training.completions import token_usage_and_cost, writing_runs
from training.completions.writing_runs import ENDPOINT
from training.forms import WritingForm
from training.models import Run, RunKind
from training.setup import foreground


class Command(BaseCommand):
    help = "Write completions and their pairs here, with a progress display; a live run goes on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--endpoint", dest="url", metavar="URL", help="with its version, /v1")
        parser.add_argument("--model", help="its name on that server")
        parser.add_argument("--version-name", dest="source", help="a policy here, as policy-1")
        parser.add_argument("--other-endpoint", dest="other_url", metavar="URL")
        parser.add_argument("--other-model", help="pairs are of one reply of each")
        parser.add_argument("--other-version", dest="other", help="a policy here instead")
        parser.add_argument("--prompts", choices=["unanswered", "all"])
        parser.add_argument("--tag", help="prompts with it alone")
        parser.add_argument("--most", type=int, metavar="PROMPTS")
        parser.add_argument("--go-on", action="store_true", help="with the last run, if it ended")
        for name in ("per-prompt", "max-new-tokens", "concurrency", "seed"):
            parser.add_argument(f"--{name}", type=int)
        for name in ("temperature", "top-p", "price-in", "price-out"):
            parser.add_argument(f"--{name}", type=float)

    def handle(self, *args: Any, project: str, **options: Any) -> None:
        try:
            chosen = exchange.project(project)
            run = self.live(chosen, go_on=options["go_on"]) or writing_runs.start(
                chosen, self.options(chosen, options), enqueue=False
            )
        except (exchange.UnknownProject, writing_runs.Refused) as error:
            raise CommandError(str(error)) from error
        state = foreground.follow(run, out=self.stdout)
        run.refresh_from_db()
        self.report(run)
        if state is None:
            self.stdout.write("Stopped. Run the command again, or start a worker, to go on.")
            sys.exit(130)
        if state != Run.State.DONE:
            raise CommandError(run.error)

    def live(self, project: exchange.Project, *, go_on: bool) -> Run | None:
        """The project's last run, where it waits or is supervised, or shall go on."""
        run = writing_runs.last(project, RunKind.COMPLETIONS)
        if run is not None and not run.final:
            self.stdout.write("Completions are being written already; following that run.")
            return run
        if run is None or not go_on:
            return None
        writing_runs.go_on(run, enqueue=False)
        return run

    def options(self, project: exchange.Project, given: dict[str, Any]) -> dict[str, Any]:
        """The run's options from those of the command."""
        names = WritingForm.base_fields.keys()
        wishes = {name: given[name] for name in names if given.get(name) is not None}
        if "tag" in wishes:
            wishes["prompts"] = "tag"
        if "other_model" in wishes:
            wishes["other"] = ENDPOINT
        form = WritingForm(WritingForm.by_names(project, wishes), project=project)
        if not form.is_valid():
            said = [f"{name}: {' '.join(map(str, errors))}" for name, errors in form.errors.items()]
            raise CommandError("\n".join(said))
        return form.options()

    def report(self, run: Run) -> None:
        """Print what came of it, and what it took."""
        result, usage = token_usage_and_cost.result(run), token_usage_and_cost.usage(run)
        cost = "" if usage.cost is None else f", cost {usage.cost:.2f}"
        self.stdout.write(
            f"{result.prompts} prompts, {result.completions} new completions, "
            f"{result.pairs} new pairs; {usage.requests} requests, {usage.tokens_in} tokens in, "
            f"{usage.tokens_out} out{cost}"
        )
        for reason, n in result.reasons:
            self.stdout.write(f"  refused {n} times: {reason}")
