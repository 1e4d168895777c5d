"""Input rules about exports."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django import forms

from annotate.exporting import FORMATS
from annotate.exporting.export_files import Options
from annotate.models import DatasetVersion, Project

LISTED = 100
"""Versions that the page offers; an address can name older ones."""


class ExportForm(forms.Form):
    """A version, a format, and what the format can be told."""

    version = forms.TypedChoiceField(coerce=int)
    format = forms.ChoiceField(choices=[(name, name) for name in FORMATS])
    compression = forms.ChoiceField(
        choices=[("none", "none"), ("gzip", "gzip"), ("zstd", "Zstandard")], required=False
    )
    style = forms.ChoiceField(
        choices=[("", "chat"), ("text", "text")], required=False, help_text="Of kto, sft, ranked."
    )
    licence = forms.CharField(
        max_length=60, required=False, help_text="That the card of hf states: cc-by-4.0."
    )
    include_simulated = forms.BooleanField(required=False, label="With simulated votes")

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        self._versions = project.dataset_versions.all()
        numbers = list(self._versions.values_list("number", flat=True)[:LISTED])
        asked = str(self.data.get("version", ""))
        if asked.isdigit() and len(asked) < 9 and int(asked) not in numbers:
            numbers += self._versions.filter(number=int(asked)).values_list("number", flat=True)
        field = self.fields["version"]
        assert isinstance(field, forms.TypedChoiceField)
        field.choices = [(number, f"Version {number}") for number in numbers]
        if not project.train_on_simulated:
            del self.fields["include_simulated"]

    def clean(self) -> dict[str, Any]:
        """Options of other formats are forgotten: the fields stand beside each other."""
        cleaned = super().clean() or {}
        chosen = FORMATS.get(cleaned.get("format", ""))
        if chosen is None:
            return cleaned
        for name in ("style", "licence"):
            if name not in chosen.options:
                cleaned[name] = ""
        if chosen.files is not None or not cleaned.get("compression"):
            cleaned["compression"] = "none"
        if cleaned.get("version") and (refusal := chosen.refusal(self.chosen_version())):
            self.add_error("version", refusal)
        return cleaned

    def chosen_version(self) -> DatasetVersion:
        """The version that was chosen."""
        version = self._versions.get(number=self.cleaned_data["version"])
        version.project = self.project
        return version

    def options(self) -> Options:
        """The options that were chosen."""
        told = {name: self.cleaned_data[name] for name in ("style", "licence")}
        return Options(
            include_simulated=bool(self.cleaned_data.get("include_simulated")),
            compression=self.cleaned_data["compression"],
            told={name: value for name, value in told.items() if value},
        )

    def address(self) -> str:
        """The same as parameters of the API's export call, which takes a part besides."""
        options = self.options()
        given: dict[str, Any] = {
            "format": self.cleaned_data["format"],
            "version": self.cleaned_data["version"],
            **options.told,
        }
        if options.compression != "none":
            given["compression"] = options.compression
        if options.include_simulated:
            given["include_simulated"] = 1
        return urlencode(given)
