"""The only door between labelling and training."""

from __future__ import annotations

from annotate.permissions import project_or_404

__all__ = ["project_or_404"]
