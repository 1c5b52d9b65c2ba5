"""Checkpoints: writing them safely, and foreign formats."""
