"""What a queue of devices remembers over restarts: never at the price of a job or a device."""

from hpcq.plugin import JSON, Context


async def keep(context: Context, key: str, value: JSON) -> None:
    """Remember it, if that can be: on a full disk it is lost at the next restart, and known until then."""
    try:
        await context.state.put(key, value)
    except Exception as error:
        context.log.warning("queue %s: %r is not kept over a restart: %r", context.queue, key, error)
