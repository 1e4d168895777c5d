"""Scopes of API tokens: what each allows, in words, and the calls that need another than usual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from annotate.models import TokenScope

MEANS = {
    TokenScope.READ: "every GET: data, figures, exports (without a version, one is frozen)",
    TokenScope.VOTE: "take pairs and vote on them, skip, undo, flag",
    TokenScope.WRITE: "import, create and change data, ask for exports",
    TokenScope.ADMIN: "start rounds, change their settings and schedule, add models, have "
    "completions written, have AI annotators vote; people, guidelines, webhooks",
}
View = TypeVar("View", bound=Callable[..., Any])


def needs_scope(scope: TokenScope) -> Callable[[View], View]:
    """Have the calls of a REST view that are no GET need `scope`, in the place of `write`.

    Stands above `api_view`. A view that is a class says the same by its attribute `token_scope`.
    """

    def mark(view: View) -> View:
        cast(Any, view).cls.token_scope = scope
        return view

    return mark


def over_projects(view: View) -> View:
    """Let a token that is limited to projects call a view that is about all of its owner's.

    Stands above `api_view`, over a view that leaves out what the token does not reach.
    """
    cast(Any, view).cls.over_projects = True
    return view


def scope_needed(method: str | None, view: object) -> TokenScope:
    """The scope that a call needs: `read` to look, else what its view says, `write` by default."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return TokenScope.READ
    return TokenScope(getattr(view, "token_scope", TokenScope.WRITE))
