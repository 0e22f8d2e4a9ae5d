"""What a runner keeps over restarts, in memory."""

import json
from typing import Any


class Kept:
    """`hpcq.plugin`'s State."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def get(self, key: str) -> Any:
        return self.values.get(key)

    async def put(self, key: str, value: Any) -> None:
        self.values[key] = json.loads(json.dumps(value))
