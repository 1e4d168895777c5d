"""The form of a round: method, policy to start from, preset, and the settings that matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django import forms

from annotate import exchange
from training.plans import round_settings
from training.plans.optimiser_advice import CHOICES, COUNTED, advise
from training.plans.round_settings import FUNCTIONS, Choice, SettingsRefused, unnamed
from training.plans.shown_settings import GROUPS, SHOWN, Group, Shown, flat, value_at, worded
from training.rlhf.config import OPTIMISERS, PRESETS, merged, nested

ADAPTERS, ALL = "adapters", "all"


class RoundForm(forms.Form):
    """A round to start. Fields that are left empty are as the preset says for this model.

    `whole` holds all settings once the form is valid.
    """

    optimiser = forms.ChoiceField(
        label="Improve the policy by",
        choices=list(CHOICES.items()),
        required=False,
        error_messages={
            "invalid_choice": "There is no such way to improve a policy; choose one listed."
        },
    )
    policy = forms.ChoiceField(label="Start from", required=False)
    preset = forms.ChoiceField(
        label="How thorough",
        choices=[(name, preset.title) for name, preset in PRESETS.items()],
        required=False,
    )
    seed = forms.IntegerField(
        label="Seed",
        min_value=0,
        max_value=2**31 - 1,
        required=False,
        help_text="Repeats the same draws. Empty: the round's number.",
    )
    save = forms.BooleanField(
        label="Use these settings for coming rounds, too",
        help_text="Those that start by themselves as well.",
        required=False,
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, project: exchange.Project) -> None:
        self.project, self.saved = project, round_settings.saved(project)
        self.advice = advise(exchange.resolved_since(project, None, most=COUNTED))
        super().__init__(data, initial=self._initial())
        preset = str(self["preset"].value() or self.saved.preset)
        self.defaults = round_settings.defaults(
            project, preset if preset in PRESETS else self.saved.preset
        )
        names = [one.name for one in round_settings.policies(project)]
        start = self.fields["policy"]
        assert isinstance(start, forms.ChoiceField), "the field above"
        start.choices = [("", "The policy in use"), *((name, name) for name in names)]
        for shown in SHOWN.values():
            self.fields[shown.name] = _field(shown, value_at(self.defaults, shown.name))
        self.rules = [f"reward_functions.{name}" for name in round_settings.rules()]
        for name in self.rules:
            self.fields[name] = forms.FloatField(
                label=name.partition(".")[2],
                required=False,
                help_text="Weight of this rule beside the reward model's score. Empty: not used.",
                widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
            )
        self.whole: dict[str, Any] = {}

    def _initial(self) -> dict[str, Any]:
        chosen = {name: _as_field(name, value) for name, value in flat(self.saved.config)}
        return {"optimiser": self.advice.optimiser, "preset": self.saved.preset} | chosen

    @property
    def told(self) -> str:
        """The saved method where it is not the advised one, for a line beside the choice."""
        chosen = self.saved.config.get("optimiser", self.advice.optimiser)
        return "" if chosen == self.advice.optimiser else str(chosen).upper()

    def groups(self) -> Iterator[tuple[Group, list[forms.BoundField], bool]]:
        """The fields of the fold as they stand together, and whether the method reads them."""
        optimiser = OPTIMISERS.get(str(self["optimiser"].value()))
        for group in GROUPS:
            read = not group.section or optimiser is None or group.section == optimiser.settings
            yield group, [self[shown.name] for shown in group.fields], read
        if self.rules:
            yield Group("Rules beside the reward model", ()), [self[n] for n in self.rules], True

    @property
    def shape(self) -> str:
        """Preset and method, from which the defaults in the fields follow."""
        return " ".join(str(self[name].value() or "") for name in ("preset", "optimiser"))

    def presets(self) -> Iterator[dict[str, Any]]:
        """The presets with what they say, and whether each is chosen."""
        chosen = self["preset"].value() or self.saved.preset
        for name, preset in PRESETS.items():
            told = {"name": name, "title": preset.title, "text": preset.text}
            yield told | {"checked": name == chosen}

    @property
    def unfolded(self) -> bool:
        """True where somebody set a field of the fold, or has to mend one."""
        return any(
            self[name].value() not in (None, "") or self[name].errors
            for name in (*SHOWN, *self.rules)
        )

    def kept(self) -> dict[str, Any]:
        """Saved settings that the form has no field for, by name; they stay as they are."""
        names = {*SHOWN, "optimiser"}
        # Functions apart: there are points in their names.
        saved = {name: part for name, part in self.saved.config.items() if name != FUNCTIONS}
        return {name: value for name, value in flat(saved) if name not in names}

    def kept_functions(self) -> dict[str, Any]:
        """Functions that the operator chose by their paths; a rule that is no more ends here."""
        named = {name: self.saved.config[FUNCTIONS][name] for name in unnamed(self.saved.config)}
        return {
            n: weight for n, weight in named.items() if self.saved.may(f"{FUNCTIONS}.{n}", weight)
        }

    def clean(self) -> dict[str, Any]:
        if self.errors:
            return self.cleaned_data
        try:
            self.whole = round_settings.resolve(self.project, self.choice())
        except SettingsRefused as error:
            for name, text in error.problems.items():
                self.add_error(name if name in self.fields else None, text)
        return self.cleaned_data

    def choice(self) -> Choice:
        """The choice, as a round takes it."""
        data = self.cleaned_data
        shown = (*SHOWN, *self.rules)
        given = {name: data.get(name) for name in shown if data.get(name) not in (None, "")}
        config = nested(
            {name: value for name, value in self.kept().items() if _stands(name, given)}
        )
        if functions := self.kept_functions():
            config[FUNCTIONS] = functions
        config = merged(config, _config(given))
        if chosen := data.get("optimiser") or self.saved.config.get("optimiser"):
            config["optimiser"] = chosen
        return Choice(
            preset=data.get("preset") or self.saved.preset,
            config=config,
            policy=data.get("policy") or "",
            granted=self.saved.granted,
        )


def _stands(name: str, given: Mapping[str, Any]) -> bool:
    """False for what is of a section that the form switched off."""
    section = name.rpartition(".")[0]
    if section.endswith(".endpoint"):
        return f"{section}.url" in given
    return not (section.endswith(".lora") and given.get(section) == ALL)


def _config(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as nested settings: what is in a section that was switched off is not there."""
    off = [name for name, value in given.items() if value == ALL]
    values = {name: value for name, value in given.items() if value not in (ALL, ADAPTERS)}
    left = {
        name: value
        for name, value in values.items()
        if not any(name.startswith(f"{section}.") for section in off)
    }
    config = nested(dict.fromkeys(off) | left)
    for name, value in given.items():
        if value == ADAPTERS:
            config = merged(nested({name: {}}), config)
    return config


