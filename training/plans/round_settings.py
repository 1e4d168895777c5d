"""The settings of a project's rounds: defaults of its model, a preset, and what somebody chose.

One set of rules for the form, the API, the command line, files and rounds that start by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from annotate import exchange
from training.models import ModelVersion, Plan
from training.plans import project_facts
from training.plans.optimiser_advice import advise
from training.plans.shown_settings import flat
from training.rlhf import acquire
from training.rlhf.config import (
    PRESETS,
    ConfigError,
    RoundConfig,
    from_dict,
    merged,
    nested,
    preset_settings,
    problems,
    settled,
)
from training.versions import endpoint_hosts

Settings = dict[str, Any]

PROJECTS_OWN = ("starter", "policy", "last_reward", "number", "seed")
OPERATORS_OWN = ("tracker", "threads")
"""Settings of the installation; the command line is the operator's and may set them."""
SERVERS = ("sample.endpoint", "evaluate.endpoint", "evaluate.judge.endpoint")


class SettingsRefused(Exception):
    """Settings that a round cannot have; `problems` tells of each by its dotted name."""

    def __init__(self, refused: dict[str, str]) -> None:
        super().__init__("; ".join(refused.values()))
        self.problems = refused


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Settings that somebody chose for a round."""

    preset: str = "balanced"
    config: Settings = field(default_factory=dict)
    """Nested settings that stand in place of the preset's."""
    policy: str = ""
    """Name of the version to start from, such as policy-3; empty: the one in use."""
    operator: bool = False
    """Whether the command line chose: it may name files and what the installation decides."""


def saved(project: exchange.Project) -> Choice:
    """The choice of the project's rounds for which nobody makes another."""
    plan = Plan.objects.filter(project=project).first()
    if plan is None:
        return Choice()
    return Choice(preset=plan.preset, config=plan.config, operator=True)


def save(project: exchange.Project, choice: Choice) -> None:
    """Let the project's coming rounds do what was chosen, those that start by themselves too.

    Raises:
        SettingsRefused: nothing was saved.
    """
    resolve(project, choice)
    Plan.objects.update_or_create(
        project=project, defaults={"preset": choice.preset, "config": choice.config}
    )


def defaults(project: exchange.Project, preset: str) -> Settings:
    """All settings of a round with this preset, before anybody chooses."""
    return _joined(project, Choice(preset=preset))


def resolve(project: exchange.Project, choice: Choice) -> Settings:
    """All settings of a round by this choice, but for what follows from the project's state.

    Raises:
        SettingsRefused: before anything is written.
    """
    refused: dict[str, str] = {}
    if choice.preset not in PRESETS:
        raise SettingsRefused({"preset": f"preset must be one of {', '.join(PRESETS)}"})
    if choice.policy and version_named(project, choice.policy) is None:
        refused["policy"] = f"There is no policy {choice.policy} with weights in this project."
    whole = _joined(project, choice)
    wrong = problems(RoundConfig, whole)
    # A rule that joins two settings may be told of the one that nobody chose.
    chosen = {name for name, _ in flat(choice.config)}
    refused |= {name: text for name, text in wrong.items() if name in chosen} or wrong
    if not wrong:
        refused |= _of_names(whole) | _forbidden(choice, whole)
    if refused:
        raise SettingsRefused(refused)
    return _as_engine_reads(whole)


def _joined(project: exchange.Project, choice: Choice) -> Settings:
    base = _base(project, choice.preset) | {"optimiser": usual_optimiser(project)}
    whole = settled(base | {"tracker": settings.TRACKER}, choice.config)
    if settings.TRAINING_THREADS and not (choice.operator and "threads" in choice.config):
        whole["threads"] = settings.TRAINING_THREADS
    return whole


def _base(project: exchange.Project, preset: str) -> Settings:
    return preset_settings(
        preset, project_facts.model_facts(project), project_facts.text_facts(project)
    )


def usual_optimiser(project: exchange.Project) -> str:
    """The optimiser of rounds for which nobody chose one: the advised one."""
    return advise(exchange.resolved_since(project, None)).optimiser


def planned(project: exchange.Project) -> RoundConfig:
    """The settings that the project's next round would have, for runs without a round."""
    return from_dict(RoundConfig, _joined(project, saved(project)))


def version_named(project: exchange.Project, name: str) -> ModelVersion | None:
    """The policy of this name, if its weights are still there."""
    return next((one for one in policies(project) if one.name == name), None)


def policies(project: exchange.Project) -> list[ModelVersion]:
    """Policies that a round may start from, the latest first."""
    kept = ModelVersion.objects.filter(project=project, pruned_at=None).policies()
    return list(kept.order_by("-number"))


def _of_names(whole: Settings) -> dict[str, str]:
    """Refusals of names that the engine looks up when it runs."""
    try:
        acquire.acquisition(whole["propose"]["acquisition"])
    except ConfigError as error:
        return {"propose.acquisition": str(error)}
    return {}


def _forbidden(choice: Choice, whole: Settings) -> dict[str, str]:
    """Refusals of what is not a user's to set: the project's state, files, and servers."""
    refused = {
        name: f"{name} follows from the project's state"
        for name in PROJECTS_OWN
        if name in choice.config
    }
    if not choice.operator:
        refused |= {
            name: f"{name} is set by whoever runs this installation"
            for name in OPERATORS_OWN
            if name in choice.config
        }
        if ((whole["evaluate"].get("judge") or {}).get("path")) and "evaluate" in choice.config:
            refused["evaluate.judge.path"] = (
                "evaluate.judge.path names a file of the server: only the command line sets it"
            )
        known = {*rules(), *rules().values()}
        refused |= {
            f"reward_functions.{name}": f"There is no rule {name}; there are {', '.join(rules())}"
            if rules()
            else f"There is no rule {name}: none is named in PAIRLOOP_REWARD_FUNCTIONS"
            for name in whole["reward_functions"]
            if name not in known
        }
    return refused | _servers_refused(whole)


def rules() -> dict[str, str]:
    """Functions that may be added to a score, by the names that the operator gave them."""
    named = (one.partition("=") for one in settings.REWARD_FUNCTIONS)
    return {name.strip(): path.strip() for name, _, path in named if name.strip() and path.strip()}


def _servers_refused(whole: Settings) -> dict[str, str]:
    refused = {}
    for name, url in servers(whole).items():
        try:
            endpoint_hosts.checked(url)
        except endpoint_hosts.NotAllowed as error:
            refused[f"{name}.url"] = f"{name}.url: {error}"
    return refused


def servers(whole: Settings) -> dict[str, str]:
    """Addresses of the servers that a round asks, by the setting that names them."""
    addresses = {}
    for name in SERVERS:
        place: Any = whole
        for part in name.split("."):
            place = (place or {}).get(part)
        if place:
            addresses[name] = str(place["url"])
    return addresses


def _as_engine_reads(whole: Settings) -> Settings:
    """Addresses as they will be asked, and rules by their paths."""
    for name, url in servers(whole).items():
        whole = merged(whole, nested({f"{name}.url": endpoint_hosts.checked(url)}))
    by_path = {rules().get(name, name): w for name, w in whole["reward_functions"].items()}
    return whole | {"reward_functions": by_path}
