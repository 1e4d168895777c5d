"""The pages of rounds, models, comparisons and the playground: functions that glue.

May import: every room but worker and setup, forms.
"""
