"""Parts of every call of the API: problem details, idempotency keys, their part of the schema.

May import: models, queue, api.
"""
