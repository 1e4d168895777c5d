"""The audit log: what is recorded, the chain of hashes, and the erasure of a person.

May import: models, people.
"""
