"""A build that the real aapt, aapt2 and apksigner take: with an activity to launch, and a signature."""

import os
import shutil
import struct
import subprocess
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.support.fake_device import apk

ACTIVITY = "MainActivity"
WANTED = ("aapt", "aapt2", "apksigner", "apksigner.jar")
INSTALL = "apt-get install aapt apksigner default-jre-headless"
ANDROID = "http://schemas.android.com/apk/res/android"
IDS = {"name": 0x01010003, "minSdkVersion": 0x0101020C, "versionCode": 0x0101021B, "versionName": 0x0101021C}
NONE = 0xFFFFFFFF
TEXT, NUMBER = 0x03000008, 0x10000008
PASSWORD = "android"

Element = tuple[str, dict[str, str | int], Sequence["Element"]]


def build_tools() -> Path:
    """The folder of Android's real build tools. Debian's are enough."""
    found = shutil.which("apksigner")
    folder = Path(os.path.realpath(found)).parent if found else None
    missing = [name for name in WANTED if folder is None or not (folder / name).exists()]
    assert not missing, f"{', '.join(missing)} of Android's build tools not found beside apksigner: `{INSTALL}`"
    assert folder is not None
    return folder


def java_home() -> Path:
    """Where Java is."""
    java = shutil.which("java")
    assert java is not None, f"no java in the PATH: `{INSTALL}`"
    return Path(os.path.realpath(java)).parents[1]


def make_signed_apk(path: Path, package: str = "com.example.app", *, version_code: int = 1) -> Path:
    """Write a build."""
    apk.make_apk(path, package, version_code=version_code)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["AndroidManifest.xml"] = _binary(_manifest(package, version_code))
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    words = ["sign", "--min-sdk-version", "21", "--ks", str(_keys(path.parent)), "--ks-pass", f"pass:{PASSWORD}"]
    _run([str(build_tools() / "apksigner"), *words, str(path)])
    return path


@cache
def _keys(folder: Path) -> Path:
    """A key of our own."""
    path = folder / "keys.p12"
    words = ["-genkeypair", "-alias", "ours", "-keyalg", "RSA", "-keysize", "2048", "-validity", "3650"]
    place = ["-keystore", str(path), "-storetype", "PKCS12", "-storepass", PASSWORD, "-dname", "CN=hpcq tests"]
    _run([str(java_home() / "bin" / "keytool"), *words, *place])
    return path


def _run(words: list[str]) -> None:
    env = {**os.environ, "JAVA_HOME": str(java_home())}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{words[0]}: {done.stdout}{done.stderr}"


def _manifest(package: str, version_code: int) -> Element:
    launcher: list[Element] = [
        ("action", {"android:name": "android.intent.action.MAIN"}, ()),
        ("category", {"android:name": "android.intent.category.LAUNCHER"}, ()),
    ]
    activity: Element = ("activity", {"android:name": f"{package}.{ACTIVITY}"}, [("intent-filter", {}, launcher)])
    inner: list[Element] = [("uses-sdk", {"android:minSdkVersion": 21}, ()), ("application", {}, [activity])]
    version: dict[str, str | int] = {"android:versionCode": version_code, "android:versionName": f"{version_code}.0"}
    return ("manifest", {"package": package, **version}, inner)


def _binary(root: Element) -> bytes:
    """Android's binary XML. Attributes of Android are known by numbers, which belong to the first of the strings."""
    strings = [*IDS, ANDROID, "android", *dict.fromkeys(_texts(root))]
    place = {text: number for number, text in reversed(list(enumerate(strings)))}
    ids = struct.pack(f"<HHI{len(IDS)}I", 0x0180, 8, 8 + 4 * len(IDS), *IDS.values())
    space = struct.pack("<II", place["android"], place[ANDROID])
    nodes = _node(0x0100, space) + _elements(root, place) + _node(0x0101, space)
    body = apk.string_pool(strings, utf8=False) + ids + nodes
    return struct.pack("<HHI", 0x0003, 8, 8 + len(body)) + body


def _texts(element: Element) -> list[str]:
    name, attributes, inner = element
    own = [key for key in attributes if ":" not in key] + [
        text for text in attributes.values() if isinstance(text, str)
    ]
    return [name, *own, *(text for one in inner for text in _texts(one))]


def _elements(element: Element, place: dict[str, int]) -> bytes:
    name, attributes, inner = element
    packed = []
    for key, value in attributes.items():
        space = place[ANDROID] if key.startswith("android:") else NONE
        text = place[value] if isinstance(value, str) else NONE
        kind, data = (TEXT, text) if isinstance(value, str) else (NUMBER, value)
        packed.append(struct.pack("<5I", space, place[key.removeprefix("android:")], text, kind, data))
    head = struct.pack("<II6H", NONE, place[name], 20, 20, len(packed), 0, 0, 0)
    end = _node(0x0103, struct.pack("<II", NONE, place[name]))
    return _node(0x0102, head + b"".join(packed)) + b"".join(_elements(one, place) for one in inner) + end


def _node(kind: int, body: bytes) -> bytes:
    return struct.pack("<HHIII", kind, 16, 16 + len(body), 1, NONE) + body
