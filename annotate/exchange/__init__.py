"""The only door to training: it asks for votes and prompts, hands back pairs, pushes figures.

May import: models, votes, exporting, people, queue, review, quality, jobs, sample.
"""

from __future__ import annotations

from annotate.exchange.incoming import (
    add_completions,
    add_pairs,
    add_prompts,
    publish_model_version,
    retire_untouched,
    set_priorities,
)
from annotate.exchange.outgoing import (
    counts,
    dataset_sizes,
    evaluation_results,
    leased_pair_keys,
    one_prompt,
    open_pair_keys,
    open_pairs,
    preferences,
    prompt_id,
    prompts,
    queue_depth,
    resolved_since,
    votes_on,
)
from annotate.exchange.project_lookup import (
    UnknownProject,
    installation_id,
    live_projects,
    lock,
    project,
)
from annotate.exchange.sample_project import ask_colleagues, create_sample_project, sample_corpus
from annotate.exporting.freezing import freeze
from annotate.jobs.job_runner import run_job, tidy_jobs, waiting_jobs
from annotate.models import Project
from annotate.models.job import job_waiting
from annotate.models.project import records_wanted
from annotate.people.kept_figures import count_annotators_if_due
from annotate.people.permissions import project_or_404
from annotate.people.requests import AuthenticatedHttpRequest
from annotate.quality.reliability import refresh_labels, refresh_labels_if_due
from annotate.queue import release_expired

__all__ = [
    "AuthenticatedHttpRequest",
    "Project",
    "UnknownProject",
    "add_completions",
    "add_pairs",
    "add_prompts",
    "ask_colleagues",
    "count_annotators_if_due",
    "counts",
    "create_sample_project",
    "dataset_sizes",
    "evaluation_results",
    "freeze",
    "installation_id",
    "job_waiting",
    "leased_pair_keys",
    "live_projects",
    "lock",
    "one_prompt",
    "open_pair_keys",
    "open_pairs",
    "preferences",
    "project",
    "project_or_404",
    "prompt_id",
    "prompts",
    "publish_model_version",
    "queue_depth",
    "records_wanted",
    "refresh_labels",
    "refresh_labels_if_due",
    "release_expired",
    "resolved_since",
    "retire_untouched",
    "run_job",
    "sample_corpus",
    "set_priorities",
    "tidy_jobs",
    "votes_on",
    "waiting_jobs",
]
