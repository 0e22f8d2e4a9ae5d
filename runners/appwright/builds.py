"""The build under test: a file with the ending that AppWright wants, or an address."""

import zipfile
from pathlib import Path

from hpcq.plugin import Rejected, Request
from hpcq_runners.appwright.params import URLS, AppwrightParams
from hpcq_runners.fields import Blob


def build_of(request: Request, folder: Path) -> str | None:
    """The build that the params name: an absolute file, or an address; None: the project's config says.

    A relative file lies in the project's `folder`. An upload gets a link with its ending in the attempt's folder. An
    `app_version_id` that nobody uploaded a build under is a label. Raises Rejected.
    """
    params: AppwrightParams = request.params
    if isinstance(params.app, str):
        if params.app.startswith(URLS):
            return params.app
        path = folder / params.app
        if not path.exists():
            raise Rejected(f"app {params.app} is not there: no such file on the server's machine ({path})")
        return str(_filled(path, params.app))
    upload = upload_of(request)
    return str(_linked(_filled(upload, "the uploaded build"), request.work_dir)) if upload else None


def _filled(build: Path, called: str) -> Path:
    if build.is_file() and build.stat().st_size == 0:
        raise Rejected(f"app: {called} is empty: build it anew")
    return build


def upload_of(request: Request) -> Path | None:
    """The uploaded build that a job's `app` or `app_version_id` names; None: there is no such name, or it is a label.
    Raises Rejected."""
    params = request.params
    name = params.app.blob if isinstance(params.app, Blob) else params.app_version_id
    if name is None:
        return None
    try:
        return request.blob(name)
    except FileNotFoundError as missing:
        if isinstance(params.app, Blob) or missing.filename:  # the name of a file: it was uploaded, and is gone
            raise Rejected(f"the uploaded build {name} is not there any more; upload it again") from None
        return None


def _linked(upload: Path, work_dir: Path) -> Path:
    link = work_dir / f"build{_ending(upload)}"
    fresh = link.with_name(f"{link.name}.fresh")
    fresh.symlink_to(upload)
    return fresh.replace(link)


def _ending(upload: Path) -> str:
    """Both kinds are zip files; only Apple's hold a folder `Payload`."""
    try:
        with zipfile.ZipFile(upload) as archive:
            return ".ipa" if any(name.startswith("Payload/") for name in archive.namelist()) else ".apk"
    except (OSError, zipfile.BadZipFile):
        return ".apk"