def _as_field(name: str, value: Any) -> Any:
    if name.endswith(".lora"):
        return ADAPTERS if value else ALL
    return value


def _field(shown: Shown, default: Any) -> forms.Field:
    """The field of a setting; its bounds are the engine's, which the whole form is checked by."""
    setting = shown.setting
    usual = "no server" if shown.name.endswith(".endpoint.url") else worded(default, shown.unit)
    told: dict[str, Any] = {
        "label": shown.title,
        "required": False,
        "help_text": setting.text.replace("`", ""),
    }
    if setting.kind == "section":
        options = [(ADAPTERS, "Adapters (LoRA)"), (ALL, "All weights")]
        preset = "adapters" if default is not None else "all weights"
        return forms.ChoiceField(**told, choices=[("", f"As the preset says: {preset}"), *options])
    if setting.kind == "choice":
        options = [(option, option) for option in setting.options]
        return forms.ChoiceField(**told, choices=[("", f"As the preset says: {usual}"), *options])
    if setting.kind == "bool":
        return forms.TypedChoiceField(
            **told,
            choices=[("", f"As the preset says: {usual}"), ("True", "yes"), ("False", "no")],
            coerce="True".__eq__,
            empty_value=None,
        )
    hint = {"placeholder": usual, "autocomplete": "off"}
    if setting.kind == "int":
        return forms.IntegerField(
            **told, widget=forms.TextInput(attrs=hint | {"inputmode": "numeric"})
        )
    if setting.kind == "float":
        return forms.FloatField(
            **told, widget=forms.TextInput(attrs=hint | {"inputmode": "decimal"})
        )
    return forms.CharField(**told, max_length=300, widget=forms.TextInput(attrs=hint))
