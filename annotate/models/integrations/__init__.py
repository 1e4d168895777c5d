"""Tables for other programs: API tokens, webhooks with their deliveries, idempotency keys.

May import: annotate.models.project.
"""
