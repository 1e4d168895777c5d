"""Input of the schedule: when rounds start by themselves, when they do not, and who is told."""

from __future__ import annotations

from datetime import MAXYEAR
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import available_timezones

from croniter import croniter
from django import forms
from django.conf import settings
from django.utils import timezone

from annotate import exchange
from training.models import LoopSchedule
from training.rounds.automatic_start import next_time

if TYPE_CHECKING:
    ScheduleModelForm = forms.ModelForm[LoopSchedule]
else:
    ScheduleModelForm = forms.ModelForm


class ScheduleForm(ScheduleModelForm):
    """Triggers of rounds that start by themselves, bounds, and who is told."""

    round_after = forms.IntegerField(
        label="After so many resolved pairs",
        min_value=0,
        max_value=1_000_000,
        help_text="Since the last round; 0 is never.",
    )
    round_schedule = forms.CharField(
        label="At times",
        required=False,
        max_length=60,
        help_text="A cron line; “0 3 * * *” is every night at three, “0 18 * * 5” Fridays at six. "
        "Only where pairs were resolved since the last round.",
    )
    zone = forms.ChoiceField(
        label="Time zone",
        required=False,
        choices=lambda: [("", f"The server's ({settings.TIME_ZONE})"), *_zones()],
    )

    field_order = ("round_after", "round_schedule", "zone", "stop_after")

    class Meta:
        model = LoopSchedule
        fields = (
            *("round_after", "round_schedule", "zone", "stop_after", "quiet_from", "quiet_until"),
            *("most_rounds", "most_hours", "mail_to"),
        )
        labels: ClassVar = {
            "quiet_from": "Quiet from",
            "quiet_until": "Quiet until",
            "most_rounds": "Most rounds in seven days",
            "most_hours": "Most training hours in seven days",
            "stop_after": "Pause after rounds without a gain",
            "mail_to": "Mail what happens to",
        }
        help_texts: ClassVar = {
            "quiet_from": "Between the two no round starts by itself; one that runs goes on.",
            "quiet_until": "The same day, or the next.",
            "most_rounds": "Those that people start count, too.",
            "most_hours": "A round that runs is not ended by it.",
            "stop_after": "Rounds in a row that promoted no policy.",
            "mail_to": "Failures, promotions, policies that wait, and pauses.",
        }
        widgets: ClassVar = {
            "quiet_from": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
            "quiet_until": forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
            "mail_to": forms.CheckboxSelectMultiple,
        }

    def __init__(
        self, data: Any = None, *, instance: LoopSchedule, project: exchange.Project
    ) -> None:
        triggers = {name: getattr(project, name) for name in ("round_after", "round_schedule")}
        super().__init__(data, instance=instance, initial=triggers)
        people = self.fields["mail_to"]
        assert isinstance(people, forms.ModelMultipleChoiceField)
        people.queryset = exchange.admins(project).exclude(email="")
        if not exchange.mail.configured():
            del self.fields["mail_to"]

    def clean_round_schedule(self) -> str:
        line: str = self.cleaned_data["round_schedule"].strip()
        if line and not croniter.is_valid(line):
            raise forms.ValidationError(
                "Not a cron expression. Every night at three is “0 3 * * *”."
            )
        if line and next_time(line, timezone.now()).year == MAXYEAR:
            raise forms.ValidationError("This time never comes.")
        return line

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        ends = [data.get("quiet_from"), data.get("quiet_until")]
        if ends.count(None) == 1:
            self.add_error("quiet_until", "Quiet hours have a beginning and an end.")
        elif ends[0] is not None and ends[0] == ends[1]:
            self.add_error("quiet_until", "They would never end.")
        return data


def _zones() -> list[tuple[str, str]]:
    """Places of the time zone database, without abbreviations and offsets."""
    return [(name, name) for name in sorted(available_timezones()) if "/" in name[:-1]]
