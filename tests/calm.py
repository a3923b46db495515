"""Keep virtual time from running away from what takes real time."""

import asyncio


class Calm:
    """Holds virtual time back while threads begin and end."""

    def __init__(self) -> None:
        self._steps: asyncio.Task[None] | None = None

    def hold(self) -> None:
        """From now on time goes in steps so small that it hardly passes."""
        self._steps = asyncio.create_task(_step())

    def let_go(self) -> None:
        """Let time pass again."""
        if self._steps is not None:
            self._steps.cancel()


async def _step() -> None:
    while True:  # noqa: ASYNC110 - it is the sleeping that matters
        await asyncio.sleep(0.001)
