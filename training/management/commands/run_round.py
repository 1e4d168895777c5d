"""Run one whole round in the foreground."""

from __future__ import annotations

import sys
from typing import Any

import yaml
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate import exchange
from training.figures.number_format import duration
from training.models import Round, Run
from training.plans import expected_cost, round_settings
from training.plans.round_settings import Choice
from training.rlhf.config import PRESETS, ConfigError, merged, nested, read_mapping
from training.rounds import start_and_cancel
from training.setup import foreground, own_model, start_model_check
from training.versions import added_models


class Command(BaseCommand):
    help = "Run one round of a project here, with a progress display; resumes a live one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--seed", type=int, help="of everything random; default: its number")
        parser.add_argument(
            "--model",
            metavar="FOLDER_OR_HUB_ID",
            help="the project's first policy, when it has none yet",
        )
        parser.add_argument("--preset", choices=list(PRESETS), help="how thorough the round is")
        parser.add_argument(
            "--config", metavar="FILE.yaml", help="settings in place of the preset's, by section"
        )
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="one more setting, such as ppo.kl_coef=0.1; may be given several times",
        )
        parser.add_argument(
            "--policy", metavar="NAME", default="", help="version to start from; default: in use"
        )
        parser.add_argument(
            "--save", action="store_true", help="coming rounds have these settings, too"
        )
        parser.add_argument(
            "--estimate",
            action="store_true",
            help="check the settings, say what the round would need, and start nothing",
        )

    def handle(self, *args: Any, project: str, **options: Any) -> None:
        try:
            chosen = exchange.project(project)
        except exchange.UnknownProject as error:
            raise CommandError(str(error)) from error
        if options["model"]:
            self.begin_with(chosen, options["model"])
        choice = self.choice(chosen, options)
        if options["estimate"]:
            self.tell_estimate(chosen, choice)
            return
        run = self.live_or_new(chosen, options["seed"], choice)
        if options["save"]:
            round_settings.save(chosen, choice)
        state = foreground.follow(run, out=self.stdout)
        self.report(run)
        if state is None:
            self.stdout.write("Stopped. Run the command again, or start a worker, to go on.")
            sys.exit(130)
        if state != Run.State.DONE:
            sys.exit(1)

    def begin_with(self, project: exchange.Project, model: str) -> None:
        """Give the project its first policy, unless a round could not start with it either."""
        try:
            start_model_check.typed(model)
            start_and_cancel.require_votes(project)
            if not own_model.begin_with(project, model, out=self.stdout):
                self.stdout.write("Stopped. Run the command again to go on.")
                sys.exit(130)
        except start_and_cancel.RoundRunning:
            return  # it is followed
        except (
            start_and_cancel.RoundRefused,
            start_model_check.Refused,
            added_models.Declined,
        ) as error:
            raise CommandError(str(error)) from error

    def choice(self, project: exchange.Project, options: dict[str, Any]) -> Choice:
        """The settings that the options name, over those that the project's rounds usually have."""
        usual = round_settings.saved(project)
        try:
            given = read_mapping(options["config"]) if options["config"] else usual.config
            for change in options["set"]:
                given = merged(given, _setting(change))
        except ConfigError as error:
            raise CommandError(str(error)) from error
        preset = options["preset"] or usual.preset
        return Choice(preset=preset, config=given, policy=options["policy"], operator=True)

    def tell_estimate(self, project: exchange.Project, choice: Choice) -> None:
        """Print what a round with these settings would need."""
        try:
            whole = round_settings.resolve(project, choice)
        except round_settings.SettingsRefused as refused:
            raise CommandError(str(refused)) from refused
        needed = expected_cost.estimate(project, whole)
        took = "" if needed.seconds is None else f"about {duration(needed.seconds)}. "
        memory = "" if needed.memory_gib is None else f"about {needed.memory_gib:.1f} GiB. "
        self.stdout.write(f"Time: {took}{needed.time_basis}")
        self.stdout.write(f"Memory: {memory}{needed.memory_basis}")

    def live_or_new(self, project: exchange.Project, seed: int | None, choice: Choice) -> Run:
        """The run of the project's live round, or of a new one."""
        live = project.rounds.live().first()
        try:
            round_ = live or start_and_cancel.start_round(
                project, trigger="command", seed=seed, enqueue=False, choice=choice
            )
        except start_and_cancel.RoundRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        if live is None:
            told = {"round": round_.number, "preset": choice.preset}
            exchange.record_command("run_round", project_slug=project.slug, **told)
        else:
            self.stdout.write(f"Round {live.number} is {live.state} already; following it.")
        return Run.objects.filter(round=round_).latest("id")

    def report(self, run: Run) -> None:
        """Print what the round did."""
        round_ = Round.objects.get(runs=run)
        self.stdout.write(f"Round {round_.number}: {round_.state}")
        for result in run.stages.order_by("id"):
            numbers = "  ".join(f"{k} {v:.4g}" for k, v in sorted(result.metrics.items()))
            self.stdout.write(f"  {result.stage}: {numbers}")
        for version in run.models.order_by("kind"):
            self.stdout.write(f"  {version.name}: {version.state}. {version.note}".rstrip(". "))
        run.refresh_from_db(fields=["error"])
        if run.error:
            self.stderr.write(f"  {run.error}")


def _setting(change: str) -> dict[str, Any]:
    """`ppo.kl_coef=0.1` as nested settings; the value is YAML.

    Raises:
        ConfigError: it is no such text.
    """
    name, equals, text = change.partition("=")
    if not equals or not name:
        raise ConfigError(f"--set {change}: expected name=value")
    try:
        return nested({name: yaml.safe_load(text)})
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {name}: {error}") from error
