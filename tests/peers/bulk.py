# SPDX-License-Identifier: Apache-2.0
"""Many keys, quickly: transactions of puts over several connections."""

import itertools
import threading

import h2c

TXN = "/etcdserverpb.KV/Txn"
OPS_A_TXN = 100


def put_op(key, value):
    """A RequestOp with a PutRequest."""
    return h2c.field(2, h2c.field(2, h2c.field(1, key) + h2c.field(2, value)))


def load(node, pairs, connections=4):
    """Write all (key, value) of the iterable; the order is anybody's."""
    source, lock, failed = iter(pairs), threading.Lock(), []

    def take():
        with lock:
            return list(itertools.islice(source, OPS_A_TXN))

    def run():
        try:
            with node.channel(60) as channel:
                while batch := take():
                    channel.call(TXN, b"".join(put_op(key, value) for key, value in batch))
        except h2c.CallFailed as error:
            failed.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
