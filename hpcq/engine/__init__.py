"""The asyncio shell: one inbox, one consumer, one commit a round, and only then the effects."""
