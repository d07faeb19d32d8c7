# SPDX-License-Identifier: Apache-2.0
"""Three members are one store, whichever is asked."""

import h2c
import kv
import servers
from conftest import refused_in_time


def test_what_one_member_takes_every_other_reads(cluster):
    for i, writer in enumerate(cluster):
        key = f"from-{writer.name}".encode()
        with writer.channel() as channel:
            revision = kv.put(channel, key, b"v%d" % i)
        for reader in cluster:
            with reader.channel() as channel:
                response = h2c.parse(channel.call(kv.RANGE, kv.get_message(key)))
                assert kv.value_in(channel.call(kv.RANGE, kv.get_message(key))) == b"v%d" % i
                assert kv.revision_of(response) == revision


def test_a_read_right_after_a_write_elsewhere_returns_it(cluster):
    channels = [node.channel() for node in cluster]
    for i in range(300):
        kv.put(channels[i % 3], b"k", b"%d" % i)
        assert kv.get(channels[(i + 1) % 3], b"k") == b"%d" % i
        assert kv.get(channels[(i + 2) % 3], b"k") == b"%d" % i
    for channel in channels:
        channel.close()


def test_members_agree_who_they_are(cluster):
    lists = []
    for node in cluster:
        response = h2c.parse(node.call("/etcdserverpb.Cluster/MemberList"))
        members = [h2c.parse(member) for member in response[2]]
        lists.append(sorted((member[1][0], member[3][0].decode()) for member in members))
    assert lists[0] == lists[1] == lists[2]
    assert sorted(url for _, url in lists[0]) == sorted(node.peer_url for node in cluster)
    statuses = [kv.Status(node.channel()) for node in cluster]
    assert sorted(status.member_id for status in statuses) == [member_id for member_id, _ in lists[0]]
    assert len({(status.leader, status.term) for status in statuses}) == 1


def test_a_minority_serves_old_reads_and_refuses_the_rest(cluster):
    survivor = cluster[1]
    cluster[0].kill9()
    cluster[2].kill9()
    with survivor.channel() as channel:
        assert kv.get(channel, b"k", serializable=True) is None
    refused_in_time(survivor, (kv.RANGE, kv.get_message(b"k")), (kv.PUT, kv.put_message(b"k", b"v")))


def test_a_member_that_was_down_catches_up(cluster):
    straggler = cluster.followers()[0]
    straggler.stop()
    with cluster.leader().channel() as channel:
        for i in range(500):
            kv.put(channel, b"late/%d" % i, b"v" * 1000)
    straggler.start()
    with straggler.channel() as channel:
        assert len(kv.scan(channel, b"late/")) == 500


def test_clients_connect_by_unix_socket(raftd, tmp_path):
    path = tmp_path / "raftd.sock"
    node = servers.Node(raftd, tmp_path)
    node.flags = ["--listen-client-urls", f"unix://{path},{node.client_url}"]
    with node:
        with h2c.Channel(path, None) as channel:
            kv.put(channel, b"by", b"socket")
        with node.channel() as channel:
            assert kv.get(channel, b"by") == b"socket"
        assert path.stat().st_mode & 0o777 == 0o600
        node.kill9()  # leaves the socket: the next start makes room
        node.start()
        with h2c.Channel(path, None) as channel:
            assert kv.get(channel, b"by") == b"socket"
        assert node.stop() == 0
        assert not path.exists()
