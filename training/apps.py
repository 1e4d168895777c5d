from __future__ import annotations

from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"
    verbose_name = "Training"

    def ready(self) -> None:
        # Models are there only now.
        from annotate import exchange
        from training.active.acquisition_titles import acquisition_choices
        from training.active.pair_reason import pair_reason
        from training.dashboard.home_part import home_part
        from training.monitoring.training_figures import TrainingFigures
        from training.rounds.erased_names import take_out_name
        from training.rounds.records_for_project_export import project_records
        from training.runs import task_queue

        exchange.database_registry.register(TrainingFigures())
        exchange.job_waiting.connect(task_queue.hand_job_to_worker, dispatch_uid="training")
        exchange.webhook_waiting.connect(
            task_queue.hand_webhooks_to_worker, dispatch_uid="training"
        )
        exchange.acquisitions_wanted.connect(acquisition_choices, dispatch_uid="training")
        exchange.records_wanted.connect(project_records, dispatch_uid="training")
        exchange.person_erased.connect(take_out_name, dispatch_uid="training")
        exchange.home_wanted.connect(home_part, dispatch_uid="training")
        exchange.reasons_wanted.connect(pair_reason, dispatch_uid="training")
