# SPDX-License-Identifier: Apache-2.0
"""Clients that write as fast as they are answered, whatever happens to the servers, and remember what was acknowledged."""

import threading
import time

import h2c
import kv

CALL_SECONDS = 20  # longer than a server lets a write wait: every refusal is the server's
RETRY_SECONDS = 0.02
VALUE_BYTES = 64
SCAN_BYTES = 4 << 20


class Writers:
    """Threads, each with keys of its own under prefix: PREFIX/CLIENT/NUMBER; a key is written once."""

    def __init__(self, nodes, prefix, count=4, value_bytes=VALUE_BYTES):
        self.prefix = prefix
        self.acknowledged = {}  # key: (value, revision)
        self.failures = []  # of calls, in words
        self._nodes = nodes
        self._value_bytes = value_bytes
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(count)]

    def _run(self, client):
        channel, number, at = None, 0, client
        while not self._stop.is_set():
            key = self.prefix + f"{client}/{number:08}".encode()
            value = key.ljust(self._value_bytes, b".")
            number += 1
            try:
                channel = channel or self._nodes[at % len(self._nodes)].channel(CALL_SECONDS)
                revision = kv.put(channel, key, value)
            except (h2c.CallFailed, OSError) as error:
                self.failures.append(str(error))
                # The outcome is open: the key is left alone, and another server is asked for the next.
                if channel:
                    channel.close()
                channel, at = None, at + 1
                time.sleep(RETRY_SECONDS)
                continue
            with self._lock:
                self.acknowledged[key] = value, revision
        if channel:
            channel.close()

    def count(self):
        with self._lock:
            return len(self.acknowledged)

    def wait_for_more(self, more, seconds=60):
        """Until so many writes more are acknowledged."""
        target, deadline = self.count() + more, time.monotonic() + seconds
        while self.count() < target:
            assert time.monotonic() < deadline, f"{self.count()} writes acknowledged, {target} awaited for {seconds} s"
            time.sleep(0.005)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * CALL_SECONDS)
            assert not thread.is_alive(), "a client hangs"

    def check(self, nodes):
        """Every node has every acknowledged write, with its value and at its revision, and all have the same."""
        contents = []
        for node in nodes:
            with node.channel(CALL_SECONDS) as channel:
                found = kv.scan(channel, self.prefix, page=max(1, min(kv.PAGE, SCAN_BYTES // self._value_bytes)))
            missing = {key: what for key, what in self.acknowledged.items() if found.get(key) != what}
            assert not missing, f"{node.name} lost {len(missing)} of {len(self.acknowledged)} acknowledged writes: {list(missing.items())[:5]}"
            contents.append(found)
        assert all(found == contents[0] for found in contents), "members differ"
