"""Webhooks: the outbox that events are written to, the checks of addresses, sending and retries.

May import: models.
"""
