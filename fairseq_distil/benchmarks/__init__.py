"""Measuring: the training step, data, and inference, each alone and against others, in one run.

What is timed are the registered parts themselves, set up as fairseq sets them up.
"""
