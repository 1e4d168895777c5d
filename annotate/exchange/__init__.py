"""The only door to training: it asks for votes and prompts, hands back pairs, pushes figures.

May import: models, votes, exporting, people, queue, review, quality, overview, jobs,
sample.
"""

from __future__ import annotations

from annotate.audit.erasure import drop_old_addresses, person_erased
from annotate.audit.recording import record_command
from annotate.exchange.ai_votes import (
    add_ai_votes,
    count_to_judge,
    pairs_to_judge,
    shared_voted_pairs,
    surely_judged,
)
from annotate.exchange.annotator_doubts import set_head_doubts
from annotate.exchange.evaluation_pairs import (
    Comparisons,
    evaluation_open,
    evaluation_results,
    evaluation_undecided,
    has_evaluators,
    release_evaluators,
    retire_evaluation,
    set_evaluators,
)
from annotate.exchange.pair_and_vote_counts import (
    counts,
    counts_and_fresh,
    dataset_sizes,
    resolved_since,
    training_pairs,
)
from annotate.exchange.priorities_and_retirement import (
    WRITTEN_ELSEWHERE,
    ask_again,
    retire_untouched,
    set_priorities,
    tell_acquisition,
)
from annotate.exchange.project_lookup import (
    UnknownProject,
    admins,
    archived_refusal,
    installation_id,
    live_projects,
    lock,
    project,
    set_triggers,
)
from annotate.exchange.prompts_for_training import (
    has_both_kinds_of_prompts,
    has_completions,
    known_prompts,
    one_prompt,
    prompt_count,
    prompt_id,
    prompt_length,
    prompt_tags,
    prompts,
    reply_lengths,
    text_lengths,
)
from annotate.exchange.rows_for_training import open_pairs, preferences
from annotate.exchange.rows_from_training import (
    add_completions,
    add_pairs,
    add_prompts,
    publish_model_version,
)
from annotate.exchange.sample_project import ask_colleagues, create_sample_project, sample_corpus
from annotate.exchange.vote_watch import Seen, VoteWatch
from annotate.exchange.votes_for_ranking import (
    ArmVote,
    leased_pair_keys,
    may_be_asked_again,
    open_priorities,
    queue_depth,
    single_vote_count,
    single_votes,
    vote_coverage,
    votes_of_arms,
)
from annotate.exporting.freezing import freeze
from annotate.jobs.job_runner import run_job, tidy_jobs, waiting_jobs
from annotate.models import AiAnnotator, Project, TokenScope, WebhookEvent
from annotate.models.integrations.webhook import webhook_waiting
from annotate.models.job import job_waiting
from annotate.models.project import acquisitions_wanted, records_wanted
from annotate.monitoring.prometheus_page import database_registry
from annotate.overview.home_figures import (
    Figures,
    count_overview_if_due,
    keep_fresh_pairs,
    kept_fresh_pairs,
)
from annotate.overview.home_parts import HomePart, Step, home_wanted
from annotate.people.cached_annotator_figures import count_annotators_if_due
from annotate.people.http_requests import AuthenticatedHttpRequest, public_url
from annotate.people.joining import mail
from annotate.people.joining.openid_connect import identity_provider_problem
from annotate.people.permissions import project_or_404
from annotate.people.session_store import drop_expired_sessions
from annotate.people.token_scopes import needs_scope
from annotate.quality.reliability import refresh_labels, refresh_labels_if_due
from annotate.queue import release_expired
from annotate.review.pair_reasons import reasons_wanted
from annotate.votes.ai_agreement import AiFigures, ai_figures
from annotate.webhooks.delivery import (
    drop_old_deliveries,
    seconds_to_next_webhook,
    send_next_webhook,
)
from annotate.webhooks.outbox import tell_webhooks

__all__ = [
    "WRITTEN_ELSEWHERE",
    "AiAnnotator",
    "AiFigures",
    "ArmVote",
    "AuthenticatedHttpRequest",
    "Comparisons",
    "Figures",
    "HomePart",
    "Project",
    "Seen",
    "Step",
    "TokenScope",
    "UnknownProject",
    "VoteWatch",
    "WebhookEvent",
    "acquisitions_wanted",
    "add_ai_votes",
    "add_completions",
    "add_pairs",
    "add_prompts",
    "admins",
    "ai_figures",
    "archived_refusal",
    "ask_again",
    "ask_colleagues",
    "count_annotators_if_due",
    "count_overview_if_due",
    "count_to_judge",
    "counts",
    "counts_and_fresh",
    "create_sample_project",
    "database_registry",
    "dataset_sizes",
    "drop_expired_sessions",
    "drop_old_addresses",
    "drop_old_deliveries",
    "evaluation_open",
    "evaluation_results",
    "evaluation_undecided",
    "freeze",
    "has_both_kinds_of_prompts",
    "has_completions",
    "has_evaluators",
    "home_wanted",
    "identity_provider_problem",
    "installation_id",
    "job_waiting",
    "keep_fresh_pairs",
    "kept_fresh_pairs",
    "known_prompts",
    "leased_pair_keys",
    "live_projects",
    "lock",
    "mail",
    "may_be_asked_again",
    "needs_scope",
    "one_prompt",
    "open_pairs",
    "open_priorities",
    "pairs_to_judge",
    "person_erased",
    "preferences",
    "project",
    "project_or_404",
    "prompt_count",
    "prompt_id",
    "prompt_length",
    "prompt_tags",
    "prompts",
    "public_url",
    "publish_model_version",
    "queue_depth",
    "reasons_wanted",
    "record_command",
    "records_wanted",
    "refresh_labels",
    "refresh_labels_if_due",
    "release_evaluators",
    "release_expired",
    "reply_lengths",
    "resolved_since",
    "retire_evaluation",
    "retire_untouched",
    "run_job",
    "sample_corpus",
    "seconds_to_next_webhook",
    "send_next_webhook",
    "set_evaluators",
    "set_head_doubts",
    "set_priorities",
    "set_triggers",
    "shared_voted_pairs",
    "single_vote_count",
    "single_votes",
    "surely_judged",
    "tell_acquisition",
    "tell_webhooks",
    "text_lengths",
    "tidy_jobs",
    "training_pairs",
    "vote_coverage",
    "votes_of_arms",
    "waiting_jobs",
    "webhook_waiting",
]
