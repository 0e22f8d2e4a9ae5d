"""A server in miniature, to be killed: opens a launcher, starts the command in $COMMAND below it, and stays."""

import asyncio
import os
import sys

from hpcq.engine.launcher import Launcher


async def main(folder: str) -> None:
    launcher = await Launcher.open()
    command = os.environ["COMMAND"]
    env = {"PATH": os.environ["PATH"]}
    child = await launcher.spawn(["/bin/sh", "-c", command], env=env, cwd=folder, output=f"{folder}/output")
    print(launcher.pid, flush=True)
    await child.wait()
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1]))
