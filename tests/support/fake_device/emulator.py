"""A stand-in for the Android emulator's program: `-list-avds`, and `-avd NAME -port N [-wipe-data] [-read-only] …`.

AVDs lie in $ANDROID_AVD_HOME as the real ones do. A device lives in NAME.avd; its behaviour.json may also hold
`{"exit": "a sentence"}`: it ends at once, with this last word.
"""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

from tests.support.fake_device.daemon import run
from tests.support.fake_device.packages import Packages


def main(words: list[str]) -> int:
    """What the program does with these arguments."""
    home = Path(os.environ["ANDROID_AVD_HOME"])
    if "-list-avds" in words:
        print("\n".join(sorted(path.stem for path in home.glob("*.ini"))))
        return 0
    name, port = _after(words, "-avd"), int(_after(words, "-port"))
    folder = home / f"{name}.avd"
    with (folder / "log.ndjson").open("a") as file:
        file.write(json.dumps({"what": "boot", "words": words}) + "\n")
    behaviour = json.loads((folder / "behaviour.json").read_text())
    if behaviour.get("exit"):
        print(f"FATAL | {behaviour['exit']}")
        return 1
    lock = folder / "hardware-qemu.ini.lock"
    if "-read-only" in words:
        folder = folder / f"clone-{port}"
        folder.mkdir(exist_ok=True)
        (folder / "behaviour.json").write_text(json.dumps(behaviour))
    elif lock.exists():
        print(f"FATAL | Running multiple emulators with the same AVD is an experimental feature. {lock}")
        return 1
    else:
        lock.write_text(str(os.getpid()))
    if "-wipe-data" in words:
        Packages(folder).wipe()
        if behaviour.get("wipe_heals"):
            (folder / "behaviour.json").write_text(json.dumps({**behaviour, **behaviour["wipe_heals"]}))
    asyncio.run(_on(folder, port))
    lock.unlink(missing_ok=True)
    return 0


async def _on(folder: Path, port: int) -> None:
    running = asyncio.ensure_future(run(folder, port + 1, port))
    while not (folder / "port").exists() and not running.done():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    (folder / "port").unlink(missing_ok=True)
    await asyncio.to_thread(_announce, port + 1)
    await running


def _announce(port: int) -> None:
    """Tell the adb server, as the emulator does."""
    message = f"host:emulator:{port}".encode()
    at = ("127.0.0.1", int(os.environ["ANDROID_ADB_SERVER_PORT"]))
    with socket.create_connection(at, timeout=5) as server:
        server.sendall(f"{len(message):04x}".encode() + message)


def _after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
