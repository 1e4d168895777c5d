"""Projects, the versions of their guidelines, and what training reports about its models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.dispatch import Signal
from django.urls import reverse

from annotate.models.roles import Role

if TYPE_CHECKING:
    from django.contrib.auth.models import User

records_wanted = Signal()
"""Sent with `project` when the whole of it leaves; whoever trains answers with the records of its
rounds, runs and model versions: (kind, name, record)."""
acquisitions_wanted = Signal()
"""Sent when somebody may choose a rule; whoever trains answers with (name, title) of each."""
LONGEST_LEASE = 7 * 24 * 3600
"""Seconds. Longer ones keep pairs from everybody else, and end beyond the calendar."""


def default_reasons() -> list[str]:
    return ["Accuracy", "Follows the request", "Clarity", "Safety", "Style"]


class ProjectQuerySet(models.QuerySet["Project"]):
    def for_user(self, user: User, role: str = "annotator") -> ProjectQuerySet:
        """Projects in which `user` has at least `role`; superusers have every role."""
        if user.is_superuser:
            return self
        return self.filter(
            memberships__user=user,
            memberships__active=True,
            memberships__role__in=Role.at_least(role),
        )


class Project(models.Model):
    """A question put to annotators about the completions of one policy."""

    class Votes(models.TextChoices):
        CONSENSUS = "consensus", "Consensus: two votes, a third when they disagree"
        SINGLE = "single", "Throughput: one vote, a sample of pairs with two"
        ADAPTIVE = "adaptive", "Adaptive: one vote, another where it teaches more than a new pair"
        EVALUATION = "evaluation", "Evaluation: first to three equal votes, five at most"

    ONE_VOTE = (Votes.SINGLE, Votes.ADAPTIVE)
    """Presets with one vote per pair, whose agreement is measured on a sample that gets two."""

    class Promotion(models.TextChoices):
        BOTH = "both", "By both: every gate passed, then people prefer it"
        PEOPLE = "people", "By people: they prefer it, whatever the gates say"
        AUTO = "auto", "By a model: every gate passed, and its judge is independent"
        HUMAN = "human", "An admin promotes by hand"

    slug = models.SlugField(unique=True, max_length=60)
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    guidelines = models.TextField(blank=True, help_text="Markdown, shown with the key g.")
    guideline_version = models.PositiveIntegerField(default=1)
    votes = models.CharField(max_length=12, choices=Votes.choices, default=Votes.CONSENSUS)
    # A name in annotate.votes.scales.SCALES; no choices here, so that a scale needs no migration.
    scale = models.CharField(max_length=20, default="seven")
    reason_chips: models.JSONField[list[str]] = models.JSONField(
        default=default_reasons,
        blank=True,
        help_text="Offered after a vote, one per line; nobody has to choose one.",
    )
    criteria: models.JSONField[list[str]] = models.JSONField(
        default=list,
        blank=True,
        help_text="Compared one by one beside the overall vote, one per line: helpful, harmless.",
    )
    criteria_required = models.BooleanField(
        default=False,
        help_text="The labelling screen takes a vote only once every criterion is compared.",
    )
    allow_rewrites = models.BooleanField(
        default=False, help_text="Annotators may write a better answer after a vote."
    )
    stop_when_certain = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.6), MaxValueValidator(0.999)],
        help_text="Resolve a pair as soon as its label is this probable, given how reliable its "
        "annotators are. Empty: by counting votes alone.",
    )
    gold_share = models.FloatField(
        default=0.05,
        validators=[MinValueValidator(0.0), MaxValueValidator(0.5)],
        help_text="Share of the pairs offered that are gold pairs, once there are any.",
    )
    retest_share = models.FloatField(
        default=0.0,
        validators=[MinValueValidator(0.0), MaxValueValidator(0.5)],
        help_text="Share of the pairs offered that a person had before, with the sides swapped.",
    )
    check_threshold = models.FloatField(
        default=0.6,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Share of gold pairs to get right. Below it people are warned.",
    )
    auto_pause = models.BooleanField(
        default=True,
        help_text="Pause people whose share of right gold answers is certainly below the "
        "threshold (upper end of the 95 % interval, after 20 gold pairs).",
    )
    require_rationale = models.BooleanField(
        default=False, help_text="Reviewers say why: a decision or a known answer has a reason."
    )
    read_guidelines = models.BooleanField(
        default=False, help_text="People confirm each version of the guidelines before they vote."
    )
    qualification = models.BooleanField(
        default=False, help_text="People pass the qualification before they vote."
    )
    qualification_share = models.FloatField(
        default=0.7,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Share of right answers that passes the qualification.",
    )
    overlap_share = models.FloatField(
        default=0.15,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="With one vote per pair: the share of pairs that get two, to measure agreement.",
    )
    random_share = models.FloatField(
        default=0.1,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Share of pairs offered in random order once the votes have ranked the others; "
        "all of them before that. Honest estimates come from these.",
    )
    evaluation_share = models.FloatField(
        default=0.5,
        db_default=0.5,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="Share of pairs offered that compare policies, while any of them wait for votes.",
    )
    acquisition = models.CharField(
        max_length=20,
        blank=True,
        default="",
        db_default="",
        help_text="The rule that ranks open pairs between rounds; empty: that of their round.",
    )
    ranked_by = models.CharField(
        max_length=20,
        blank=True,
        default="",
        db_default="",
        help_text="The acquisition that gave open pairs their priorities.",
    )
    lease_seconds = models.PositiveIntegerField(
        default=600,
        validators=[MinValueValidator(30), MaxValueValidator(LONGEST_LEASE)],
        help_text="How long a pair stays reserved for the person who looks at it.",
    )
    daily_goal = models.PositiveIntegerField(
        default=50,
        help_text="Votes a day that each person is shown as theirs; 0 is none.",
    )
    reading_wpm = models.PositiveSmallIntegerField(
        default=120,
        validators=[MinValueValidator(40), MaxValueValidator(400)],
        help_text="Words a minute of a slow reader. Time without a sign of a person counts as "
        "active for as long as the unread text in sight takes at this pace.",
    )
    reading_least = models.PositiveSmallIntegerField(
        default=60,
        validators=[MinValueValidator(10), MaxValueValidator(3600)],
        help_text="Seconds that count however short the text is.",
    )
    reading_most = models.PositiveSmallIntegerField(
        default=300,
        validators=[MinValueValidator(10), MaxValueValidator(3600)],
        help_text="Seconds that count for a pair at most.",
    )
    round_after = models.PositiveIntegerField(
        default=100,
        help_text="Start a round when this many pairs were resolved since the last; 0 is never.",
    )
    round_schedule = models.CharField(
        max_length=60, blank=True, help_text="Cron expression, for example 0 3 * * *."
    )
    promotion = models.CharField(max_length=8, choices=Promotion.choices, default=Promotion.BOTH)
    train_on_simulated = models.BooleanField(
        default=False, help_text="Sample project only: simulated votes enter training."
    )
    ai_votes_in_training = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Votes of AI annotators enter the training of the reward model, weighed by their "
        "measured agreement with people. They never teach its judge, and measure nothing.",
    )
    ai_votes_in_exports = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Votes of AI annotators may be exported, in a format of their own.",
    )
    import_mappings: models.JSONField[dict[str, dict[str, Any]]] = models.JSONField(
        default=dict,
        blank=True,
        help_text="How imported files were read: by a file's columns, field -> column.",
    )
    archived = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    # The role of the person looking, once annotate.people.permissions has checked it.
    role: str = ""

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(random_share__gte=0, random_share__lte=1),
                name="project_random_share_is_a_share",
            ),
            models.CheckConstraint(
                condition=models.Q(evaluation_share__gte=0, evaluation_share__lte=1),
                name="project_evaluation_share_is_a_share",
            ),
            models.CheckConstraint(
                condition=models.Q(overlap_share__gte=0, overlap_share__lte=1),
                name="project_overlap_share_is_a_share",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    reading_wpm__gt=0,
                    reading_least__gt=0,
                    reading_most__gte=models.F("reading_least"),
                ),
                name="project_reading_times_are_in_order",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("label", args=[self.slug])


class Guideline(models.Model):
    """One version of a project's guidelines, kept because votes refer to it."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="guideline_history")
    version = models.PositiveIntegerField()
    text = models.TextField(blank=True)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "version"], name="guideline_version_once"),
        ]


