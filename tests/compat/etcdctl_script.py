# SPDX-License-Identifier: Apache-2.0
"""One long session with etcdctl, from an empty store on: each step is a command line and what it reads from stdin.

Steps build on each other, so new ones go to the end of their section and use keys of their own. Two rules keep the outputs comparable:
where results are sorted, what they are sorted by is distinct (etcd's sort is not stable), and no step depends on time.

A step with `lines` runs until it has printed so many, or ends by itself, and is then interrupted: a watch. {next} in it stands for the
revision that the next change will get; the changes of `meanwhile` are made while it runs.
"""

import shlex
from typing import NamedTuple


class Step(NamedTuple):
    line: str
    stdin: bytes = b""
    since: tuple = (3, 4)  # oldest etcdctl that has the command
    lines: int = 0
    meanwhile: tuple = ()
    server: tuple = (3, 4)  # oldest etcd that answers so; raftd answers as 3.7.1 does

    def argv(self, next_revision=0):
        return [word.encode() for word in shlex.split(self.line.replace("{next}", str(next_revision)))]

    @property
    def title(self):
        hint = self.stdin[:60].decode("ascii", "backslashreplace").strip().replace("\n", "; ")
        return f"{self.line} < {hint}" if hint else self.line


def txn(compares=(), success=(), failure=(), options=""):
    """A transaction as etcdctl reads it: three blocks of lines, each ended by an empty one."""
    blocks = ("".join(line + "\n" for line in block) for block in (compares, success, failure))
    return Step(f"txn {options}".strip(), "\n".join(blocks).encode() + b"\n")


def each_format(line, formats=("simple", "json", "fields", "table")):
    return [Step(f"{line} -w {name}") for name in formats]


GET_AND_PUT = [
    Step("get nothing"),
    *each_format("get nothing", ("simple", "json", "fields")),
    Step("get '' --prefix --count-only -w json"),
    Step("put a 1"),
    Step("put a 2 --prev-kv"),
    Step("put fresh 1 --prev-kv"),
    Step("get a"),
    Step("get a --hex"),
    *each_format("get a", ("simple", "json", "fields")),
    Step("get a -w json --hex"),
    Step("get a -w fields --hex"),
    Step("get a --print-value-only"),
    Step("get a --keys-only"),
    Step("get a --keys-only -w json"),
    Step("get a --count-only"),
    Step("get a --count-only -w json"),  # refused by etcdctl
    Step("get a --count-only -w fields"),
    Step("get a --print-value-only --hex"),
    Step("get a -w json --consistency s"),
    Step("get a --consistency=x"),
    *each_format("put a 3", ("simple", "json", "fields")),
    Step("put a 4 --prev-kv -w json"),
    Step("put a 5 --prev-kv -w fields"),
    Step("put a 6 --prev-kv --hex"),
    # values: from stdin, empty, spaces, newlines, bytes that are no text
    Step("put stdin", b"from stdin"),
    Step("get stdin -w json"),
    Step("put stdin", b"two\nlines\n"),
    Step("get stdin"),
    Step("put empty ''"),
    Step("get empty -w json"),
    Step("get empty"),
    Step("put empty '' --prev-kv -w json"),
    Step("put blank", b""),
    Step("get blank -w fields"),
    Step("put -- -dash -1"),
    Step("get -- -dash"),
    Step("put 'a key with spaces' 'a value with spaces'"),
    Step("get 'a key with spaces' -w json"),
    Step("put binary", bytes(range(256))),
    Step("get binary -w json"),
    Step("get binary --hex"),
    Step("get binary -w fields"),
    Step("get binary --print-value-only"),
    Step("put grüße größe"),
    Step("get grüße -w json"),
    Step("get grüße"),
    Step("put big", b"0123456789abcdef" * 4096),
    Step("get big --print-value-only"),
    # --ignore-value, --ignore-lease
    Step("put a --ignore-value"),
    Step("get a -w json"),
    Step("put a --ignore-value --prev-kv -w json"),
    Step("put a 7 --ignore-value"),
    Step("put missing --ignore-value"),
    Step("put a 8 --ignore-lease"),
    Step("get a -w json"),
    Step("put missing 1 --ignore-lease"),
    Step("put a --ignore-value --ignore-lease"),
    Step("put a 9 --lease=1234 --ignore-lease"),
    Step("get a -w json"),
    Step("get a -w table"),
    Step("put a 10 -w table"),
    Step("get a -w json --print-value-only"),
    Step("get a -w fields --keys-only"),
    Step("put a"),
    Step("put a", b"stdin\0with\0zeros"),
    Step("get a -w json"),
]

