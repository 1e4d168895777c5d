"""The sample world: a support desk, its customers, a hidden rubric, simulated colleagues.

May import: models, queue (simulated_votes alone; the rest is free of Django).
"""

from __future__ import annotations