class ModelNote(models.Model):
    """State and metrics of a model version, pushed by training: labelling never asks training."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="model_notes")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=20)
    state = models.CharField(max_length=20)
    dataset_version = models.PositiveIntegerField(null=True)
    metrics: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="model_note_once"),
        ]


class TrainingRecord(models.Model):
    """A round, a run or a model version of the installation that the project came from.

    As its file told of it: the weights stayed there, so nothing here can be trained or tried.
    """

    class Kind(models.TextChoices):
        ROUND = "round", "Round"
        RUN = "run", "Run"
        MODEL = "model", "Model version"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="training_records")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    name = models.CharField(max_length=120)
    sha256 = models.CharField(max_length=64, help_text="Of the record.")
    record: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name

    @property
    def as_text(self) -> str:
        """The record to be read by people."""
        return json.dumps(self.record, ensure_ascii=False, indent=2)


class Tally(models.Model):
    """Figures of each annotator of a large project, and when they were counted.

    annotate.people.cached_annotator_figures writes them.
    """

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="+")
    figures: models.JSONField[list[dict[str, Any]]] = models.JSONField(default=list)
    counted_at = models.DateTimeField()


class Overview(models.Model):
    """Figures of a large project as its home shows them, and when they were counted.

    annotate.overview.home_figures writes them.
    """

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="+")
    figures: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    fresh_since = models.PositiveIntegerField(
        null=True,
        help_text="Dataset version that does not hold the fresh pairs.",
    )
    fresh_pairs = models.PositiveIntegerField(
        null=True, help_text="Resolved pairs that would teach the next round something new."
    )
    counted_at = models.DateTimeField()
