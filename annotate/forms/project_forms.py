"""Input rules of the pages about a project itself: a new one, its settings, its guidelines."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import slugify

from annotate.gold.qualification import questions
from annotate.models import Pair, Project
from annotate.models.project import acquisitions_wanted
from annotate.votes import scales

if TYPE_CHECKING:
    ProjectModelForm = forms.ModelForm[Project]
else:
    ProjectModelForm = forms.ModelForm

MAX_GUIDELINES = 100_000
SLUG = r"^[a-z0-9]+(-[a-z0-9]+)*$"


class ProjectForm(ProjectModelForm):
    """Fields of a new project; everything else has a default that works."""

    slug = forms.RegexField(
        SLUG,
        max_length=60,
        required=False,
        label="Short name",
        help_text="Part of the project's address: lower-case letters, digits and hyphens. "
        "Left empty, it is made from the name. It cannot be changed later.",
        error_messages={
            "invalid": "Only lower-case letters, digits and hyphens between them, for example "
            "support-desk-2."
        },
    )

    class Meta:
        model = Project
        fields = ["name", "slug", "description", "guidelines"]
        widgets = {
            "description": forms.Textarea(attrs={"rows": 2}),
            "guidelines": forms.Textarea(attrs={"rows": 10}),
        }
        help_texts = {
            "guidelines": "What makes one answer better than another here. Markdown; "
            "annotators open it with the key g.",
        }

    def clean_name(self) -> str:
        return one_line(self.cleaned_data["name"])

    def clean_guidelines(self) -> str:
        return _short_enough(self.cleaned_data["guidelines"])

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not data.get("slug") and data.get("name"):
            data["slug"] = slugify(data["name"]).replace("_", "-")[:60].strip("-")
        slug = data.get("slug")
        if "slug" not in self.errors:
            if not slug:
                self.add_error("slug", "Give a short name of letters and digits.")
            elif slug == "new" or Project.objects.filter(slug=slug).exists():
                self.add_error("slug", f"“{slug}” is taken. Choose another short name.")
        return data


def one_line(text: str) -> str:
    """The text with every run of white space as one space: names stand in headings and mail."""
    return " ".join(text.split())


class LinesField(forms.CharField):
    """A list of short texts, one per line."""

    widget = forms.Textarea(attrs={"rows": 5})
    MOST, LONGEST = 12, 40

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = [" ".join(line.split()) for line in (value or "").splitlines()]
        return list(dict.fromkeys(line for line in lines if line))

    def validate(self, value: list[str]) -> None:
        if len(value) > self.MOST:
            raise ValidationError(f"At most {self.MOST} lines.")
        long = [line for line in value if len(line) > self.LONGEST]
        if long:
            raise ValidationError(f"“{long[0]}” is longer than {self.LONGEST} characters.")

    def run_validators(self, value: list[str]) -> None:
        """Validators of a single text do not apply to a list."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        lines: list[str] = self.to_python(data)
        return lines != (initial or [])


SETTINGS = {
    "About the project": ("name", "description", "guidelines", "read_guidelines"),
    "Voting": ("scale", "reason_chips", "criteria", "criteria_required", "allow_rewrites"),
    "Time": ("daily_goal", "reading_wpm", "reading_least", "reading_most"),
    "Qualification": ("qualification", "qualification_share"),
    "Gold pairs and retests": (
        "gold_share",
        "retest_share",
        "check_threshold",
        "auto_pause",
        "require_rationale",
    ),
    "Queue": (
        *("votes", "overlap_share", "stop_when_certain", "apply_to_open"),
        *("acquisition", "random_share", "evaluation_share", "lease_seconds"),
    ),
    "Rounds": ("promotion", "train_on_simulated"),
    "AI annotators": ("ai_votes_in_training", "ai_votes_in_exports"),
}
"""The fields of the settings page by its sections."""


