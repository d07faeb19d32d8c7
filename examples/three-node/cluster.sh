# SPDX-License-Identifier: Apache-2.0
# What the scripts beside this one share: three members a, b, c of one machine. Sourced, never run.
#     DEMO_DIR    where their data, logs and mounts are       (default: a directory of yours in /tmp)
#     DEMO_PORT   clients connect at PORT+1, PORT+2, PORT+3, members to each other at PORT+11, +12, +13
#     RAFTD, RAFTFS, ETCDCTL   the programs                   (default: as built in build/, else those of PATH)
set -eu
demo_dir=${DEMO_DIR:-${TMPDIR:-/tmp}/raftfs-three-node-$(id -u)}
demo_port=${DEMO_PORT:-23790}
built=$(cd "$(dirname "$0")/../.." && pwd)/build
raftd=${RAFTD:-$built/raftd/raftd}
raftfs=${RAFTFS:-$built/fsd/raftfs}
etcdctl=${ETCDCTL:-etcdctl}
[ -x "$raftd" ] || raftd=raftd
[ -x "$raftfs" ] || raftfs=raftfs
nodes='a b c'

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

number_of() {
    case $1 in
    a) echo 1 ;;
    b) echo 2 ;;
    c) echo 3 ;;
    *) fail "there is no node $1, only $nodes" ;;
    esac
}

client_url() {
    echo "http://127.0.0.1:$((demo_port + $(number_of "$1")))"
}

peer_url() {
    echo "http://127.0.0.1:$((demo_port + 10 + $(number_of "$1")))"
}

# The process of a node: who holds the lock of its data directory; nothing if nobody does. No pid file can be stale that way.
pid_of() {
    lock=$demo_dir/$1/lock
    [ -f "$lock" ] || return 0
    awk -v inode="$(stat -c %i "$lock")" '$2 == "FLOCK" { n = split($6, id, ":"); if (id[n] == inode) print $5 }' /proc/locks | head -n 1
}

is_mounted() {
    mountpoint -q "$demo_dir/mnt/$1"
}

# wait_until WHAT COMMAND...: for at most 20 seconds
wait_until() {
    what=$1
    shift
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 400 ] || fail "waited 20 seconds for this: $what"
        sleep 0.05
    done
}

# The node that leads: of those running, whose last word was that it does, in the newest term.
leader() {
    for node in $nodes; do
        [ -n "$(pid_of "$node")" ] || continue
        sed -n "s/.*role changed role=\([a-z-]*\) term=\([0-9]*\) .*/\2 \1 $node/p" "$demo_dir/$node.log" | tail -n 1
    done | sort -rn | awk '$2 == "leader" { print $3; exit }'
}

has_leader() {
    [ -n "$(leader)" ]
}

# Do all that run name the same leader?
is_agreed() {
    for node in $nodes; do
        [ -z "$(pid_of "$node")" ] || sed -n 's/.*role changed .* leader=\([0-9a-f]*\) .*/\1/p' "$demo_dir/$node.log" | tail -n 1
    done | sort -u | awk '{ last = $1 } END { exit !(NR == 1 && last != "0") }'
}

# Ended: by its lock, because a process that nobody waited for may stand in /proc for long.
has_ended() {
    [ -z "$(pid_of "$1")" ]
}
