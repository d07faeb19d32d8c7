# SPDX-License-Identifier: Apache-2.0
"""Load on one server with h2load: the same request, on so many connections with so many streams each, for so many seconds."""

import pathlib
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

from report import percentile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))
import h2c  # noqa: E402

VALUE = b"x" * 256
KEY = b"bench/read"
PUT = "/etcdserverpb.KV/Put"
RANGE = "/etcdserverpb.KV/Range"
TXN = "/etcdserverpb.KV/Txn"

SERIALIZABLE = 7  # field of RangeRequest
# operation -> (method, message)
OPERATIONS = {
    "serializable": (RANGE, h2c.field(1, KEY) + h2c.field(SERIALIZABLE, 1)),
    "linearizable": (RANGE, h2c.field(1, KEY)),
    "put": (PUT, h2c.field(1, b"bench/write") + h2c.field(2, VALUE)),
}
LOAD_BATCH = 100  # puts a transaction


class Sample(NamedTuple):
    requests: int
    per_second: float
    p50_us: float
    p99_us: float
    failed: int


def available():
    return shutil.which("h2load") is not None


def prepare(node):
    """The key that reads read."""
    node.call(PUT, h2c.field(1, KEY) + h2c.field(2, VALUE))


def run(node, operation, connections, streams, seconds, directory):
    method, message = OPERATIONS[operation]
    body, log = pathlib.Path(directory, "body"), pathlib.Path(directory, "h2load.log")
    body.write_bytes(h2c.grpc_frame(message))
    log.unlink(missing_ok=True)
    command = [
        *("h2load", "-t", "1", "-c", str(connections), "-m", str(streams), "-D", str(seconds)),
        *("-d", str(body), "--log-file", str(log), "-H", "content-type: application/grpc", "-H", "te: trailers"),
        node.client_url + method,
    ]
    answer_bytes = len(node.call(method, message)) + 5  # before the load: revisions grow, and answers with them
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise SystemExit(f"h2load failed: {done.stderr or done.stdout}")
    sample = read_log(log, seconds)
    data_bytes = int(re.search(r"\((\d+)\) data", done.stdout)[1])
    return sample._replace(failed=sample.failed + max(0, sample.requests * 99 // 100 - data_bytes // answer_bytes))


def read_log(log, seconds):
    """A line a request: start, HTTP status, microseconds. A gRPC error has HTTP status 200 too, but brings no data: run() looks
    whether there was enough of it, to a hundredth."""
    micros, failed = [], 0
    with open(log) as lines:
        for line in lines:
            columns = line.split()
            if len(columns) < 3:
                continue
            failed += columns[1] != "200"
            micros.append(int(columns[2]))
    micros.sort()
    return Sample(len(micros), len(micros) / seconds, percentile(micros, 0.5), percentile(micros, 0.99), failed)


def fill(node, keys):
    """keys of 256-byte values, in transactions."""
    with h2c.Channel("127.0.0.1", node.client_port, 60) as channel:
        for start in range(0, keys, LOAD_BATCH):
            batch = range(start, min(start + LOAD_BATCH, keys))
            puts = (h2c.field(1, f"bench/fill/{i:010d}") + h2c.field(2, VALUE) for i in batch)
            channel.call(TXN, b"".join(h2c.field(2, h2c.field(2, put)) for put in puts))
