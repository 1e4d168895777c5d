"""The REST API: calls, serializers, authentication, problem responses, reference page.

May import: models, votes, exporting, people, queue, quality, importing.
"""