RANGES = [
    *[Step(f"put r/{key} {value}") for key, value in (("a", 1), ("b", 2), ("bb", 3), ("c", 4), ("d", 5), ("ÿ", 6))],
    Step("put r 0"),
    Step("put s0 7"),
    Step("get r/ --prefix"),
    Step("get r --prefix --keys-only"),
    Step("get r/a r/c"),
    Step("get r/a r/c -w json"),
    Step("get r/a r/c -w fields"),
    Step("get r/c r/a -w json"),
    Step("get r/a r/a -w json"),
    Step("get r/b r/bb -w json"),
    Step("get r/b --from-key --keys-only"),
    Step("get '' --from-key --keys-only"),
    Step("get '' --prefix --keys-only"),
    Step("get '' --prefix --count-only -w fields"),
    Step("get r/ --prefix --count-only"),
    Step("get r/ --prefix --count-only -w fields"),
    Step("get r/ --prefix --print-value-only"),
    Step("get r/ --prefix --limit 2"),
    Step("get r/ --prefix --limit 2 -w json"),
    Step("get r/ --prefix --limit 2 -w fields"),
    Step("get r/ --prefix --limit 6 -w json"),
    Step("get r/ --prefix --limit 100 -w json"),
    Step("get r/ --prefix --limit 1 --keys-only -w json"),
    Step("get r/ --prefix --limit 2 --count-only -w fields"),
    Step("get r/ --prefix --limit=-1 -w json"),
    Step("get r/ --prefix --consistency s -w json"),
    Step("get r/ --prefix --from-key"),
    Step("get r/a r/c --prefix"),
    Step("get r/a r/c --from-key"),
    Step("get r/ --prefix --hex"),
]

