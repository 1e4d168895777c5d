"""Input of the pages on rounds and models."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django import forms

from annotate import exchange
from training.completions import writing_runs
from training.completions.writing_runs import ENDPOINT
from training.playground import prompt_trials
from training.setup.model_form import server_address

MOST_COLLEAGUES = 50
MOST_VOTES = 1000
"""Votes are cast while the request waits, a few milliseconds each."""


class AskForm(forms.Form):
    """Numbers of simulated colleagues and of the votes they cast in all."""

    annotators = forms.IntegerField(label="Colleagues", min_value=1, max_value=MOST_COLLEAGUES)
    votes = forms.IntegerField(label="Votes", min_value=1, max_value=MOST_VOTES)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        for field in self.fields.values():
            field.widget.attrs |= {"aria-label": field.label, "inputmode": "numeric"}


class ReasonForm(forms.Form):
    """Why somebody changes what is in use; it stands beside the version for good."""

    reason = forms.CharField(label="Reason", max_length=500, widget=forms.TextInput)


class PushForm(forms.Form):
    """The repository a model is pushed to."""

    repo = forms.RegexField(
        # Two plain names: each part is matched once, so time grows with the length alone.
        r"^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$",
        label="Name on the hub",
        help_text="Owner and name, such as my-team/desk-policy.",
        error_messages={
            "invalid": "Write it as owner/name: letters, digits, and . _ - in between."
        },
    )
    private = forms.BooleanField(label="Private", required=False, initial=True)


class KeepForm(forms.Form):
    """The number of newest versions of each kind that keep their weights."""

    keep = forms.IntegerField(label="Newest versions to keep", min_value=0, max_value=10_000)


class ShallowDecoder(json.JSONDecoder):
    """JSON that is nested too deeply to be read is an error like any other in it."""

    def decode(self, s: str, *args: Any) -> Any:
        try:
            return super().decode(s, *args)
        except RecursionError as error:
            raise json.JSONDecodeError("nested too deeply", s, 0) from error


class ChatField(forms.JSONField):
    """The earlier turns of a chat. JSON can spell halves of characters, a page cannot hold them."""

    def prepare_value(self, value: Any) -> str:
        return str(super().prepare_value(value)).encode("utf-8", "backslashreplace").decode()


class TrialForm(forms.Form):
    """A message to some models; `choices` are the models there are."""

    message = forms.CharField(
        label="Message",
        max_length=prompt_trials.MOST_MESSAGE,
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    system = forms.CharField(
        label="Instructions",
        help_text="Said to the models before the chat begins.",
        max_length=prompt_trials.MOST_MESSAGE,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    first = forms.ChoiceField(label="Model 1")
    second = forms.ChoiceField(label="Model 2", required=False)
    third = forms.ChoiceField(label="Model 3", required=False)
    fourth = forms.ChoiceField(label="Model 4", required=False)
    temperature = forms.FloatField(
        label="Temperature", min_value=0.0, max_value=2.0, help_text="0 takes the likeliest word."
    )
    max_new_tokens = forms.IntegerField(
        label="Longest reply",
        min_value=1,
        max_value=prompt_trials.MOST_TOKENS,
        help_text="In tokens.",
    )
    seed = forms.IntegerField(
        label="Seed", min_value=0, max_value=2**31 - 1, help_text="Repeats the same draw."
    )
    history = ChatField(decoder=ShallowDecoder, required=False, widget=forms.HiddenInput)

    PLACES = ("first", "second", "third", "fourth")

    def __init__(self, *args: Any, choices: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        none = [("", "None")]
        for place, name in enumerate(self.PLACES):
            needed = place == 0 or (place == 1 and len(choices) > 1)
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices, field.required = choices if needed else none + choices, needed

    def clean_history(self) -> list[dict[str, str]]:
        try:
            return prompt_trials.chat(self.cleaned_data["history"])
        except prompt_trials.Refused as error:
            raise forms.ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        seen: set[str] = set()
        for name in self.PLACES:
            if data.get(name) in seen:
                self.add_error(name, "Choose different models.")
            seen |= {data[name]} if data.get(name) else set()
        return data

    def trial(self) -> dict[str, Any]:
        """Columns of the trial to create."""
        data = self.cleaned_data
        system = [{"role": "system", "content": data["system"]}] if data["system"] else []
        message = {"role": "user", "content": data["message"]}
        return {
            "messages": [*system, *data["history"], message],
            "choices": [data[name] for name in self.PLACES if data[name]],
            **{key: data[key] for key in ("temperature", "max_new_tokens", "seed")},
        }


class WritingForm(forms.Form):
    """Completions to be written: by whom, for which prompts, and how. The page, REST and the
    command are held to it alike."""

    source = forms.ChoiceField(label="Written by")
    url = server_address()
    model = forms.CharField(
        label="Model",
        max_length=200,
        required=False,
        help_text="Its name on that server. Empty: go on, and the server lists its models.",
        widget=forms.TextInput(attrs={"list": "models-there", "autocomplete": "off"}),
    )
    other = forms.ChoiceField(
        label="Compared with",
        required=False,
        help_text="Pairs are of one reply of each; with nobody else, of two replies of the same.",
    )
    other_url = forms.CharField(
        label="Address of the second server",
        max_length=300,
        required=False,
        help_text="Empty: the same.",
        widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "off"}),
    )
    other_model = forms.CharField(
        label="Second model",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"list": "models-there", "autocomplete": "off"}),
    )
    prompts = forms.ChoiceField(
        label="Prompts",
        choices=[
            ("unanswered", "Without completions"),
            ("all", "All"),
            ("tag", "With a tag"),
        ],
    )
    tag = forms.CharField(
        label="Tag",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"list": "tags-there", "autocomplete": "off"}),
    )
    most = forms.IntegerField(
        label="At most", min_value=1, max_value=10_000_000, required=False, help_text="Prompts."
    )
    per_prompt = forms.IntegerField(
        label="Replies per prompt", min_value=1, max_value=16, help_text="Of each model."
    )
    temperature = forms.FloatField(
        label="Temperature", min_value=0.0, max_value=2.0, help_text="Higher: replies differ more."
    )
    top_p = forms.FloatField(
        label="Top-p", min_value=0.01, max_value=1.0, help_text="1: all words."
    )
    max_new_tokens = forms.IntegerField(
        label="Longest reply", min_value=1, max_value=32_768, help_text="In tokens."
    )
    concurrency = forms.IntegerField(
        label="Requests at a time", min_value=1, max_value=128, help_text="Of a server."
    )
    seed = forms.IntegerField(label="Seed", min_value=0, max_value=2**31 - 1)
    price_in = forms.FloatField(
        label="Price of a million tokens in", min_value=0.0, max_value=1e6, required=False
    )
    price_out = forms.FloatField(
        label="Price of a million tokens out", min_value=0.0, max_value=1e6, required=False
    )

    WHO = ("source", "other")
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "source": ENDPOINT,
        **writing_runs.HOW,
    }

    def __init__(self, *args: Any, project: exchange.Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        self.versions = {str(one.pk): one for one in writing_runs.there(project)}
        writers = [(ENDPOINT, "A server (endpoint)")]
        writers += [
            (pk, f"{one.name} ({one.get_state_display().lower()})")
            for pk, one in self.versions.items()
        ]
        for name, nobody in (("source", []), ("other", [("", "Nobody else")])):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = nobody + writers

    @classmethod
    def by_names(cls, project: exchange.Project, given: dict[str, Any]) -> dict[str, Any]:
        """Values of the form from wishes that name model versions and leave defaults out."""
        numbers = {one.name: str(one.pk) for one in writing_runs.there(project)}
        values = cls.DEFAULTS | given
        chosen = {who: numbers.get(values.get(who, ""), values.get(who, "")) for who in cls.WHO}
        return values | chosen

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        sources = [self._source("source", data.get("url", ""), "url", "model")]
        if data.get("other"):
            url = data.get("other_url") or data.get("url", "")
            sources.append(self._source("other", url, "other_url", "other_model"))
        if data.get("prompts") == "tag" and not data.get("tag"):
            self.add_error("tag", "Name the tag.")
        chosen = [source for source in sources if source is not None]
        if not self.errors:
            self._check_pairs(chosen)
        if not self.errors:
            try:
                data["sources"] = writing_runs.told_apart(chosen)
            except writing_runs.Refused as error:
                self.add_error("other", str(error))
        return data

    def _source(self, who: str, url: str, url_name: str, model_name: str) -> dict[str, Any] | None:
        chosen, model = self.cleaned_data.get(who), self.cleaned_data.get(model_name, "").strip()
        if chosen in self.versions:
            return writing_runs.version_source(self.versions[chosen])
        if chosen != ENDPOINT:
            return None
        try:
            return writing_runs.server_source(self.project, url=url, model=model)
        except writing_runs.Refused as error:
            self.add_error(url_name, str(error))
        return None

    def _check_pairs(self, sources: list[dict[str, Any]]) -> None:
        data = self.cleaned_data
        if len(sources) == 2:
            return
        if data["per_prompt"] < 2:
            self.add_error("per_prompt", "Two replies make a pair: ask for 2, or a second model.")
        elif data["temperature"] == 0:
            said = "At 0 a model writes the same reply every time: raise it, or add a second model."
            self.add_error("temperature", said)

    def options(self) -> dict[str, Any]:
        """Options of the run to start, besides what the form needed to make them."""
        left = {"source", "url", "model", "other", "other_url", "other_model"}
        options = {name: value for name, value in self.cleaned_data.items() if name not in left}
        return options | {"most": options["most"] or 0}

    @staticmethod
    def filled(options: dict[str, Any]) -> dict[str, Any]:
        """The form's values from which these options were made."""
        values = {name: value for name, value in options.items() if name != "sources"}
        places = [("source", "url", "model"), ("other", "other_url", "other_model")]
        for (who, url, model), source in zip(places, options["sources"], strict=False):
            if "url" in source:
                values |= {who: ENDPOINT, url: source["url"], model: source["model"]}
            else:
                values |= {who: str(source["version"])}
        return values | {"most": options["most"] or None}
