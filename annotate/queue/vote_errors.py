"""Errors of votes. The messages are shown to annotators."""

from __future__ import annotations


class QueueError(Exception):
    """The request contradicts what is stored."""


class UnknownAssignment(QueueError):
    """There is no such assignment, or it is somebody else's."""

    def __init__(self) -> None:
        super().__init__("There is no such assignment of yours.")


class ChoiceConflict(QueueError):
    """The pair already has another vote of this person."""

    def __init__(self) -> None:
        super().__init__("You already voted differently on this pair. Undo that vote first.")


class Gone(QueueError):
    """The assignment is no longer in a state that allows this."""


class OffScale(QueueError, ValueError):
    """A choice or a strength for which the project's scale has no button."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = problems


class UnknownCriterion(QueueError, ValueError):
    """A criterion that the project does not have, or a comparison that is none."""
