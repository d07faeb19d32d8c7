# SPDX-License-Identifier: Apache-2.0
"""etcd's Cluster service over a Channel, and members that join a running cluster."""

import time

import h2c
import kv
import servers

SERVICE = "/etcdserverpb.Cluster/"
# With --strict-reconfig-check a server has to be connected to the others for so long before it changes anything.
HEALTHY_SECONDS = 5
CHANGE_SECONDS = 20


class Member:
    def __init__(self, message):
        fields = h2c.parse(message)
        self.id = fields[1][0]
        self.name = fields.get(2, [b""])[0].decode()
        self.peer_urls = [url.decode() for url in fields.get(3, [])]
        self.client_urls = [url.decode() for url in fields.get(4, [])]
        self.is_learner = bool(fields.get(5, [0])[0])


def _call(node, method, message, seconds=CHANGE_SECONDS):
    return h2c.parse(node.call(SERVICE + method, message, seconds))


def _rows(rows):
    return {member.id: member for member in map(Member, rows)}


def members(node, linearizable=True):
    """{id: Member}"""
    return _rows(_call(node, "MemberList", h2c.field(1, int(linearizable))).get(2, []))


def add(node, peer_url, learner=False):
    """The new member's id."""
    answer = _call(node, "MemberAdd", h2c.field(1, peer_url) + h2c.field(2, int(learner)))
    new = Member(answer[2][0])
    assert new.id in _rows(answer[3]) and new.is_learner == learner and not new.name
    return new.id


def remove(node, member_id):
    assert member_id not in _rows(_call(node, "MemberRemove", h2c.field(1, member_id))[2])


def update(node, member_id, peer_url):
    rows = _rows(_call(node, "MemberUpdate", h2c.field(1, member_id) + h2c.field(2, peer_url))[2])
    assert rows[member_id].peer_urls == [peer_url]


def promote(node, member_id):
    assert not _rows(_call(node, "MemberPromote", h2c.field(1, member_id))[2])[member_id].is_learner


def insist(change, *arguments, seconds=CHANGE_SECONDS):
    """Until it is done: a server that was just started, or a learner that is behind, refuses for a while."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return change(*arguments)
        except h2c.CallFailed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def id_of(node):
    with node.channel() as channel:
        return kv.Status(channel).member_id


def joiner(cluster, name, peer_port=None):
    """A member that is to be added, with every running one in its --initial-cluster; it is not started."""
    node = servers.Node(cluster[0].program, cluster[0].directory, name, cluster[0].flags, cluster[0].token, peer_port)
    node.state = "existing"
    return node


def let_in(asked, node, learner=False):
    """Add it to the cluster by asking that member, and start it. Its id."""
    new_id = insist(add, asked, node.peer_url, learner)
    listed = [(member, url) for member in members(asked, False).values() for url in member.peer_urls]
    # Another one may not have published its name yet.
    names = [f"{node.name if member.id == new_id else member.name or f'{member.id:x}'}={url}" for member, url in listed]
    node.initial_cluster = ",".join(names)
    node.start(wait=False)
    return new_id


def wait_until(condition, what, seconds=20):
    """What the condition is, once it is."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return result


def wait_ended(node, seconds=20):
    """Its exit status."""
    wait_until(lambda: not node.is_running(), f"{node.name} ends{node.log_tail()}", seconds)
    return node.process.returncode
