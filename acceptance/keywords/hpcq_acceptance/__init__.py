"""Keywords that put jobs on a real hpcq server, and look closely at what comes of them."""

from robot.api.deco import library

from .checks import Checks
from .cli import CommandLine
from .jobs import Jobs
from .queues import Queues
from .serving import Serving
from .streams import Streams

__all__ = ["HpcqAcceptance"]


@library(scope="SUITE", auto_keywords=False)
class HpcqAcceptance(Serving, Jobs, Checks, Queues, Streams, CommandLine):
    """Puts jobs on a real hpcq server over HTTP, and looks closely at what comes of them.

    Each suite has its own instance: one server, on a free port, with a data folder, a home and a folder for temporary
    files of its own.

    | ***** Settings *****
    | Library           hpcq_acceptance
    | Suite Setup       Start Server
    | Suite Teardown    Stop Server And See That Nothing Is Left
    |
    | ***** Test Cases *****
    | A Product Is What Numpy Computes
    |     ${job} =    Submit Job    compute    operation=matmul    size=256    seed=7
    |     Job Should Succeed    ${job}
    |     Product Should Be What Numpy Computes    ${job}

    To use it elsewhere, give Robot Framework the folder: ``robot --pythonpath acceptance/keywords suites``. A suite
    that has a server already says `Use Server` instead of `Start Server`.

    A job goes by its id, which `Submit Job` returns. Keywords with a ``timeout`` look again and again until it is so.
    When the time is over they fail, with the last value that they saw and with the server's own explanation of the job.

    Fields of a job are named arguments. Those that every job has (``name``, ``priority``, ``tags``, ``retries``,
    ``timeout_s``, ``depends_on`` …) are the job's, all others are parameters of the queue's runner. Text that spells a
    number, a list or an object in JSON is taken as that: ``size=256``, ``retries={"max": 2}``; any other text is text.
    """
