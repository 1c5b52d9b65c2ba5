"""Registered optimisers."""

from .fused_adamw import FusedAdamW, FusedAdamWConfig

__all__ = ["FusedAdamW", "FusedAdamWConfig"]
