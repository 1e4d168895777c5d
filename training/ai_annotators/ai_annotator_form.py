"""Forms by which somebody adds, bounds and starts an AI annotator. Page and REST are held to them
alike."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms

from annotate import exchange
from annotate.exchange import AiAnnotator
from training.ai_annotators import ai_voting
from training.models import ModelVersion
from training.setup.model_form import server_address

MOST_PAIRS = 100_000
USUAL_PAIRS = 500
LONGEST_CONSTITUTION = 20_000


class BoundsForm(forms.Form):
    """The pace of an AI annotator, and what it may spend in all."""

    per_minute = forms.IntegerField(
        label="Requests a minute", min_value=1, max_value=6000, help_text="At most."
    )
    most_requests = forms.IntegerField(
        label="Requests in all",
        min_value=2,
        max_value=100_000_000,
        help_text="A pair takes two, one in each order.",
    )
    most_tokens = forms.IntegerField(
        label="Tokens in all",
        min_value=1,
        max_value=10**12,
        help_text="In and out, as the server counts them.",
    )

    BOUNDS = ("per_minute", "most_requests", "most_tokens")

    def bounds(self) -> dict[str, int]:
        return {name: self.cleaned_data[name] for name in self.BOUNDS}


class AiAnnotatorForm(BoundsForm):
    """A model, the principles it judges by, and its bounds."""

    name = forms.CharField(label="Name", max_length=80)
    kind = forms.ChoiceField(
        label="Model", choices=AiAnnotator.Kind.choices, widget=forms.RadioSelect
    )
    version = forms.ChoiceField(
        label="Reward model",
        required=False,
        help_text="Of a project whose votes are others: what this project's votes have taught "
        "cannot be compared with them.",
    )
    url = server_address()
    model = forms.CharField(
        label="Name of the model",
        max_length=200,
        required=False,
        help_text="On that server.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    constitution = forms.CharField(
        label="Constitution",
        max_length=LONGEST_CONSTITUTION,
        required=False,
        help_text="The principles that make one reply better than another, in plain words. They "
        "cannot be changed later: other principles are another annotator.",
        widget=forms.Textarea(attrs={"rows": 10}),
    )
    longest = forms.IntegerField(
        label="Longest answer",
        min_value=1,
        max_value=8192,
        help_text="In tokens. A letter is enough; models that think before they answer need more.",
    )

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "kind": AiAnnotator.Kind.CHAT,
        "per_minute": 60,
        "most_requests": 4000,
        "most_tokens": 2_000_000,
        "longest": 16,
    }
    OF_CHAT = ("url", "model", "constitution", "longest", "most_requests", "most_tokens")

    def __init__(
        self, *args: Any, project: exchange.Project, versions: list[ModelVersion], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        self.versions = {str(one.pk): one for one in versions}
        field = self.fields["version"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "None")] + [
            (pk, f"{one.project.name}: {one.name} ({one.get_state_display().lower()})")
            for pk, one in self.versions.items()
        ]
        if self.data.get("kind") == AiAnnotator.Kind.REWARD:
            for name in self.OF_CHAT:
                self.fields[name].required = False

    def clean_name(self) -> str:
        return " ".join(self.cleaned_data["name"].split())

    def clean_constitution(self) -> str:
        return str(self.cleaned_data["constitution"]).replace("\r\n", "\n").strip()

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        try:
            if data.get("kind") == AiAnnotator.Kind.REWARD:
                data["source"] = self._reward()
            elif data.get("kind") == AiAnnotator.Kind.CHAT:
                self._require_chat()
                if not self.errors:
                    told = {name: data[name] for name in ("url", "model", "longest")}
                    data["source"] = ai_voting.chat_source(**told)
        except ai_voting.Refused as error:
            reward = data.get("kind") == AiAnnotator.Kind.REWARD
            self.add_error("version" if reward else "url", str(error))
        return data

    def _reward(self) -> tuple[str, str, dict[str, Any]] | None:
        version = self.versions.get(self.cleaned_data.get("version", ""))
        if version is None:
            if "version" not in self.errors:
                self.add_error("version", "Choose the reward model.")
            return None
        return ai_voting.reward_source(self.project, version)

    def _require_chat(self) -> None:
        needed = {
            "url": "Write the address of the server.",
            "model": "Name the model.",
            "constitution": "Write the principles that it shall judge by.",
        }
        for name, said in needed.items():
            if not self.cleaned_data.get(name) and name not in self.errors:
                self.add_error(name, said)

    def create(self, by: Any) -> AiAnnotator | None:
        """The new annotator; None where the project has one of this name, which the form says."""
        data = self.cleaned_data
        chat = data["kind"] == AiAnnotator.Kind.CHAT
        bounds = self.bounds() if chat else {"per_minute": data["per_minute"]}
        wishes = {"name": data["name"], "constitution": data["constitution"], **bounds}
        try:
            return ai_voting.create(self.project, data["source"], by=by, **wishes)
        except ai_voting.Refused as error:
            self.add_error("name", str(error))
            return None


class StartForm(forms.Form):
    """The number of pairs to vote on."""

    most = forms.IntegerField(label="Pairs", min_value=1, max_value=MOST_PAIRS)
