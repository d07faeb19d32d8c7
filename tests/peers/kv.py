# SPDX-License-Identifier: Apache-2.0
"""etcd's KV service in a few words, over a Channel: what tests ask all the time. Errors are h2c.CallFailed."""

import h2c

PUT = "/etcdserverpb.KV/Put"
DELETE = "/etcdserverpb.KV/DeleteRange"
RANGE = "/etcdserverpb.KV/Range"
STATUS = "/etcdserverpb.Maintenance/Status"
HASH_KV = "/etcdserverpb.Maintenance/HashKV"
PAGE = 2000


def revision_of(response):
    """The revision in the header of any parsed response."""
    return h2c.parse(response[1][0]).get(3, [0])[0]


def put_message(key, value):
    return h2c.field(1, key) + h2c.field(2, value)


def get_message(key, serializable=False, revision=0):
    return h2c.field(1, key) + h2c.field(4, revision) + h2c.field(7, int(serializable))


def put(channel, key, value):
    """The revision of the write."""
    return revision_of(h2c.parse(channel.call(PUT, put_message(key, value))))


def delete(channel, key):
    channel.call(DELETE, h2c.field(1, key))


def value_in(answer):
    """The value in the answer to get_message; None if the key is not there."""
    kvs = h2c.parse(answer).get(2)
    return h2c.parse(kvs[0]).get(5, [b""])[0] if kvs else None


def get(channel, key, serializable=False, revision=0):
    return value_in(channel.call(RANGE, get_message(key, serializable, revision)))


def version(channel, key):
    """How many revisions the key has had since it was made; 0 if it is not there."""
    kvs = h2c.parse(channel.call(RANGE, get_message(key))).get(2)
    return h2c.parse(kvs[0])[4][0] if kvs else 0


def revision(channel):
    """The store's."""
    return revision_of(h2c.parse(channel.call(RANGE, get_message(b"revision?"))))


def hash_of(channel, revision=0):
    """(hash, revision that was hashed) of the store. HashKVResponse: hash = 2, hash_revision = 4."""
    answer = h2c.parse(channel.call(HASH_KV, h2c.field(1, revision)))
    return answer.get(2, [0])[0], answer[4][0]


def prefix_end(prefix):
    return prefix[:-1] + bytes([prefix[-1] + 1])


def pages(channel, prefix, revision=0, serializable=False, page=PAGE):
    """All keys that begin with prefix, as of one revision (0: now), as mvccpb.KeyValue."""
    start = prefix
    while True:
        request = h2c.field(1, start) + h2c.field(2, prefix_end(prefix)) + h2c.field(3, page)
        response = h2c.parse(channel.call(RANGE, request + h2c.field(4, revision) + h2c.field(7, int(serializable))))
        revision = revision or revision_of(response)
        yield from response.get(2, [])
        if not response.get(3, [0])[0]:
            return
        start = h2c.parse(response[2][-1])[1][0] + b"\0"


def scan(channel, prefix, serializable=False, page=PAGE):
    """All keys that begin with prefix, as of one revision: {key: (value, mod revision)}."""
    found = map(h2c.parse, pages(channel, prefix, 0, serializable, page))
    return {kv[1][0]: (kv.get(5, [b""])[0], kv[3][0]) for kv in found}


class Status:
    """Maintenance.Status of one member."""

    def __init__(self, channel):
        status = h2c.parse(channel.call(STATUS))
        header = h2c.parse(status[1][0])
        self.member_id = header.get(2, [0])[0]
        self.leader = status.get(4, [0])[0]
        self.term = status.get(6, [0])[0]


def hashes(nodes, seconds):
    """Those of all nodes at one revision, the newest that the first knows, each once it is there: one hash if they are equal."""
    with nodes[0].channel(seconds) as channel:
        newest = revision(channel)
    found = set()
    for node in nodes:
        with node.channel(seconds) as channel:
            get(channel, b"up to date?")
            found.add(hash_of(channel, newest))
    return found
