"""Tables of the labelling side, one module per group that changes together.

May import: nothing of annotate.
"""

from __future__ import annotations

from annotate.models.ai_annotators.ai_annotator import AiAnnotator, AiVote
from annotate.models.assignment import Assignment, VoteRevision
from annotate.models.audit import AuditEntry, PersonKey
from annotate.models.content import Completion, Prompt, Rating
from annotate.models.dataset_version import DatasetVersion
from annotate.models.gold_and_qualification import Gold, QualificationAnswer
from annotate.models.integrations.api_token import ApiToken, TokenScope
from annotate.models.integrations.external_identity import ExternalIdentity
from annotate.models.integrations.idempotency_key import IdempotencyKey
from annotate.models.integrations.webhook import Webhook, WebhookDelivery
from annotate.models.integrations.webhook_events import WebhookEvent
from annotate.models.job import Export, Import, ImportChange, Job
from annotate.models.label import Label
from annotate.models.membership import (
    Batch,
    ConfirmedAddress,
    Installation,
    Invitation,
    Membership,
)
from annotate.models.pair import Pair
from annotate.models.project import Guideline, ModelNote, Overview, Project, Tally, TrainingRecord
from annotate.models.review import Adjudication, Flag, Message, Rewrite
from annotate.models.sign_in_attempt import Attempts

__all__ = [
    "Adjudication",
    "AiAnnotator",
    "AiVote",
    "ApiToken",
    "Assignment",
    "Attempts",
    "AuditEntry",
    "Batch",
    "Completion",
    "ConfirmedAddress",
    "DatasetVersion",
    "Export",
    "ExternalIdentity",
    "Flag",
    "Gold",
    "Guideline",
    "IdempotencyKey",
    "Import",
    "ImportChange",
    "Installation",
    "Invitation",
    "Job",
    "Label",
    "Membership",
    "Message",
    "ModelNote",
    "Overview",
    "Pair",
    "PersonKey",
    "Project",
    "Prompt",
    "QualificationAnswer",
    "Rating",
    "Rewrite",
    "Tally",
    "TokenScope",
    "TrainingRecord",
    "VoteRevision",
    "Webhook",
    "WebhookDelivery",
    "WebhookEvent",
]
