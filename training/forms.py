"""Input of the rounds page."""

from __future__ import annotations

from django import forms

MOST_COLLEAGUES = 50
MOST_VOTES = 1000
"""Votes are cast while the request waits, a few milliseconds each."""


class AskForm(forms.Form):
    """How many simulated colleagues cast how many votes in all."""

    annotators = forms.IntegerField(label="Colleagues", min_value=1, max_value=MOST_COLLEAGUES)
    votes = forms.IntegerField(label="Votes", min_value=1, max_value=MOST_VOTES)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        for field in self.fields.values():
            field.widget.attrs |= {"aria-label": field.label, "inputmode": "numeric"}
