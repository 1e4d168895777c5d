"""The settings of a project's rounds: defaults of its model, a preset, and what somebody chose.

One set of rules for the form, the API, the command line, files and rounds that start by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings

from annotate import exchange
from training.models import ModelVersion, Plan
from training.plans import project_facts
from training.plans.optimiser_advice import COUNTED, advise
from training.plans.shown_settings import flat, value_at
from training.rlhf import acquire
from training.rlhf.config import (
    PRESETS,
    ConfigError,
    EvaluateConfig,
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
JUDGES_FILES = ("evaluate.judge.path", "reward.judge_base")
FUNCTIONS = "reward_functions"
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
    """True when the command line chose: it may name files and what the installation decides."""
    granted: Settings = field(default_factory=dict)
    """The choices that the command line made earlier, by dotted names: it may stay as it is."""

    def may(self, name: str, value: Any) -> bool:
        """True where a setting that is the operator's stands here by the operator's will."""
        return self.operator or (name in self.granted and self.granted[name] == value)


def saved(project: exchange.Project) -> Choice:
    """The choice of the project's rounds for which nobody makes another."""
    plan = Plan.objects.filter(project=project).first()
    if plan is None:
        return Choice()
    granted = plan.operators
    if granted is None:  # nobody wrote down who chose; functions could be named by admins, too
        own = _operators_own(plan.config)
        granted = {name: own[name] for name in own if not name.startswith(f"{FUNCTIONS}.")}
    return Choice(preset=plan.preset, config=plan.config, granted=granted)


def save(project: exchange.Project, choice: Choice) -> None:
    """Let the project's coming rounds do what was chosen, those that start by themselves too.

    Raises:
        SettingsRefused: nothing was saved.
    """
    resolve(project, choice)
    values = {
        "preset": choice.preset,
        "config": choice.config,
        "operators": _operators_own(choice.config),  # all of them by right, or it was refused
    }
    Plan.objects.update_or_create(project=project, defaults=values)


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
    if project.acquisition in acquire.ACQUISITIONS:
        base["propose"] = {**base["propose"], "acquisition": project.acquisition}
    whole = settled(base | {"tracker": settings.TRACKER}, choice.config)
    threads = choice.config.get("threads")
    if settings.TRAINING_THREADS and (threads is None or not choice.may("threads", threads)):
        whole["threads"] = settings.TRAINING_THREADS
    return whole


def _base(project: exchange.Project, preset: str) -> Settings:
    return preset_settings(
        preset, project_facts.model_facts(project), project_facts.text_facts(project)
    )


def usual_optimiser(project: exchange.Project) -> str:
    """The optimiser of rounds for which nobody chose one: the advised one."""
    return advise(exchange.resolved_since(project, None, most=COUNTED)).optimiser


def planned(project: exchange.Project) -> RoundConfig:
    """The settings that the project's next round would have, for runs without a round."""
    return from_dict(RoundConfig, _joined(project, saved(project)))


def compared(project: exchange.Project) -> EvaluateConfig:
    """The settings by which any policies are compared: those of a round, but for one server."""
    evaluate = planned(project).evaluate
    if evaluate.endpoint is not None and evaluate.endpoint.model:
        # Its names are those of a round's two policies.
        return replace(evaluate, endpoint=None)
    return evaluate


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
    for name, value in _operators_own(choice.config).items():
        function = name.removeprefix(f"{FUNCTIONS}.") if name.startswith(FUNCTIONS) else ""
        # A function by its path may stay; a rule's name means what the operator says today.
        if not choice.may(name, value) or (function and ":" not in function):
            refused[name] = _why_refused(name, function)
    return refused | _servers_refused(whole)


def _operators_own(config: Settings) -> Settings:
    """Those of these settings, by their dotted names, that are the operator's to choose."""
    own = {name: value for name, value in flat(config) if name in OPERATORS_OWN}
    own |= {name: path for name in JUDGES_FILES if (path := value_at(config, name))}
    return own | {f"{FUNCTIONS}.{name}": config[FUNCTIONS][name] for name in unnamed(config)}


def unnamed(config: Settings) -> list[str]:
    """Functions of these settings that are not, or no more, among the operator's rules."""
    functions = config.get(FUNCTIONS)
    return (
        [name for name in functions if name not in rules()] if isinstance(functions, dict) else []
    )


def _why_refused(name: str, function: str) -> str:
    if function:
        there = f"there are {', '.join(rules())}" if rules() else NO_RULES
        return f"There is no rule {function}{'; ' if rules() else ': '}{there}"
    if name in JUDGES_FILES:
        return f"{name} names a file of the server: only the command line sets it"
    return f"{name} is set by whoever runs this installation"


NO_RULES = "none is named in PAIRLOOP_REWARD_FUNCTIONS"


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
