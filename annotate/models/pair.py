"""Pairs, and the counts that decide their fate."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Abs, Cast
from django.db.models.lookups import Exact

from annotate.models.content import Completion, Prompt, share_of
from annotate.models.job import Import
from annotate.models.membership import Batch
from annotate.models.project import Project

# The votes for A, tie and B that two people cast, by the value of `Pair.fell`.
FALLS = ((2, 0, 0), (0, 2, 0), (0, 0, 2), (1, 1, 0), (0, 1, 1), (1, 0, 1))
_SAME = models.Q(first=models.F("second"))
FELL = models.Case(
    models.When(second="", then=None),
    models.When(_SAME & models.Q(first="a"), then=0),
    models.When(_SAME & models.Q(first="tie"), then=1),
    models.When(_SAME, then=2),
    models.When(~models.Q(first="b") & ~models.Q(second="b"), then=3),
    models.When(~models.Q(first="a") & ~models.Q(second="a"), then=4),
    default=5,
)


class PairQuerySet(models.QuerySet["Pair"]):
    def asked_about(self) -> PairQuerySet:
        """The pairs of a project as pages count them: those that people are, or were, asked for a
        label of. Gold pairs and retests check people, and retired pairs are out of the project."""
        return self.exclude(kind__in=Pair.OUTSIDE_LABELS).exclude(state=Pair.State.RETIRED)

    def for_a_batch(self) -> PairQuerySet:
        """The pairs that a new batch may take: they want votes, and no batch has them yet."""
        return self.asked_about().filter(state=Pair.State.OPEN, only_for=None, batch=None)


class Pair(models.Model):
    """Two completions of one prompt, and how many votes they still want.

    Of the `asked` slots, `open_slots` are held by nobody, one each by the standing votes
    (n_a + n_b + n_tie, surplus ones left out), the rest by leases. The CHECKs make collecting
    more votes than asked for impossible, whatever the code does.
    """

    class Kind(models.TextChoices):
        NORMAL = "normal", "Normal"
        OVERLAP = "overlap", "Overlap"
        EVALUATION = "evaluation", "Evaluation"
        GOLD = "gold", "Gold"
        RETEST = "retest", "Retest"

    OUTSIDE_LABELS = (Kind.GOLD, Kind.RETEST)
    """They measure annotators: no labels, no agreement, no preference rows."""

    TEACHING = (Kind.NORMAL, Kind.OVERLAP)
    """Their votes may enter training. Evaluation pairs measure policies, gold and retest pairs
    measure annotators; training on them would spoil the measurement."""

    UNLIMITED = 30_000
    """Slots of a gold pair: everybody may be asked, and a column of two bytes holds it."""

    ADAPTIVE = (1, 3, 1)
    """Votes wanted, at most, and equal ones that resolve a pair whose first vote does."""

    class State(models.TextChoices):
        OPEN = "open", "Open"
        RESOLVED = "resolved", "Resolved"
        ADJUDICATE = "adjudicate", "To adjudicate"
        RETIRED = "retired", "Retired"

    class Stream(models.TextChoices):
        """The arms that leases are drawn from."""

        RANDOM = "random", "Random"
        ACTIVE = "active", "Active"
        EVALUATION = "evaluation", "Evaluation"
        CHECK = "check", "Check"

    class Arms(models.TextChoices):
        """The arms that may lease a pair."""

        BOTH = "both", "Random and active"
        RANDOM = "random", "Random alone"
        ACTIVE = "active", "Active alone"
        EVALUATION = "evaluation", "Evaluation"
        CHECK = "check", "Check"

    # Without an index of its own: that of `pair_once` begins with it.
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, related_name="pairs", db_index=False
    )
    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="pairs")
    completion_a = models.ForeignKey(Completion, on_delete=models.PROTECT, related_name="+")
    completion_b = models.ForeignKey(Completion, on_delete=models.PROTECT, related_name="+")
    key = models.CharField(max_length=130, help_text="Natural key: makes adding idempotent.")
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.NORMAL)
    state = models.CharField(max_length=12, choices=State.choices, default=State.OPEN)
    arms = models.CharField(
        max_length=10,
        choices=Arms.choices,
        default=Arms.BOTH,
        db_default=Arms.BOTH,
        help_text="Who may lease it. Pairs of held-out prompts and overlap pairs are leased at "
        "random alone, because they measure; pairs that were chosen before they came are not.",
    )
    stream = models.CharField(
        max_length=10,
        choices=Stream.choices,
        blank=True,
        default="",
        db_default="",
        help_text="The arm of its first lease; before that active if it was chosen, else empty, as "
        "where its votes came in a file.",
    )
    source = models.CharField(max_length=40, default="import")
    # Who wrote the sides of an evaluation pair or an imported one. The completions cannot tell: a
    # text that several policies wrote is one completion, with the name of the first.
    policy_a = models.CharField(max_length=80, blank=True)
    policy_b = models.CharField(max_length=80, blank=True)
    policy = models.CharField(
        max_length=80, blank=True, help_text="The newest policy that wrote a side."
    )
    margin = models.FloatField(
        null=True, help_text="Logit of A over B by the newest reward model when it was queued."
    )
    source_margin = models.FloatField(
        null=True, help_text="How much better the winner is, on the scale of an imported source."
    )
    tags: models.JSONField[list[str]] = models.JSONField(default=list)
    metadata: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="Other columns of the source, as they were."
    )
    source_ids: models.JSONField[list[str]] = models.JSONField(
        default=list, help_text="Names of the pair in the files that it came from."
    )
    priority = models.FloatField(
        default=0.0, help_text="What a vote on it would teach; 0 where nothing has ranked it."
    )
    # Uniform order of the random arm, drawn once.
    shuffle = models.FloatField(default=0.0)
    open_slots = models.PositiveSmallIntegerField(default=2)
    asked = models.PositiveSmallIntegerField(default=2, help_text="Places there are just now.")
    # Indexed, because started pairs are completed before new ones of equal priority.
    started = models.GeneratedField(
        expression=models.Q(open_slots__lt=models.F("asked")),  # type: ignore[arg-type]  # The stubs do not know that a Q is one.
        output_field=models.BooleanField(),
        db_persist=True,
    )
    wanted = models.PositiveSmallIntegerField(default=2, help_text="Votes asked for at first.")
    limit = models.PositiveSmallIntegerField(default=3, help_text="Votes asked for at most.")
    agree = models.PositiveSmallIntegerField(
        default=2,
        help_text="Equal votes that resolve it; 0 where its votes were there before it: then the "
        "most of them do.",
    )
    n_a = models.PositiveSmallIntegerField(default=0)
    n_b = models.PositiveSmallIntegerField(default=0)
    n_tie = models.PositiveSmallIntegerField(default=0)
    # The first two standing votes, which agreement is measured on: their classes in the order
    # they were cast, who cast them, and whether one of them was simulated.
    first = models.CharField(max_length=3, blank=True)
    second = models.CharField(max_length=3, blank=True)
    first_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", db_index=False
    )
    second_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", db_index=False
    )
    firsts_simulated = models.BooleanField(default=False)
    # Agreement counts pairs by how these two votes fell: one small number instead of two words.
    fell = models.GeneratedField(
        expression=FELL, output_field=models.PositiveSmallIntegerField(null=True), db_persist=True
    )
    second_at = models.DateTimeField(null=True, help_text="When the second of them was cast.")
    last_vote_at = models.DateTimeField(null=True, help_text="When its newest vote was cast.")
    cast = models.PositiveIntegerField(default=0, help_text="Votes ever cast; numbers them.")
    left_balance = models.SmallIntegerField(
        default=0,
        help_text="Of the places held: A on the left minus B on the left. A retest starts at "
        "what its original showed, so that it shows the opposite.",
    )
    # Few pairs have these two; their indexes hold only those.
    retest_of = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, related_name="+", db_index=False
    )
    only_for = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        related_name="+",
        db_index=False,
    )
    batch = models.ForeignKey(
        Batch, on_delete=models.SET_NULL, null=True, related_name="pairs", db_index=False
    )
    created_at = models.DateTimeField(auto_now_add=True)
    resolved_at = models.DateTimeField(null=True)
    imported_by = models.ForeignKey(
        Import, on_delete=models.SET_NULL, null=True, related_name="pairs", db_index=False
    )

    objects = PairQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "key"], name="pair_once"),
            models.CheckConstraint(
                condition=models.Q(open_slots__gte=0), name="pair_never_over_collects"
            ),
            models.CheckConstraint(
                condition=models.Q(state="open") | models.Q(open_slots=0),
                name="only_open_pairs_have_places",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    asked__gte=models.F("open_slots")
                    + models.F("n_a")
                    + models.F("n_b")
                    + models.F("n_tie")
                ),
                name="pair_places_are_within_asked",
            ),
            models.CheckConstraint(
                # A table may hold votes on two equal texts. Nobody is asked about such a pair.
                condition=~models.Q(completion_a=models.F("completion_b"))
                | ~models.Q(state="open"),
                name="pair_compares_two_completions",
            ),
        ]
        indexes = [
            models.Index(
                fields=["project", "-priority", "-started", "id"],
                condition=models.Q(open_slots__gt=0, arms__in=["both", "active"]),
                name="pair_by_priority",
            ),
            models.Index(
                fields=["project", "arms", "shuffle", "id"],
                condition=models.Q(open_slots__gt=0),
                name="pair_by_shuffle",
            ),
            # How far the project is: counted from this index alone.
            models.Index(
                fields=["project", "state", "kind", "n_a", "n_b", "n_tie"], name="pair_by_state"
            ),
            # Where people contradict a reward model that was sure, the surest first.
            models.Index(
                "project",
                "state",
                Abs("margin").desc(),
                "id",
                condition=models.Q(margin__isnull=False),
                name="pair_by_sureness",
            ),
            # Few pairs compare policies; the leaderboard is read from them.
            models.Index(
                fields=["project", "prompt"],
                condition=models.Q(kind="evaluation"),
                name="evaluation_pairs",
            ),
            models.Index(
                fields=["imported_by"],
                condition=models.Q(imported_by__isnull=False),
                name="pairs_of_an_import",
            ),
            models.Index(
                fields=["retest_of"],
                condition=models.Q(retest_of__isnull=False),
                name="retests_of_a_pair",
            ),
            models.Index(
                fields=["only_for"],
                condition=models.Q(only_for__isnull=False),
                name="pairs_for_a_person",
            ),
            # The queue reads the open pairs of a person's batches from it, and pages count by it.
            models.Index(
                fields=["batch", "state", "stream"],
                condition=models.Q(batch__isnull=False),
                name="pairs_of_a_batch",
            ),
            # Most pairs have no tags of their own: the quality page finds those that do.
            models.Index(
                fields=["project"],
                condition=~models.Q(Exact(Cast("tags", models.TextField()), models.Value("[]"))),
                name="pairs_with_tags",
            ),
            # The quality page is read from this index alone; a pair enters it with its second vote.
            models.Index(
                fields=[
                    "project",
                    "prompt",
                    "stream",
                    "kind",
                    "fell",
                    "firsts_simulated",
                    "margin",
                    "second_at",
                    "n_a",
                    "n_tie",
                    "n_b",
                    "last_vote_at",
                ],
                condition=models.Q(fell__isnull=False),
                name="pair_first_two_votes",
            ),
        ]

    def __str__(self) -> str:
        return f"pair {self.pk}"

    @staticmethod
    def quota(
        project: Project, kind: str, *, key: str, held_out: bool = False, chosen: bool = False
    ) -> dict[str, Any]:
        """Columns of a new pair that say how many votes it wants, by the project's preset, and
        who may lease it.

        Args:
            held_out: its prompt is, so that the pair measures.
            chosen: by an acquisition or by hand, out of more than the queue holds.
        """
        certain = project.stop_when_certain is not None
        thin = certain or project.votes in Project.ONE_VOTE
        sampled = thin and not chosen and kind == Pair.Kind.NORMAL
        if sampled and share_of(f"overlap:{key}") < project.overlap_share:
            # Agreement and reliabilities could not be measured without two votes on some.
            kind = Pair.Kind.OVERLAP
        if kind == Pair.Kind.EVALUATION:
            # Of equally many votes those on as many prompts as possible tell most of a win rate.
            wanted, limit, agree = 1, 1, 1
        elif kind == Pair.Kind.GOLD:
            wanted = limit = agree = Pair.UNLIMITED
        elif kind == Pair.Kind.RETEST:
            wanted, limit, agree = 1, 1, 1
        elif project.votes == Project.Votes.EVALUATION:
            wanted, limit, agree = 3, 5, 3
        elif project.votes == Project.Votes.CONSENSUS or kind == Pair.Kind.OVERLAP:
            wanted, limit, agree = 2, 3, 2
        elif project.votes == Project.Votes.ADAPTIVE:
            # The first vote resolves it; what ranks pairs may ask again (queue.second_votes).
            wanted, limit, agree = Pair.ADAPTIVE
        else:
            wanted, limit, agree = 1, 1, 1
        if certain and kind == Pair.Kind.NORMAL:
            wanted = 1  # one after the other: each may be the last
        return {
            "kind": kind,
            "arms": Pair.arms_of(kind, held_out=held_out, chosen=chosen),
            "wanted": wanted,
            "limit": limit,
            "agree": agree,
            "open_slots": wanted,
            "asked": wanted,
            "shuffle": Pair.place_in_order(key),
        }

    @staticmethod
    def arms_of(kind: str, *, held_out: bool = False, chosen: bool = False) -> str:
        """The arms that may lease a pair of this kind: a value of `Arms`."""
        if kind in Pair.OUTSIDE_LABELS:
            return Pair.Arms.CHECK
        if kind == Pair.Kind.EVALUATION:
            return Pair.Arms.EVALUATION
        if chosen:
            # No draw makes it unchosen: at random it would stand for pairs that nobody chose.
            return Pair.Arms.ACTIVE
        measures = held_out or kind == Pair.Kind.OVERLAP
        return Pair.Arms.RANDOM if measures else Pair.Arms.BOTH

    @staticmethod
    def place_in_order(key: str) -> float:
        """The place of the pair of this key in the random order, from 0 to 1."""
        return share_of(f"order:{key}")

    @property
    def votes(self) -> int:
        return self.n_a + self.n_b + self.n_tie

    @property
    def of_one_text(self) -> bool:
        """True where two models wrote the same: votes to count, but nothing to ask or to teach."""
        return self.completion_a_id == self.completion_b_id
