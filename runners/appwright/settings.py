"""What a queue's table says of the projects its AppWright jobs come from. Each such queue's settings inherit it."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hpcq_runners.command_params import Argument, Name


def _absolute(path: Path) -> Path:
    path = path.expanduser()
    if not path.is_absolute():
        raise ValueError("must be an absolute path on the server's machine")
    return path


Folder = Annotated[Path, AfterValidator(_absolute)]


class AppwrightSettings(BaseModel):
    """Where the projects are that jobs may name, and what an uploaded one may hold."""

    model_config = ConfigDict(extra="forbid")

    project_dir: Folder | None = Field(default=None, description="The project of jobs that name none")
    projects: dict[str, Folder] = Field(default_factory=dict, description="Further projects; a job names one by `cwd`")
    default_project: str | None = Field(
        default=None, description="The one of `projects` that takes the place of project_dir"
    )
    node: Folder | None = Field(default=None, description="The `node` to run; unset: that of the PATH, or of its wheel")
    node_modules: Folder | None = Field(
        default=None,
        description="For uploaded projects that bring none; unset: that of the project of jobs that name none",
    )
    npm_ci: bool = Field(
        default=False, description="Install what an uploaded project's package-lock.json names, once for each"
    )
    npm_scripts: bool = Field(default=False, description="Let npm_ci run the install scripts of dependencies")
    env: dict[Name, Argument] = Field(
        default_factory=dict, description="Variables for tests, such as ANDROID_HOME; those of a job go before them"
    )
    upload_mb: int = Field(default=1024, ge=1, description="An uploaded project may hold so much, unpacked")
    upload_files: int = Field(default=200_000, ge=1, description="An uploaded project may hold so many files")

    @model_validator(mode="after")
    def _default_is_known(self) -> "AppwrightSettings":
        if self.default_project is not None and self.project_dir is not None:
            raise ValueError("give project_dir or default_project, not both")
        if self.default_project is not None and self.default_project not in self.projects:
            known = ", ".join(sorted(self.projects)) or "none"
            raise ValueError(f"default_project {self.default_project!r} is not one of projects; there are: {known}")
        return self

    def usual_folder(self) -> Path | None:
        """The project of a job that names none."""
        return self.projects[self.default_project] if self.default_project else self.project_dir

    @property
    def shared_modules(self) -> Path | None:
        """The node_modules of uploaded projects that bring none."""
        usual = self.usual_folder()
        return self.node_modules or (usual / "node_modules" if usual else None)
