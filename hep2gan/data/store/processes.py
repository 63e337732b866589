"""Worker processes: how many, and that none outlives the one that started it."""

import os
import sys
from multiprocessing import parent_process
from threading import Thread


def cores() -> int:
    """Processors this process may use: the affinity, which a cluster's scheduler sets."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    return len(os.sched_getaffinity(0))


def end_with_parent() -> None:
    """End this worker when its parent is killed; a pool's workers would wait for it forever."""
    Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
