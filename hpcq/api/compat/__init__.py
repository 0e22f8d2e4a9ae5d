"""The fronts of four earlier systems, one file each: their clients' words, translated onto the one model of `/v1`.

No front keeps anything or has a rule of its own. None marks its jobs either: each shows every job that the caller may
see, in its own words; what a job lacks is null.
"""

from hpcq.api.compat import math, matrix, smart_queue, test_queue

ROUTES = (*matrix.ROUTES, *test_queue.ROUTES, *smart_queue.ROUTES, *math.ROUTES)
