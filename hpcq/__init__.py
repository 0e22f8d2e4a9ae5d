"""A durable job queue for one box: one process, no broker, no container."""

__version__ = "0.1.0"
