"""The two ways in which a runner says that an attempt cannot go on, other than by its outcome."""


class RunnerError(Exception):
    """The attempt cannot go on."""


class Rejected(RunnerError):
    """The job asks for more than is allowed; it is failed `rejected` and never tried again."""


class Infra(RunnerError):
    """A device, farm or worker broke: not the job's fault, and not charged to its retries.

    `retry_after_s`, from `split`: whoever submits is asked to try again after so long.
    """

    def __init__(self, message: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
