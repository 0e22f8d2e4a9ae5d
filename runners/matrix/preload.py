"""Imported by the forkserver, and by nothing else: what every worker is to find ready.

The forkserver must die with the server, or its workers would stay: PR_SET_PDEATHSIG says so to the kernel. It follows
the thread that started the forkserver, which is therefore the main one (`forkserver.start`).
"""

import os
import signal
from multiprocessing import spawn

from hpcq_runners.matrix.parent import die_with_parent

die_with_parent()
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a TERM to the whole group is for the server, which drains its workers
for _name in [name for name in os.environ if name.startswith("HPCQ_")]:
    del os.environ[_name]  # the server's own settings are none of a kernel's business
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # no threads in a process that forks; each worker raises it to its job's cpus

# Workers need nothing of the main script, and multiprocessing would run it once more in each of them.
for _name in ("_fixup_main_from_path", "_fixup_main_from_name"):
    setattr(spawn, _name, lambda _main: None)

import hpcq_runners.matrix.worker  # noqa: E402, F401
