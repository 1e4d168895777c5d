"""Everything that the audit log records, by the name of its address.

A new address fails a test until it stands in `ACTIONS` or in `NOT_RECORDED`.
"""

from __future__ import annotations

from typing import NamedTuple

POST = frozenset({"POST", "PUT", "PATCH", "DELETE"})
READ = frozenset({"GET"})


class Action(NamedTuple):
    """Words that follow a person's name, the fields of the form that are kept, and the methods.

    No field that is kept holds a secret or free text. `redirects`: the page answers a wrong form
    with 200, so that only an answer that leads elsewhere says that something was done.
    """

    words: str
    fields: tuple[str, ...] = ()
    methods: frozenset[str] = POST
    redirects: bool = False


ACTIONS = {
    # Accounts, and how people come in. Signing in and out is recorded by Django's signals.
    "password": Action("changed their own password or address", redirects=True),
    "password-choose": Action("chose a new password by a link", redirects=True),
    "password-choose-made": Action("chose a new password by an admin's link", redirects=True),
    "second-factor": Action("changed their own second factor", ("do",)),
    "tokens": Action("made an API token", ("name", "scopes", "project", "days")),
    "token-revoke": Action("revoked an API token"),
    "token-end": Action("kept somebody's API token out"),
    "invite": Action("invited somebody", ("role", "places", "domain", "days")),
    "invite-several": Action("invited several people", ("role", "days")),
    "api-invitations": Action("invited people", ("role", "places", "domain")),
    "revoke": Action("withdrew an invitation"),
    "member": Action("changed a member", ("action", "role", "active", "daily_goal")),
    "announce": Action("announced something", ("role",)),
    "annotator-change": Action("changed an annotator's standing", ("action", "weight")),
    "payment": Action("downloaded the table of payments", methods=READ),
    "batches": Action("made a batch of pairs", ("name", "most")),
    "batch": Action("said whose a batch of pairs is", ("people", "only")),
    "batch-delete": Action("took a batch of pairs apart"),
    "api-batches": Action("made a batch of pairs", ("name", "most")),
    "api-batch": Action("changed a batch of pairs or took it apart", ("name", "people")),
    # The project.
    "project-new": Action("made a project", ("name", "slug"), redirects=True),
    "project-settings": Action("changed the settings", ("section",), redirects=True),
    "project-archive": Action("archived or reopened the project", ("archived",)),
    "checks": Action("changed the gold pairs"),
    "check": Action("switched a gold pair"),
    "webhooks": Action("made a webhook", ("events",), redirects=True),
    "webhook": Action("changed a webhook", ("events",), redirects=True),
    "webhook-test": Action("tried a webhook"),
    "webhook-rotate": Action("made a webhook's secret anew"),
    "webhook-delete": Action("removed a webhook"),
    "webhook-again": Action("sent a webhook's event again"),
    "api-webhooks": Action("made a webhook", ("events",)),
    "api-webhook-one": Action("changed or removed a webhook", ("events",)),
    "api-webhook-secret": Action("made a webhook's secret anew"),
    # Data in and out.
    "imports": Action("brought a file or a dataset", ("dataset", "path"), redirects=True),
    "import-columns": Action("said what columns are"),
    "import-start": Action("started an import"),
    "import-cancel": Action("cancelled an import"),
    "import-undo": Action("took an import back"),
    "import-report": Action("downloaded an import's report", methods=READ),
    "api-import": Action("imported rows"),
    "api-imports": Action("brought a file or a dataset", ("dataset", "path")),
    "api-import-one": Action("said what columns are"),
    "api-import-start": Action("started an import"),
    "api-import-cancel": Action("cancelled an import"),
    "api-import-undo": Action("took an import back"),
    "api-import-report": Action("downloaded an import's report", methods=READ),
    "export-start": Action("exported", ("format", "version", "compression")),
    "export-cancel": Action("cancelled an export"),
    "export-download": Action("downloaded an export", methods=READ),
    "api-export": Action("exported", ("format", "version"), methods=READ),
    "api-exports": Action("exported", ("format", "version")),
    "api-export-one": Action("removed an export"),
    "api-export-cancel": Action("cancelled an export"),
    "api-export-download": Action("downloaded an export", methods=READ),
    "api-versions": Action("froze a dataset version"),
    "api-prompts": Action("wrote prompts"),
    "api-prompt": Action("changed a prompt"),
    "api-completions": Action("wrote completions"),
    "api-completion": Action("changed a completion"),
    "api-pairs": Action("wrote pairs"),
    "api-pair": Action("changed a pair"),
    "api-votes": Action("wrote votes"),
    "api-guidelines": Action("changed the guidelines"),
    # Review.
    "decide": Action("decided a pair", ("choice",)),
    "decide-undo": Action("took a decision back"),
    "flags-settle": Action("settled flags"),
    "api-adjudications": Action("decided pairs", ("pair", "choice")),
    "api-adjudication": Action("took a decision back"),
    "api-flags": Action("settled flags"),
    # The loop.
    "ask-colleagues": Action("had simulated colleagues vote"),
    "round-start": Action("started a round", ("preset", "method")),
    "round-new": Action("started a round or saved its settings", ("preset",), redirects=True),
    "round-cancel": Action("cancelled a round"),
    "round-retry": Action("had a round tried again"),
    "schedule": Action("changed the schedule of rounds", redirects=True),
    "schedule-pause": Action("paused or resumed the schedule"),
    "api-rounds": Action("started a round"),
    "api-round-settings": Action("changed the settings of rounds"),
    "api-schedule": Action("changed the schedule of rounds"),
    "model-promote": Action("put a model into use"),
    "model-demote": Action("took a model out of use"),
    "model-retire": Action("retired a model"),
    "model-download": Action("downloaded a model", methods=READ),
    "model-push": Action("pushed a model to a hub", ("repository",)),
    "models-prune": Action("removed weights and checkpoints"),
    "model-add": Action("had a model checked", ("source", "folder", "hub_id"), redirects=True),
    "model-check-cancel": Action("cancelled a model's check"),
    "model-check-go-on": Action("had a model's check go on"),
    "model-check-remove": Action("forgot a model's check"),
    "api-models": Action("had a model checked"),
    "api-model-check": Action("forgot a model's check"),
    "api-model-check-cancel": Action("cancelled a model's check"),
    "api-model-check-retry": Action("had a model's check go on"),
    "write-completions": Action("prepared the writing of completions", redirects=True),
    "writing-start": Action("started the writing of completions"),
    "writing-cancel": Action("cancelled the writing of completions"),
    "writing-go-on": Action("had the writing of completions go on"),
    "api-completions-runs": Action("started the writing of completions"),
    "api-completions-cancel": Action("cancelled the writing of completions"),
    "api-completions-go-on": Action("had the writing of completions go on"),
    "ai-annotators": Action("added an AI annotator", ("name", "kind", "model"), redirects=True),
    "ai-annotator-start": Action("had an AI annotator vote", ("most",)),
    "ai-annotator-stop": Action("stopped an AI annotator"),
    "ai-annotator-bounds": Action(
        "changed an AI annotator's bounds", ("per_minute", "most_requests", "most_tokens")
    ),
    "ai-annotator-retire": Action("retired an AI annotator"),
    "api-ai-annotators": Action("added an AI annotator", ("name", "kind", "model")),
    "api-ai-annotator": Action(
        "changed an AI annotator", ("per_minute", "most_requests", "most_tokens", "retired")
    ),
    "api-ai-annotator-start": Action("had an AI annotator vote", ("pairs",)),
    "api-ai-annotator-stop": Action("stopped an AI annotator"),
    "compare-start": Action("started a comparison of models"),
    "compare-cancel": Action("cancelled a comparison of models"),
    "trial-queue": Action("queued replies of the playground as a pair"),
}
WRITTEN = {
    "sign-in": "signed in",
    "sign-out": "signed out",
    "sign-in-failed": "failed to sign in",
    "openid-connected": "connected their account with the identity provider's",
    "openid-disconnected": "disconnected their account from the identity provider's",
    "openid-code-asked": "came through the identity provider, and was asked for a code",
    "audit-download": "downloaded the audit log",
    "second-factor-off": "took somebody's second factor off",
    "erase-person": "erased a person",
    "command": "ran a command",
}
"""Actions that have no address of their own, by the name that entries have."""

