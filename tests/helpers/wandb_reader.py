"""Read an offline wandb run back: the LevelDB log format around wandb's own protocol buffers."""

import json
import struct
import time

from wandb.proto import wandb_internal_pb2

BLOCK, FILE_HEADER, HEADER = 32768, 7, struct.Struct("<IHB")


def records(path):
    """All records of a run-*.wandb file, in order."""
    data, position, parts = path.read_bytes(), FILE_HEADER, []
    while position + HEADER.size <= len(data):
        if BLOCK - position % BLOCK < HEADER.size:
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = HEADER.unpack_from(data, position)
        position += HEADER.size
        if position + length > len(data):  # still being written
            return
        parts.append(data[position : position + length])
        position += length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record


def _key(item):
    return item.key or ".".join(item.nested_key)


def offline_run(folder):
    """What `ended_run` finds in the only run below a folder."""
    (path,) = folder.rglob("run-*.wandb")
    return ended_run(path)


def ended_run(path, seconds=30):
    """What `read_run` finds, once wandb's own process has written the end of it."""
    until = time.monotonic() + seconds
    while (found := read_run(path))["exit"] is None and time.monotonic() < until:
        time.sleep(0.2)
    return found


def read_run(path):
    """What an offline run holds: rows, summary, configuration, artifacts, alerts, exit code."""
    found = {"history": [], "summary": {}, "config": {}, "metrics": {}, "exit": None, "run": None}
    found |= {"preempting": False, "artifacts": [], "alerts": []}
    for record in records(path):
        if record.HasField("history"):
            found["history"].append(
                {_key(i): json.loads(i.value_json) for i in record.history.item}
            )
        elif record.HasField("summary"):
            found["summary"] |= {_key(i): json.loads(i.value_json) for i in record.summary.update}
            for item in record.summary.remove:
                found["summary"].pop(_key(item), None)
        elif record.HasField("config"):
            found["config"] |= {_key(i): json.loads(i.value_json) for i in record.config.update}
        elif record.HasField("metric"):
            found["metrics"][record.metric.glob_name or record.metric.name] = (
                record.metric.step_metric
            )
        elif record.HasField("run"):
            found["run"] = record.run
            found["config"] |= {_key(i): json.loads(i.value_json) for i in record.run.config.update}
        elif record.HasField("artifact"):
            found["artifacts"].append(record.artifact)
        elif record.HasField("alert"):
            found["alerts"].append(record.alert)
        elif record.HasField("preempting"):
            found["preempting"] = True
        elif record.HasField("exit"):
            found["exit"] = record.exit.exit_code
    return found
