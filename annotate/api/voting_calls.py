"""The annotation calls: next, vote, skip, undo, remark, flag."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.decorators import api_view, throttle_classes
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotate import queue
from annotate.api.authentication import user_of
from annotate.api.exceptions import HeldUp
from annotate.api.rate_limits import VoteThrottle
from annotate.api.serializers import (
    ErrorBody,
    FlagBody,
    FlagRequest,
    HeldUpBody,
    NextRequest,
    PairBody,
    RemarkBody,
    RemarkRequest,
    SkipBody,
    SkipRequest,
    VoteBody,
    VoteRequest,
    pair_body,
)
from annotate.models import Assignment, TokenScope
from annotate.people.permissions import project_or_404
from annotate.people.token_scopes import needs_scope

RETRY_AFTER = "10"
BAD = OpenApiResponse(ErrorBody, description="A field or the body is wrong.")
FOREIGN = OpenApiResponse(ErrorBody, description="There is no such thing, or it is not yours.")
CONFLICT = OpenApiResponse(ErrorBody, description="Something else is stored; undo it first.")
FILL_NEXT = OpenApiParameter("next", bool, description="Put the next pair into the answer.")


@needs_scope(TokenScope.VOTE)
@extend_schema(
    operation_id="next",
    request=NextRequest,
    responses={
        200: PairBody,
        204: OpenApiResponse(description="Nothing now; ask again after Retry-After seconds."),
        400: BAD,
        403: OpenApiResponse(HeldUpBody, description="You are held up; `code` says by what."),
        404: FOREIGN,
    },
)
@api_view(["POST"])
def next_pair(request: Request, slug: str) -> Response:
    """Lease the best pair you have not had. A lease you hold is returned again."""
    project = project_or_404(request, slug)
    asked = _read(NextRequest, request)
    assignment = queue.next_pair(project, user_of(request), after=asked.get("after"))
    if assignment is None:
        if reason := queue.blocked_by(project, user_of(request)):
            raise HeldUp(reason)
        return Response(status=204, headers={"Retry-After": RETRY_AFTER})
    return Response(pair_body(assignment))


@needs_scope(TokenScope.VOTE)
@extend_schema(
    operation_id="vote",
    request=VoteRequest,
    parameters=[FILL_NEXT],
    responses={200: VoteBody, 400: BAD, 404: FOREIGN, 409: CONFLICT},
)
@api_view(["POST"])
@throttle_classes([VoteThrottle])
def vote(request: Request, token: UUID) -> Response:
    """Vote on a pair you lease. Repeating the same vote is safe and answers "replayed"."""
    submitted = _read(VoteRequest, request)
    wants_next = _wants_next(request)
    # One transaction for the vote and the next pair: one commit per human action.
    with queue.write():
        result = queue.vote_side(
            user_of(request), token, submitted.pop("choice"), on_scale=True, **submitted
        )
        following = _next(request, result.assignment, voted=True) if wants_next else None
    return Response({"status": result.status, "next": following})


@needs_scope(TokenScope.VOTE)
@extend_schema(
    operation_id="skip",
    request=SkipRequest,
    parameters=[FILL_NEXT],
    responses={200: SkipBody, 400: BAD, 404: FOREIGN, 409: CONFLICT},
)
@api_view(["POST"])
def skip(request: Request, token: UUID) -> Response:
    """Give a pair up for good; it is never offered to you again."""
    asked = _read(SkipRequest, request)
    wants_next = _wants_next(request)
    with queue.write():
        assignment = queue.skip(user_of(request), token, reason=asked["reason"])
        following = _next(request, assignment) if wants_next else None
    return Response({"status": "skipped", "next": following})


@needs_scope(TokenScope.VOTE)
@extend_schema(
    operation_id="undo",
    request=None,
    responses={200: PairBody, 404: FOREIGN, 409: CONFLICT},
)
@api_view(["POST"])
def undo(request: Request, token: UUID) -> Response:
    """Take your last vote or skip back; the pair is yours to vote on again."""
    _read(SkipRequest, request)
    assignment = queue.undo_token(user_of(request), token)
    return Response(pair_body(Assignment.objects.for_display().get(pk=assignment.pk)))


@needs_scope(TokenScope.VOTE)
@extend_schema(
    operation_id="remark",
    request=RemarkRequest,
    responses={200: RemarkBody, 400: BAD, 404: FOREIGN, 409: CONFLICT},
)
@api_view(["POST"])
def remark(request: Request, token: UUID) -> Response:
    """Add reasons, a comment or criteria to your vote. Repeating it is safe."""
    queue.remark(user_of(request), token, **_read(RemarkRequest, request))
    return Response({"status": "stored"})


@needs_scope(TokenScope.VOTE)
@extend_schema(
    operation_id="flag",
    request=FlagRequest,
    responses={200: FlagBody, 400: BAD, 404: FOREIGN},
)
@api_view(["POST"])
def flag(request: Request, token: UUID) -> Response:
    """Warn of a pair you were given: unsafe, personal data, or broken."""
    return Response(
        {"new": queue.flag(user_of(request), token, _read(FlagRequest, request)["kind"])}
    )


def _read(serializer: Any, request: Request) -> dict[str, Any]:
    checked = serializer(data=request.data)
    checked.is_valid(raise_exception=True)
    return dict(checked.validated_data)


def _wants_next(request: Request) -> bool:
    value = request.query_params.get("next", "0")
    if value not in ("0", "1", "true", "false"):
        raise ValidationError({"next": ["Must be 1 or 0."]})
    return value in ("1", "true")


def _next(
    request: Request, assignment: Assignment, *, voted: bool = False
) -> dict[str, Any] | None:
    following = queue.next_pair(assignment.pair.project, user_of(request), voted=voted)
    return pair_body(following) if following else None
