# SPDX-License-Identifier: Apache-2.0
"""What may differ between two servers that answer alike: who they are, how long they took, how they keep their data.

Each rule names the one thing it hides. Nothing else is hidden: revisions, counts, keys, values, texts, order and exit codes are compared
as they are. tests/compat/test_etcdctl.py compares the ids themselves, once.
"""

import re

RULES = [
    # when and where in the client's source a warning was logged, and the name of a client's target, new with each
    (r'"ts":"[^"]*"', '"ts":TIME'),
    (r'"caller":"[^"]*"', '"caller":PLACE'),
    (r"0x[0-9a-f]{6,}", "ADDRESS"),
    (r"client-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "CLIENT"),
    # the client's own port
    (r"LocalAddr: '127\.0\.0\.1:\d+'", "LocalAddr"),
    # how long a health check took
    (r"took = \S+", "took = DURATION"),
    (r'"([Tt]ook)"(\s*:\s*)("[^"]*"|\S+)', r'"\1"\2DURATION'),
    # term and raft index: elections and the server's own entries
    (r'"(raft_term|raftTerm|raftIndex|raftAppliedIndex)":\d+', r'"\1":N'),
    (r'"(RaftTerm|RaftIndex|RaftAppliedIndex)" : \d+', r'"\1" : N'),
    # size of the data on disk, and the limit on it
    (r'"(dbSize|dbSizeInUse|dbSizeQuota)":\d+', r'"\1":SIZE'),
    (r'"(DBSize|DBSizeInUse|DBSizeQuota)" : \d+', r'"\1" : SIZE'),
    # the hash of what a server holds: each has its own way to make it
    (r'"hash":\d+', '"hash":HASH'),
    (r'"Hash" : \d+', '"Hash" : HASH'),
    # version of the server and of its storage
    (r'"(version|storageVersion)":"[^"]*"', r'"\1":VERSION'),
    (r'"(Version|StorageVersion)" : ?"[^"]*"', r'"\1" : VERSION'),
]

# Columns of `endpoint status` in simple and table, by the number of columns that this etcdctl prints (3.4, 3.7): version, storage
# version, sizes and share in use, quota, term, raft index, raft applied index.
STATUS_COLUMNS = {10: (2, 3, 6, 7, 8), 16: (2, 3, 4, 5, 6, 7, 10, 11, 12)}
# Of `endpoint hashkv`: the hash.
HASH_COLUMNS = {2: (1,), 3: (1,)}
# Column of `endpoint health -w table` (endpoint, health, took, error).
HEALTH_COLUMNS = {4: (2,)}


def _columns(text, cells_of, join, masked):
    lines = []
    for line in text.splitlines():
        cells = cells_of(line)
        for column in masked.get(len(cells), ()) if "ENDPOINT" in line else ():
            cells[column] = "X"
        lines.append(join.join(cells))
    return "\n".join(lines)


def normalise(text, step_line, ports, ids):
    """text of one stream of one command, to the form that is compared; ports and ids (cluster, member): {number: name} of the server."""
    for port, name in ports.items():
        text = re.sub(rf"127\.0\.0\.1:{port}\b", name, text)
    for number, name in ids.items():
        text = re.sub(rf"\b({number}|{number:x})\b", name, text)
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    masked = STATUS_COLUMNS if "status" in step_line else HASH_COLUMNS if "hashkv" in step_line else HEALTH_COLUMNS
    if "-w table" in step_line:
        # The width of a column is that of its widest cell, masked or not.
        text = re.sub(r"-{2,}|─+", "--", text)
        text = _columns(text, lambda line: [cell.strip() for cell in re.split(r"[|│]", line.strip("|│"))], " | ", masked)
    elif "endpoint status" in step_line or "endpoint hashkv" in step_line:
        text = _columns(text, lambda line: line.split(", "), ", ", masked)
    return text
