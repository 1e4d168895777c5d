"""The form by which somebody adds a model. The page and REST are held to it alike."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms

from annotate import exchange
from training.models import ModelVersion, Run
from training.setup import start_model_check
from training.versions import added_models
from training.versions.added_models import CANDIDATE, STARTER

HUB, FOLDER, SERVER = "hub", "folder", "server"
KINDS = (ModelVersion.POLICY, ModelVersion.REWARD)


def server_address() -> forms.CharField:
    """The field of a server with OpenAI's chat completions."""
    return forms.CharField(
        label="Address of the server",
        max_length=300,
        required=False,
        help_text="Up to and with the version, such as https://api.example.org/v1",
        widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "off"}),
    )


class AddModelForm(forms.Form):
    """A model of the hub, of a folder of the server, or behind a server, and what it becomes."""

    place = forms.ChoiceField(
        label="Where it is",
        choices=[
            (HUB, "On the Hugging Face hub"),
            (FOLDER, "In a folder of this server"),
            (SERVER, "Behind an OpenAI-compatible server (endpoint)"),
        ],
        widget=forms.RadioSelect,
    )
    hub = forms.CharField(
        label="Name on the hub",
        max_length=200,
        required=False,
        help_text="OWNER/NAME, such as HuggingFaceTB/SmolLM2-135M-Instruct",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    revision = forms.CharField(
        label="Revision",
        max_length=100,
        required=False,
        help_text="Branch, tag or commit. Empty: the newest, which is then kept.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    folder = forms.CharField(
        label="Folder",
        max_length=500,
        required=False,
        widget=forms.TextInput(
            attrs={"list": "folders-there", "autocomplete": "off", "spellcheck": "false"}
        ),
    )
    url = server_address()
    model = forms.CharField(
        label="Model",
        max_length=200,
        required=False,
        help_text="Its name on that server. Empty: the only one there is.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    make = forms.ChoiceField(
        label="It becomes",
        required=False,
        choices=[
            (STARTER, "The starter: rounds train it, and it writes the first completions"),
            (CANDIDATE, "A candidate: to try, to compare, and to put in use later"),
        ],
        widget=forms.RadioSelect,
    )
    kind = forms.ChoiceField(
        label="Kind",
        required=False,
        choices=[("", "As its files say"), *((kind, kind) for kind in KINDS)],
    )
    note = forms.CharField(
        label="Note", max_length=300, required=False, help_text="More about where it comes from."
    )

    FIELDS: ClassVar[dict[str, tuple[str, str]]] = {
        HUB: ("hub", "Write its name on the hub."),
        FOLDER: ("folder", "Name the folder."),
        SERVER: ("url", "Write the server's address."),
    }

    def __init__(self, *args: Any, project: exchange.Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        first = added_models.starter(project)
        self.has_starter = first is not None and not added_models.is_unused(first)

    @classmethod
    def of(cls, project: exchange.Project, given: dict[str, Any]) -> AddModelForm:
        """The form as REST fills it: which of the three places is meant shows by what is given."""
        named = [place for place, (field, _) in cls.FIELDS.items() if given.get(field)]
        place = named[0] if len(named) == 1 else ""
        return cls({"place": place} | given, project=project)

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        place = data.get("place")
        if place not in self.FIELDS:
            return data
        field, missing = self.FIELDS[place]
        if not data.get(field, "").strip():
            self.add_error(field, missing)
            return data
        try:
            data["source"] = self._source(place)
        except start_model_check.Refused as error:
            self.add_error(field, str(error))
        return data

    def _source(self, place: str) -> start_model_check.Source:
        data = self.cleaned_data
        if place == HUB:
            return start_model_check.hub_source(data["hub"], data["revision"])
        if place == FOLDER:
            return start_model_check.folder_source(data["folder"])
        return start_model_check.server_source(data["url"], data["model"])

    def start(self) -> Run:
        """Queue the check of what was named.

        Raises:
            Refused, Known: as `start_model_check.start`.
        """
        data = self.cleaned_data
        return start_model_check.start(
            self.project,
            data["source"],
            make=start_model_check.place_of(self.project, data["make"]),
            kind=data["kind"],
            note=data["note"],
        )