NOT_RECORDED = {
    # A person's own work, which is a record itself: votes, skips and undo with their revisions.
    *("label", "vote", "skip", "renew", "undo", "key-list", "remark", "skip-reason", "flag"),
    *("my-votes", "my-vote", "my-rewrite", "me", "message-read", "guidelines-read"),
    *("qualification", "qualification-question"),
    *("api-next", "api-vote", "api-skip", "api-undo", "api-remark", "api-flag"),
    # Signing in and out, and joining, which signs in: recorded by signals.
    *("openid-begin", "openid-back", "openid-connect", "openid-disconnect"),
    *("login", "login-code", "logout", "enter", "invitation", "invitation-confirmed"),
    # A mail that was asked for may never be read; what follows it is recorded.
    "password-forgotten",
    # A question to a model changes nothing, nor does an estimate; an upload is recorded as a whole.
    *("playground", "trial", "trial-progress", "trial-stop", "api-round-estimate"),
    "settings-preview",
    *("api-uploads", "api-upload"),
    # Pages and calls that are read.
    *("livez", "readyz", "metrics", "operators", "home", "projects", "project-home", "guidelines"),
    *("data", "pair", "prompt", "quality", "quality-pairs", "leaderboard", "annotators"),
    *("annotator", "people", "adjudicate", "import", "import-progress", "export"),
    *("export-progress", "version", "rounds", "rounds-progress", "round", "round-progress"),
    *("ai-annotator", "ai-annotator-progress", "active-learning", "api-active"),
    *("round-curves", "models", "model", "model-check", "model-check-progress"),
    *("models-compare", "compare-progress", "compare-report", "writing-progress"),
    "writing-sizes",
    *("audit", "audit-download"),
    *("api-schema", "api-docs", "api-projects", "api-my-votes", "api-labels", "api-annotators"),
    *("api-annotator", "api-agreement", "api-version", "api-jobs", "api-completions-run"),
}


def words(action: str) -> str:
    """The words of an entry's action; of one that is no longer there, its name."""
    if action in ACTIONS:
        return ACTIONS[action].words
    return WRITTEN.get(action, action)
