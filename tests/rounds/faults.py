# SPDX-License-Identifier: Apache-2.0
"""The faults of a round, one row each: what is done to whom, through whom writes must work meanwhile, and how it is undone.

A fault is called with the cluster, its network, the leader and a source of chances, and begins; it returns what it did as a Begun.
"""

import dataclasses
import time
import typing

import members

# A write works elsewhere within so many election timeouts of the loss of a leader; longer, where links are cut and not all reach all.
ELECTIONS_MAX = 3
ELECTIONS_OF_PARTIAL_MAX = 4


@dataclasses.dataclass
class Begun:
    survivors: list  # through these writes must work while it lasts; none, if there is no quorum
    heal: typing.Callable[[], None]
    since_ns: int = None  # when it struck, if not just now


@dataclasses.dataclass
class Scene:
    cluster: object
    network: object
    spare: object  # a node that is no member, on a host of its own
    leader: object
    random: object

    @property
    def followers(self):
        return [node for node in self.cluster if node is not self.leader]

    def others(self, victims):
        return [node for node in self.cluster if node not in victims]


# ---- to whom ----


def leader(scene):
    return [scene.leader]


def follower(scene):
    return [scene.random.choice(scene.followers)]


def leader_and_one(scene):
    return [scene.leader, scene.random.choice(scene.followers)]


def two_followers(scene):
    return scene.random.sample(scene.followers, 2)


def everybody(scene):
    return list(scene.cluster)


# ---- processes ----


def start_all(nodes):
    for node in nodes:
        node.start(wait=False)


def kill(scene, victims):
    for node in victims:
        node.process.kill()
    for node in victims:
        node.kill9()
    return lambda: start_all(victims)


def terminate(scene, victims):
    for node in victims:
        status = node.stop()
        assert status == 0, f"{node.name} ended with status {status} after SIGTERM{node.log_tail()}"
    return lambda: start_all(victims)


def pause(scene, victims):
    for node in victims:
        node.pause()

    def resume():
        for node in victims:
            node.resume()

    return resume


# ---- links ----


def cut(scene, links):
    scene.network.drop((a.host, b.host) for a, b in links)
    return scene.network.drop


def isolate(scene, victims):
    """Two halves: nothing passes between them."""
    return cut(scene, [link for a in victims for b in scene.others(victims) for link in ((a, b), (b, a))])


def deafen(scene, victims):
    """Nothing reaches them, what they send arrives."""
    return cut(scene, [(b, a) for a in victims for b in scene.others(victims)])


def silence(scene, victims):
    """Nothing they send arrives, they hear everybody."""
    return cut(scene, [(a, b) for a in victims for b in scene.others(victims)])


def both_ways(pairs):
    return [link for a, b in pairs for link in ((a, b), (b, a))]


def pair(scene):
    """The leader and one follower do not reach each other; all others reach both."""
    lonely = scene.random.choice(scene.followers)
    return Begun(scene.others([lonely]), cut(scene, both_ways([(scene.leader, lonely)])))


def bridge(scene):
    """Two pairs that do not reach each other, and one member between them, which reaches all."""
    a, b, between, c, d = scene.random.sample(list(scene.cluster), 5)
    return Begun([between], cut(scene, both_ways([(a, c), (a, d), (b, c), (b, d)])))


def ring(scene):
    """Each member reaches two others, and no two members reach the same: every one has a quorum, no two the same."""
    order = scene.random.sample(list(scene.cluster), 5)
    return Begun([scene.leader], cut(scene, both_ways((order[i], order[(i + 2) % 5]) for i in range(5))))


def star(scene):
    """All links are cut but those of one follower: only that one reaches a quorum (faults of partial partitions: quorum loss)."""
    hub = scene.random.choice(scene.followers)
    rest = scene.others([hub])
    return Begun([hub], cut(scene, [(a, b) for a in rest for b in rest if a is not b]))


# ---- members ----


def let_in(scene, asked, node):
    """As a learner that is promoted, or at once as a voter."""
    learner = scene.random.choice([True, False])
    node.wipe()
    node.state = "existing"
    new_id = members.let_in(asked, node, learner)
    if learner:
        members.insist(members.promote, asked, new_id)


def take_out(asked, node, node_id):
    members.insist(members.remove, asked, node_id)
    since = time.monotonic_ns()
    if node.is_running():
        status = members.wait_ended(node)
        assert status == 0, f"{node.name} ended with status {status} when it was removed{node.log_tail()}"
    return since


def replace(choose, dead=False):
    """A member is removed, and another one with its name and address and no data comes in its place."""

    def begin(scene):
        (victim,) = choose(scene)
        others = scene.others([victim])
        asked, victim_id = scene.random.choice(others), members.id_of(victim)
        if dead:
            victim.kill9()
        since = take_out(asked, victim, victim_id)
        return Begun(others, lambda: let_in(scene, asked, victim), since)

    return begin


def grow(scene):
    """One member more, for a while."""
    asked = scene.random.choice(list(scene.cluster))
    let_in(scene, asked, scene.spare)
    scene.spare.wait_ready()
    return Begun(list(scene.cluster), lambda: take_out(asked, scene.spare, members.id_of(scene.spare)))


# ---- the table ----


@dataclasses.dataclass
class Fault:
    name: str
    begin: typing.Callable[[Scene], Begun]
    elections_max: float = None  # of one that takes the leader away, or may do so


def of_victims(do, choose):
    def begin(scene):
        victims = choose(scene)
        others = scene.others(victims)
        return Begun(others if 2 * len(others) > len(list(scene.cluster)) else [], do(scene, victims))

    words = {leader: "leader", follower: "a follower", leader_and_one: "leader and one", two_followers: "two followers", everybody: "all"}
    return Fault(f"{do.__name__} {words[choose]}", begin, ELECTIONS_MAX if choose in (leader, leader_and_one) else None)


FAULTS = [
    *(of_victims(kill, choose) for choose in (leader, follower, leader_and_one, two_followers, everybody)),
    *(of_victims(terminate, choose) for choose in (leader, follower, everybody)),
    *(of_victims(pause, choose) for choose in (leader, follower, leader_and_one)),
    *(of_victims(isolate, choose) for choose in (leader, follower, leader_and_one)),
    *(of_victims(deafen, choose) for choose in (leader, follower)),
    *(of_victims(silence, choose) for choose in (leader, follower)),
    Fault("pair", pair, ELECTIONS_OF_PARTIAL_MAX),
    Fault("bridge", bridge, ELECTIONS_OF_PARTIAL_MAX),
    Fault("ring", ring, ELECTIONS_OF_PARTIAL_MAX),
    Fault("star", star, ELECTIONS_OF_PARTIAL_MAX),
    Fault("replace a follower", replace(follower)),
    Fault("replace a dead follower", replace(follower, dead=True)),
    Fault("replace leader", replace(leader), ELECTIONS_MAX),
    Fault("grow", grow),
]


def named(name):
    return next(fault for fault in FAULTS if fault.name == name)


def plan(random, count):
    """So many faults: every one of the table in a new order, again and again."""
    drawn = []
    while len(drawn) < count:
        drawn += random.sample(FAULTS, len(FAULTS))
    return drawn[:count]
