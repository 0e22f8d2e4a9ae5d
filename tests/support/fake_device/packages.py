"""The device's package manager: it takes or refuses builds as Android does. Packages outlive a reboot."""

import io
import json
import secrets
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from hpcq_runners.adb import apk
from tests.support.fake_device.apk import ABOUT


class Packages:
    """What is installed, in a file of the device's folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "packages.json"
        self.cleaned = False  # something was removed since the device was said to be full

    @property
    def installed(self) -> dict[str, dict[str, Any]]:
        return dict(json.loads(self._file.read_text())) if self._file.exists() else {}

    def _keep(self, installed: dict[str, dict[str, Any]]) -> None:
        self._file.write_text(json.dumps(installed))

    def wipe(self) -> None:
        self._file.unlink(missing_ok=True)

    def install(self, data: bytes, words: list[str], behaviour: dict[str, Any]) -> str:
        """What `pm install` says."""
        failure = self._refusal(data, words, behaviour)
        if failure:
            return f"Failure [{failure}]"
        about = _about(data)
        path = f"/data/app/~~{secrets.token_hex(8)}==/{about['package']}-{secrets.token_hex(8)}==/base.apk"
        self._keep({**self.installed, about["package"]: {**about, "path": path}})
        return "Success"

    def _refusal(self, data: bytes, words: list[str], behaviour: dict[str, Any]) -> str | None:
        if (refuses := behaviour.get("refuses")) and not (behaviour.get("until") == "uninstall" and self.cleaned):
            return str(refuses)
        if not zipfile.is_zipfile(io.BytesIO(data)):
            return "INSTALL_PARSE_FAILED_NOT_APK: Failed to parse base.apk"
        about = _about(data)
        if about["min_sdk"] > 34:
            return f"INSTALL_FAILED_OLDER_SDK: Requires newer sdk version #{about['min_sdk']}"
        if about["abis"] and behaviour.get("abi", "x86_64") not in about["abis"]:
            return "INSTALL_FAILED_NO_MATCHING_ABIS: Failed to extract native libraries, res=-113"
        there = self.installed.get(about["package"])
        if there is None:
            return None
        if there["signer"] != about["signer"]:
            what = f"Existing package {about['package']} signatures do not match newer version; ignoring!"
            return f"INSTALL_FAILED_UPDATE_INCOMPATIBLE: {what}"
        if there["version_code"] > about["version_code"] and "-d" not in words:
            return "INSTALL_FAILED_VERSION_DOWNGRADE: Downgrade detected"
        return None if "-r" in words else "INSTALL_FAILED_ALREADY_EXISTS"

    def dump(self, name: str) -> str:
        """What `dumpsys package` says."""
        there = self.installed.get(name)
        if there is None:
            return f"Unable to find package: {name}\n"
        code = there["version_code"]
        numbers = f"    versionCode={code} minSdk=21 targetSdk=34\n" if code else ""
        version = there.get("version", f"{code}.0")
        return f"Packages:\n  Package [{name}] (0):\n{numbers}    versionName={version}\n    User 0: installed=true\n"

    def uninstall(self, name: str) -> str:
        """What `pm uninstall` says."""
        installed = self.installed
        if installed.pop(name, None) is None:
            return "Failure [DELETE_FAILED_INTERNAL_ERROR]"
        self.cleaned = True
        self._keep(installed)
        return "Success"


def _about(data: bytes) -> dict[str, Any]:
    """Of a build of the tests, or of one of Appium's own."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if ABOUT in archive.namelist():
            return dict(json.loads(archive.read(ABOUT)))
    with tempfile.NamedTemporaryFile(suffix=".apk") as file:
        file.write(data)
        file.flush()
        said = apk.read(Path(file.name))
    fixed = {"version_code": 0, "signer": "other", "min_sdk": 21, "abis": []}
    return {"package": said.package, "version": said.version, **fixed}