# Four keys whose orders by key, version, creation, modification and value all differ.
ORDERS = [
    *[Step(f"put o/{key} x") for key in "cdab"],
    *[Step(f"put o/{key} {value}") for key, value in (("a", "m"), ("c", "n"), ("a", "q"), ("d", "p"), ("c", "z"), ("c", "k"), ("a", "r"), ("a", "b"))],
    Step("put o/b j"),
    Step("put o/b t"),
    Step("get o/ --prefix -w fields"),
    *[
        Step(f"get o/ --prefix --sort-by={target} --order={order} -w json")
        for target in ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION")
        for order in ("ASCEND", "DESCEND")
    ],
    *[Step(f"get o/ --prefix --sort-by={target}") for target in ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION", "create", "key")],
    *[Step(f"get o/ --prefix --order={order} --keys-only") for order in ("ASCEND", "DESCEND", "descend")],
    *[Step(f"get o/ --prefix --sort-by={target} --order=DESCEND --limit=2 -w json") for target in ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION")],
    *[Step(f"get o/ --prefix --sort-by={target} --limit=2 -w json") for target in ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION")],
    Step("get o/ --prefix --sort-by=VALUE --keys-only -w json"),
    Step("get o/ --prefix --sort-by=MODIFY --keys-only -w json"),
    Step("get o/ --prefix --sort-by=MODIFY --order=DESCEND --limit=1 --keys-only"),
    Step("get o/ --prefix --sort-by=nonsense"),
    Step("get o/ --prefix --order=nonsense"),
    # the filters on revisions: all of o/ lies between 32 and 45
    *[
        Step(f"get o/ --prefix --{name}-rev={revision} -w json", since=(3, 7))
        for name in ("min-create", "max-create", "min-mod", "max-mod")
        for revision in (1, 32, 34, 40, 1000)
    ],
    Step("get o/ --prefix --min-mod-rev=36 --max-mod-rev=42 -w json", since=(3, 7)),
    Step("get o/ --prefix --min-mod-rev=36 --limit=1 -w json", since=(3, 7)),
    Step("get o/ --prefix --min-mod-rev=36 --count-only -w fields", since=(3, 7)),
    # the same in parts
    Step("get r/ --prefix --stream", since=(3, 7)),
    Step("get r/ --prefix --stream --keys-only", since=(3, 7)),
    Step("get r/ --prefix --stream --limit 2 -w json", since=(3, 7)),
    Step("get r/ --prefix --stream --order DESCEND", since=(3, 7)),
    Step("get r/ --prefix --stream --sort-by VALUE", since=(3, 7)),
    Step("get r/ --prefix --stream --rev 1000000", since=(3, 7)),
    Step("get nothing/ --prefix --stream", since=(3, 7)),
]

REVISIONS = [
    *[Step(f"get '' --prefix --rev={revision} -w json --keys-only") for revision in (1, 2, 3, 5, 10, 20)],
    Step("get a --rev=2"),
    Step("get a --rev=3 -w json"),
    Step("get a --rev=1 -w json"),
    Step("get a --rev=1"),
    Step("get a --rev=0"),
    Step("get a --rev=-1 -w json"),
    Step("get a --rev=1000000"),
    Step("get a --rev=1000000 -w json"),
    Step("get o/ --prefix --rev=38 -w json"),
    Step("get o/ --prefix --rev=38 --limit=1 -w json"),
    Step("get o/ --prefix --rev=38 --count-only -w fields"),
    Step("get o/ --prefix --rev=38 --sort-by=MODIFY --order=DESCEND -w json"),
]

DELETES = [
    *[Step(f"put d/{key} {key}") for key in ("a", "b", "c", "d", "e", "f", "g")],
    Step("del d/none"),
    Step("del d/none -w json"),
    Step("del d/none --prev-kv"),
    Step("del d/none --prev-kv -w json"),
    Step("del d/a"),
    Step("del d/a -w json"),
    Step("get d/a -w json"),
    Step("put d/a again -w json"),
    Step("get d/a -w json"),
    Step("del d/a --prev-kv"),
    Step("put d/a third"),
    Step("del d/a --prev-kv -w json"),
    Step("del d/b --prev-kv -w fields"),
    Step("del d/c d/e --prev-kv"),
    Step("del d/c d/e --prev-kv"),
    Step("del d/e d/c"),
    Step("put d/c 1"),
    Step("put d/d 2"),
    Step("put d/e 3"),
    Step("del d/c d/e -w json"),
    Step("get d/ --prefix -w json"),
    Step("del d/ --prefix --prev-kv -w json"),
    Step("get d/ --prefix -w json"),
    Step("del d/ --prefix"),
    Step("put z/1 1"),
    Step("put z/2 2"),
    Step("put z/3 3"),
    Step("del z/2 --from-key --prev-kv"),
    Step("get z/ --prefix"),
    Step("del z/1 --range", since=(3, 7)),
    Step("put z/1 1 -w json"),
    Step("del z/ --prefix --hex --prev-kv"),
    Step("get d/b --rev=60 -w json"),
    Step("del d/a d/b --prefix"),
]

_KEY_TESTS = [
    f'{target}("t/a") {operator} "{operand}"'
    for target, operands in (("ver", (0, 2, 3)), ("create", (0, 1, 1000)), ("mod", (0, 1, 1000)), ("lease", (0, 1)), ("val", ("one", "two", "zzz", "")))
    for operator in ("=", "!=", "<", ">")
    for operand in operands
]

_MISSING_TESTS = [
    f'{target}("t/missing") {operator} "{operand}"'
    for target, operand in (("ver", 0), ("c", 0), ("m", 0), ("lease", 0), ("value", ""), ("value", "x"), ("version", 1))
    for operator in ("=", "!=", "<", ">")
]

TRANSACTIONS = [
    Step("put t/a one"),
    Step("put t/a two"),
    # every target with every operator, on a key that is there and on one that is not
    *[txn([test], ["get t/a"], ["get t/missing"], "-w json") for test in _KEY_TESTS[::2]],
    *[txn([test]) for test in _KEY_TESTS[1::2]],
    *[txn([test]) for test in _MISSING_TESTS],
    txn(['create("t/a") > "0"', 'val("t/a") = "two"'], ["put t/both yes"], ["put t/both no"]),
    txn(['create("t/a") > "0"', 'val("t/a") = "other"'], ["put t/both yes"], ["put t/both no"]),
    Step("get t/both -w json"),
    # what a transaction answers, in every format
    *[
        txn(['ver("t/a") = "2"'], ["put t/b 1", "get t/ --prefix", "del t/both --prev-kv", "get t/both", "put t/c x --prev-kv"], ["get t/a"], f"-w {name}")
        for name in ("simple", "json", "fields")
    ],
    txn(options="-w json"),
    txn(),
    txn([], ["get t/a"]),
    txn([], ["get t/a", "get t/c", "get t/missing"], options="-w json"),
    txn([], ["put t/d 'with spaces'", 'put t/e "quoted"', "put t/f"]),
    txn([], ["put t/g 1 --prev-kv", "put t/h 2", "put t/i 3"], options="-w json"),
    Step("get t/ --prefix -w json"),
    txn([], ["del t/g", "del t/g", "del t/h t/j --prev-kv"], options="-w json"),
    txn([], ["del t/nothing"], options="-w json"),
    txn([], ["put t/j 1", "get t/j", "get t/ --prefix --count-only", "get t/ --prefix --limit 1 --order DESCEND"], options="-w json"),
    txn([], ["get t/a --rev=2", "get a --rev=3"], options="-w json"),
    txn([], ["put t/k 1", "get a --rev=3"], options="-w json"),
    txn(['mod("t/k") > "3"'], ["put t/k 2 --prev-kv"], ["get t/k"], "--hex"),
    txn(['val("t/k") = "nope"'], ["put t/k 3"], ["put t/l 1", "del t/k"], "-w fields"),
    Step("get t/ --prefix -w json"),
    txn([], ["put t/m --ignore-value", "put t/n 1"]),
    txn([], ["put t/a --ignore-value", "put t/n 1"], options="-w json"),
    Step("get t/n -w json"),
    # refused as a whole
    txn([], ["put t/x 1", "put t/x 2"]),
    txn([], ["put t/x 1", "del t/x"]),
    txn([], ["del t/x", "put t/x 1"]),
    txn([], ["del t/ --prefix", "put t/x 1"]),
    txn([], ["put t/x 1"], ["put t/x 2"], "-w json"),
    txn(['val("t/x") = "1"'], [], ["put t/x 1", "put t/x 2"]),
    txn([], ["put t/y 1", "get a --rev=1000000"]),
    txn([], ["get a --rev=1000000"]),
    txn([], ["put t/y 1", "put t/z 1 --lease=1234"]),
    txn([], ["put t/many/%03d %d" % (i, i) for i in range(128)]),
    Step("get t/many/ --prefix --count-only -w fields"),
    txn([], ["put t/more/%03d %d" % (i, i) for i in range(129)]),
    txn([], ["get t/a"] * 129),
    txn([], [], ["get t/a"] * 129),
    txn(['ver("t/a") > "0"'] * 128, ["get t/a"]),
    txn(['ver("t/a") > "0"'] * 129, ["get t/a"]),
    Step("get t/more/ --prefix --count-only -w fields"),
    Step("get t/y -w json"),
    # read wrongly by etcdctl, so never sent
    txn(['nonsense("t/a") = "1"']),
    txn(["gibberish"]),
    txn([], ["gibberish"]),
    Step("txn argument"),
    # with prompts
    txn(['val("t/a") = "two"'], ["get t/a"], ["get t/missing"], "-i"),
    txn([], ["put t/o 1", "del t/o", "gibberish"], [], "-i"),
    txn(['mod("t/o") = "0"'], ["put t/o 1", "get t/o"], [], "-i -w json"),
    Step("txn -i", b""),
    # compares of etcdctl's other spellings, with blanks and quotes
    txn(['  version("t/a")  >   "0"  '], ["put t/p 'it''s'", 'put t/q "a \\"b\\" c"', "put t/r --"], []),
    Step("get t/p t/s"),
    txn(['value("t/q") > ""', 'c("t/q") > "0"', 'm("t/q") > "0"', 'ver("t/q") > "0"'], ["get t/q --hex"]),
    txn([], ["get t/ --prefix --keys-only --sort-by=MODIFY --order=DESCEND --limit=1"], options="-w json"),
    txn([], ["get t/ --from-key --count-only"], options="-w json"),
    txn([], ["put t/s --ignore-lease 1"], options="-w json"),
    txn([], ["put t/a --ignore-lease 1 --prev-kv"], options="-w json"),
    txn(['ver("t/a") = "x"']),
    txn(['ver("t/a") = 1']),
    txn(['ver("t/a") ~ "1"']),
]

ERRORS = [
    Step("put '' value"),
    Step("get ''"),
    Step("del ''"),
    Step("put"),
    Step("put a b c"),
    Step("get"),
    Step("get a b c"),
    Step("del"),
    Step("nonsense"),
    Step("get a --nonsense"),
    Step("get a -w nonsense"),
    Step("put a 1 --lease=1234"),
    Step("put a 1 --lease=0"),
    Step("put a 1 --lease=xyz"),
    txn([], ["put '' 1"]),
    txn(['ver("") = "0"'], ["put t/w 1"]),
    Step("put huge", b"x" * 1_500_000),
    Step("get huge --count-only -w fields"),
    Step("get huge --keys-only -w json"),
    Step("put huger", b"x" * 1_600_000),
    Step("put hugest", b"x" * 2_000_000),
    Step("put beyond", b"x" * 2_200_000),
    Step("get hug --prefix --keys-only"),
    Step("get " + "k" * 70_000 + " -w json"),
    Step("put " + "k" * 70_000 + " 1 -w json"),
    Step("get kkk --prefix --count-only -w fields"),
    Step("del kkk --prefix -w json"),
    Step("del huge -w json"),
]

# Neither etcd nor etcdctl says when a watch has begun; so each begins at a revision that is given, past or to come.
WATCHES = [
    *[Step(f"put w/{key} {value}") for key, value in (("a", 1), ("b", 2), ("a", 3))],
    Step("del w/b"),
    txn([], ["put w/c 4", "put w/d 5", "del w/a"]),
    Step("watch w/a --rev=2", lines=9),
    Step("watch w/ --prefix --rev=2", lines=21),
    Step("watch w/ --prefix --rev=2 --prev-kv", lines=27),
    Step("watch w/ --prefix --rev=2 --prev-kv --hex", lines=27),
    Step("watch w/ --prefix --rev=2 -w json", lines=1),
    Step("watch w/ --prefix --rev=2 -w json --prev-kv", lines=1),
    Step("watch w/ --prefix --rev=2 -w fields", lines=53),
    Step("watch w/a w/c --rev=2", lines=15),
    Step("watch w/b --rev=2 -- sh -c 'echo $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE'", lines=8),
    Step("watch w/e --rev={next}", lines=6, meanwhile=("put w/e 1", "put other 1", "del w/e")),
    Step("watch w/f --prefix --rev={next} --prev-kv", lines=21, meanwhile=("put w/f1 1", "put w/f1 2", "put w/f2 3", "del w/f --prefix")),
    Step("watch w/g --rev={next} --progress-notify", lines=3, meanwhile=("put w/g ''",), since=(3, 5)),
    Step("watch -i", b"watch w/a --rev=2\n", lines=9),
    Step("watch -i", b"watch w/a --rev=2 -- echo hello\n", lines=12),
    Step("watch -i", b"gibberish\nwatch\n\nwatch w/d --rev=2\n", lines=3),
    Step("watch"),
    Step("watch w/ --prefix --from-key"),
    Step("watch w/b w/a --rev=2"),
    Step("watch w/a --rev=-1", server=(3, 7)),  # 3.4 watches from now on
    Step("watch w/a --rev=1 --prefix --hex -w json", lines=1),
]

# What raftd does not serve yet, by what is missing. It says so: gRPC's code Unimplemented, and nothing waits for more.
LATER = {
    "compaction": [Step("compact 1"), Step("compact 1 --physical")],
    "leases": [Step(f"lease {what}") for what in ("grant 10", "revoke 1234", "timetolive 1234", "list")],
    "locks and elections (leases)": [Step("lock a"), Step("elect a b"), Step("elect -l a")],
    "users": [Step(line) for line in ("auth enable", "auth disable", "user list", "user add a:b", "user get a", "user delete a", "get a --user r:x")],
    "roles": [Step(f"role {what}") for what in ("list", "add x", "get x", "delete x", "grant-permission x read a")],
    "snapshots and defragmentation": [Step("snapshot save SCRATCH/snapshot"), Step("defrag")],
}

MEMBERS = [
    *each_format("endpoint health"),
    *each_format("endpoint health --cluster"),
    *each_format("endpoint status"),
    *each_format("endpoint status --cluster"),
    *each_format("member list"),
    Step("member list --hex"),
    Step("member list --hex -w json"),
    Step("member list --consistency s -w json", since=(3, 7)),
    *each_format("alarm list", ("simple", "table")),
    *each_format("endpoint hashkv"),
    *each_format("endpoint hashkv --cluster"),
    Step("endpoint hashkv --rev 5 -w json"),
    Step("endpoint hashkv --rev 1 -w fields"),
    Step("endpoint hashkv --rev 1000000"),
    Step("endpoint hashkv --rev=-1"),
    Step("alarm list -w json", server=(3, 7)),  # 3.4 answers without a header
    Step("alarm list -w fields", server=(3, 7)),
    Step("get '' --prefix --keys-only -w json"),
]

SCRIPT = GET_AND_PUT + RANGES + ORDERS + REVISIONS + DELETES + TRANSACTIONS + ERRORS + MEMBERS + WATCHES
