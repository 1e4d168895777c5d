"""The sample world: a support desk, its customers, a hidden rubric and simulated colleagues.

Pure Python, no Django and no torch: the web side, the starter's training and the benchmarks all
read it.
"""

from __future__ import annotations
