"""Decisions, and nothing else: synchronous, deterministic, standard library only; no clock, no IO, no logging."""
