"""`hpcq serve`: run the server."""

import errno
import logging
import sys
from pathlib import Path

import click


@click.command()
@click.option("--host", help="Address to listen on (default 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (default 8000; 0 picks a free one).")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Where everything is kept.")
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file (default: ./hpcq.toml, and others).")
@click.option("--rehearse", is_flag=True, help="Run every queue on noop: no device, no command is touched.")
def serve(host: str | None, port: int | None, data_dir: Path | None, config: Path | None, rehearse: bool) -> None:
    """Take jobs over HTTP and run them, until SIGTERM or Ctrl-C."""
    from hpcq import config as settings_of
    from hpcq import server
    from hpcq.config import ConfigError
    from hpcq.store.errors import StoreError

    flags = {"server": {"host": host, "port": port, "data_dir": data_dir}}
    try:
        settings = settings_of.load(config, flags)
        logging.basicConfig(
            level=settings.server.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
        )
        logging.getLogger("asyncio").setLevel(logging.WARNING)
        sys.exit(server.serve(settings, rehearse=rehearse))
    except ConfigError as error:
        click.echo(f"hpcq: the configuration cannot be used:\n{error}", err=True)
        sys.exit(2)
    except StoreError as error:
        click.echo(f"hpcq: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        click.echo(f"hpcq: cannot serve: {_reason(error)}", err=True)
        sys.exit(1)


def _reason(error: OSError) -> str:
    """What failed, where, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"{error.strerror}; stop what listens there, or take another --port (0 picks a free one)"
    where = f"{error.filename}: " if error.filename else ""
    advice = "; --data-dir names another folder" if error.filename else ""
    return f"{where}{error.strerror or error}{advice}"
