"""Errors of the REST API: their status and what they say. The rest of an answer is the same for
all, and added by annotate.api.protocol.problem_details."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from psycopg_pool import PoolTimeout
from rest_framework import status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler

from annotate.queue import ChoiceConflict, Gone, OffScale, UnknownAssignment, UnknownCriterion

log = logging.getLogger(__name__)


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class TooLong(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE


class DatabaseAway(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The database is not available just now. Nothing was lost; please try again."


class Unknown(APIException):
    status_code = status.HTTP_404_NOT_FOUND


class HeldUp(APIException):
    """Something keeps new pairs from this person; `code` is what `queue.blocked_by` answers."""

    status_code = status.HTTP_403_FORBIDDEN
    WHY: ClassVar = {
        "paused": "Your labelling is paused: a reviewer looks at some of your votes first.",
        "guidelines": "Read and confirm the guidelines first, on the labelling page.",
        "qualification": "Pass the qualification first; the labelling page leads to it.",
    }

    def __init__(self, reason: str) -> None:
        super().__init__({"detail": self.WHY[reason], "code": reason})


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's handler, after the queue's refusals and an absent database are given their codes."""
    if isinstance(error, UnknownAssignment):
        error = Unknown(str(error))
    elif isinstance(error, ChoiceConflict | Gone):
        error = Conflict(str(error))
    elif isinstance(error, UnknownCriterion):
        error = ValidationError({"criteria": [str(error)]})
    elif isinstance(error, OffScale):
        error = ValidationError({field: [said] for field, said in error.problems.items()})
    elif isinstance(error, RequestDataTooBig):
        error = TooLong("The body is too long.")
    elif isinstance(error, OperationalError | InterfaceError | PoolTimeout):
        log.warning("database unavailable: %s", error)
        error = DatabaseAway()
    response = exception_handler(error, context)
    if response is not None and isinstance(error, DatabaseAway):
        response["Retry-After"] = "2"
    return response
