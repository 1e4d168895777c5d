"""Input of the pages on rounds and models."""

from __future__ import annotations

import json
from typing import Any

from django import forms

from training.playground import questions
from training.rounds.optimiser_advice import TITLES

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
        max_length=questions.MOST_MESSAGE,
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    system = forms.CharField(
        label="Instructions",
        help_text="Said to the models before the chat begins.",
        max_length=questions.MOST_MESSAGE,
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
        label="Longest reply", min_value=1, max_value=questions.MOST_TOKENS, help_text="In tokens."
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
            return questions.chat(self.cleaned_data["history"])
        except questions.Refused as error:
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


class StartForm(forms.Form):
    """The optimiser of the next round and of those that start by themselves."""

    optimiser = forms.ChoiceField(
        label="Improve the policy by", choices=list(TITLES.items()), required=False
    )
