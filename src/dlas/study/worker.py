"""A process that makes nodes: jobs come as JSON lines on stdin, events go as JSON lines to stdout.

Libraries print as they like, so the pipe is moved to a descriptor of its own first. A member that
fails, in whatever way, ends as an outcome: this is the one place that catches everything.
"""

from __future__ import annotations

import errno
import os
import time
import traceback
from typing import Any

import msgspec

from dlas.errors import DlasError, OverBudget, Refused
from dlas.target.processes import die_with_parent


def main() -> None:
    die_with_parent()
    events = os.fdopen(os.dup(1), "w", buffering=1)
    jobs = os.fdopen(os.dup(0))
    os.dup2(2, 1)  # whatever prints goes to stderr
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)  # whatever asks for input gets none
    from dlas.study.stages import Job  # after the descriptors: imports may print

    for line in jobs:
        job = msgspec.json.decode(line, type=Job)

        def send(event: dict[str, Any]) -> None:
            print(msgspec.json.encode(event).decode(), file=events)

        def progress(fraction: float, text: str, send: Any = send) -> None:
            send({"progress": fraction, "text": text})

        started = time.perf_counter()
        event = run(job, progress)
        send({**event, "seconds": time.perf_counter() - started})


def run(job: Any, progress: Any) -> dict[str, Any]:
    """The job's outcome as an event."""
    from dlas.study.stages import make

    try:
        outcome = make(job, progress)
    except Refused as refusal:
        return {"status": "refused", "message": str(refusal)}
    except OverBudget as late:
        return {"status": "timed_out", "message": str(late)}
    except MemoryError:
        return {"status": "out_of_memory", "message": "out of memory"}
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {"status": "disk_full", "message": f"no space left for {job.folder}"}
        return _failed(error)
    except DlasError as error:
        return {"status": "failed", "message": str(error)}
    except Exception as error:  # noqa: BLE001  # third-party members may raise anything
        return _failed(error)
    return {
        "status": outcome.status,
        "message": "",
        "metrics": dict(outcome.metrics),
        "facts": dict(outcome.facts),
    }


def _failed(error: Exception) -> dict[str, Any]:
    """One line for the row; the trace goes to the log."""
    traceback.print_exc()
    lines = str(error).strip().splitlines()
    first = lines[0] if lines else "no message"
    return {"status": "failed", "message": f"{type(error).__name__}: {first[:300]}"}


if __name__ == "__main__":
    main()
