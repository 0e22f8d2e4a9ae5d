"""SQLite: one writer (WAL, synchronous=FULL, group commit), many readers."""