class SettingsForm(ProjectModelForm):
    """Everything about a project that may change while people vote."""

    based_on = forms.IntegerField(widget=forms.HiddenInput)
    apply_to_open = forms.BooleanField(required=False, label="Apply this to open pairs")
    scale = forms.ChoiceField(choices=scales.titles, label="Scale")
    acquisition = forms.ChoiceField(
        required=False,
        label="Ask first",
        help_text="The rule that orders open pairs after every vote, and by which a round chooses "
        "those it adds unless its own settings name another. It is stored with each pair that is "
        "handed out by it.",
    )
    reason_chips = LinesField(
        required=False,
        label="Reasons",
        help_text="Offered after a vote, one per line; nobody has to choose one.",
    )
    criteria = LinesField(
        required=False,
        label="Criteria",
        help_text="Compared one by one before the overall vote, by the same keys; one per line, "
        "for example “Helpful” and “Harmless”. Empty: the overall vote alone.",
    )

    class Meta:
        model = Project
        fields = list(chain.from_iterable(SETTINGS.values()))
        help_texts = {
            "promotion": "People compare each new policy with the one before and with the "
            "starter, blind; a policy that they prefer less is taken back in every case. A "
            "judge model is independent where it learnt from other people’s votes than the "
            "reward model, which takes eight active annotators; else a model decides alone in "
            "the sample project only.",
            "votes": "For pairs added from now on, and if you say so below for open ones. With "
            "Throughput, another vote is asked where "
            "the first contradicts a reward model that was at least 90 % sure. "
            "Adaptive asks a second vote by the rules that compare what votes teach: with Margin "
            "and Random it asks one. "
            "Votes saved against pairs in random order with two votes and a third, for an equally "
            "good preference model, in simulated projects (mean of 7, 95 % interval): Throughput "
            "without an overlap 2.2 times fewer (1.9 to 2.5), Adaptive with 15 % of overlap 2.0 "
            "(1.6 to 2.5), Consensus 1.6 (1.4 to 1.9). "
            "Evaluation was not measured. Consensus gives labels that two people stand behind.",
            "overlap_share": "With Throughput and Adaptive, or where pairs stop early: the share "
            "of pairs with at least two, because agreement cannot be measured without.",
            "random_share": "Of the pairs offered, once votes have ranked the others; before that "
            "all are drawn at random. Half of it goes to pairs that measure: those of held-out "
            "prompts, and with one vote per pair those of the overlap, which are never chosen.",
            "evaluation_share": "Of the pairs offered, while pairs that compare a new policy with "
            "another wait: people’s verdict has to be there before the next round.",
            "stop_when_certain": "A pair is done as soon as its label is this probable (0.6 to "
            "0.999), given how reliable those are who voted; until then more people are asked, up "
            "to the most votes above. Somebody about whom nothing is known yet counts as right "
            "three times in four. Empty: votes are counted alone.",
            "criteria_required": "Otherwise people may vote without some of them. A vote that "
            "comes another way without them is kept, and marked as not asked.",
            "daily_goal": "Shown to each person as theirs; 0 shows none. The page of a person may "
            "name another one for them.",
            "reading_wpm": "Time without a key, touch or scroll counts as active for as long "
            "as the unread text in sight takes at this pace (40 to 400).",
            "reading_most": "After the last sign of a person, and for one pair in all.",
            "read_guidelines": "Everybody confirms each version of the guidelines before they are "
            "offered more pairs, and is shown what changed since the version they know.",
            "require_rationale": "With every decision in the adjudication and every known answer "
            "of a gold pair. Annotators are never made to.",
            "qualification": "Nobody is offered a pair before they passed, even if they voted "
            "before. The questions are the gold pairs that are marked for it on Quality → Gold "
            "pairs, with feedback after each answer.",
            "qualification_share": "Share of right answers that passes, from 0 to 1. Who fails "
            "needs an admin, who may allow another attempt on the person’s page.",
        }
        labels = {
            "criteria_required": "Every criterion is compared",
            "daily_goal": "Votes a day",
            "reading_wpm": "Words a minute of a slow reader",
            "reading_least": "Seconds that count at least",
            "reading_most": "Seconds that count at most",
            "read_guidelines": "Ask people to read the guidelines",
            "qualification": "Ask people to qualify",
            "qualification_share": "Share to get right",
            "allow_rewrites": "Better answers",
            "gold_share": "Gold share",
            "retest_share": "Retest share",
            "check_threshold": "Threshold on gold",
            "auto_pause": "Pause automatically",
            "require_rationale": "Reviewers give a reason",
            "votes": "Votes per pair",
            "stop_when_certain": "Stop when certain",
            "overlap_share": "Overlap",
            "random_share": "Random share",
            "evaluation_share": "Comparisons of policies",
            "lease_seconds": "Reservation, in seconds",
            "promotion": "Promotion of a new policy",
            "train_on_simulated": "Train on simulated votes",
            "ai_votes_in_training": "Train on votes of AI annotators",
            "ai_votes_in_exports": "Export votes of AI annotators",
        }
        widgets = {
            "description": forms.Textarea(attrs={"rows": 2}),
            "guidelines": forms.Textarea(attrs={"rows": 12}),
            "stop_when_certain": forms.NumberInput(attrs={"step": "any", "min": 0.6, "max": 0.999}),
            **{
                name: forms.NumberInput(attrs={"step": "any", "min": 0, "max": 1})
                for name in (
                    "overlap_share",
                    "random_share",
                    "evaluation_share",
                    "gold_share",
                    "retest_share",
                    "check_threshold",
                    "qualification_share",
                )
            },
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        version = self.initial["based_on"] = self.instance.guideline_version
        self.fields["guidelines"].help_text = (
            f"Markdown, shown with the key g. This is version {version}. Saving other guidelines "
            "makes a new version; every vote remembers the one its author saw."
        )
        rules = self.fields["acquisition"]
        assert isinstance(rules, forms.ChoiceField), "the field above"
        rules.choices = [("", "As rounds usually do"), *_acquisitions(self.instance)]
        self.fields["apply_to_open"].help_text = _open_pairs(self.instance)

    def sections(self) -> dict[str, list[forms.BoundField]]:
        """The fields as the page groups them, by the heading above them."""
        return {title: [self[name] for name in names] for title, names in SETTINGS.items()}

    def clean_guidelines(self) -> str:
        return _short_enough(self.cleaned_data["guidelines"])

    def clean_name(self) -> str:
        return one_line(self.cleaned_data["name"])

    def clean_qualification(self) -> bool:
        wanted: bool = self.cleaned_data["qualification"]
        new = "qualification" in self.changed_data
        if wanted and new and not questions(self.instance).exists():
            raise ValidationError(
                "There are no questions yet: first mark gold pairs on Quality → Gold pairs."
            )
        return wanted

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if (data.get("reading_most") or 0) < (data.get("reading_least") or 0):
            self.add_error("reading_most", "This is less than what counts at least.")
        stale = data.get("based_on") != self.initial["based_on"]
        if stale and "guidelines" in self.changed_data:
            self.add_error(
                "guidelines",
                "Somebody else saved other guidelines meanwhile. Open this page again "
                "in a second tab, take over what you need, and save there.",
            )
        return data


class ReadForm(forms.Form):
    """The version of the guidelines that somebody has read."""

    def __init__(self, data: Any, *, project: Project) -> None:
        super().__init__(data)
        newest = project.guideline_version
        self.fields["version"] = forms.IntegerField(min_value=1, max_value=newest)


def _acquisitions(project: Project) -> list[tuple[str, str]]:
    """The rules there are, and the one that is chosen though it is there no more."""
    answers: list[tuple[Any, Any]] = acquisitions_wanted.send(sender=Project)
    rules = [rule for _, answer in answers for rule in answer]
    gone = project.acquisition and project.acquisition not in dict(rules)
    return [*rules, *([(project.acquisition, project.acquisition)] if gone else [])]


def _open_pairs(project: Project) -> str:
    n = project.pairs.filter(state=Pair.State.OPEN, kind__in=Pair.TEACHING).count()
    are = "1 pair is" if n == 1 else f"{n:,} pairs are"
    return (
        f"{are} open. With this they ask for as many votes as new pairs do; who has one on the "
        "screen can still vote, and those that have the votes by then are done."
    )


def _short_enough(text: str) -> str:
    if len(text.encode()) > MAX_GUIDELINES:
        raise ValidationError("Guidelines may have 100 kB at most.")
    return text
