# SPDX-License-Identifier: Apache-2.0
"""The judge refuses histories that are wrong, shows the part that is, and lets pass what is right however odd it looks."""

import json
import subprocess

import pytest


def line(client, op, call, back, result="ok", key="k", **rest):
    return {"client": client, "op": op, "key": key, "result": result, "call": call, "return": back, **rest}


def put(client, value, call, back, **rest):
    return line(client, "put", call, back, value=value, **rest)


def get(client, seen, call, back, **rest):
    return line(client, "get", call, back, found=seen is not None, seen=seen or "", **rest)


def swap(client, expect, value, call, back, **rest):
    return line(client, "cas", call, back, expect=expect, value=value, **rest)


def delete(client, call, back, **rest):
    return line(client, "delete", call, back, **rest)


RIGHT = {
    "reads beside a write see either": [put("a", "1", 0, 9), put("a", "2", 10, 20), get("b", "1", 11, 12), get("b", "2", 13, 14)],
    "an unknown write that took effect late": [put("a", "1", 0, 9), put("b", "2", 10, 20, result="unknown"), get("a", "1", 30, 40),
                                               get("a", "2", 50, 60)],
    "an unknown write that never did": [put("a", "1", 0, 9), put("b", "2", 10, 20, result="unknown"), get("a", "1", 30, 40)],
    "a refused write": [put("a", "1", 0, 9), put("b", "2", 10, 20, result="refused"), get("a", "1", 30, 40)],
    "an unanswered read": [put("a", "1", 0, 9), get("b", None, 10, 20, result="unknown"), get("a", "1", 30, 40)],
    "a removal": [put("a", "1", 0, 9), delete("a", 10, 20, found=True), get("b", None, 21, 22), delete("a", 23, 24)],
    "a swap": [put("a", "1", 0, 9), swap("b", "1", "2", 10, 20, found=True), swap("a", "1", "3", 10, 20, present=True, seen="2"),
               get("a", "2", 30, 40)],
    "a swap of nothing": [swap("a", "", "1", 0, 9, absent=True, found=True),
                          swap("b", "", "2", 10, 20, absent=True, present=True, seen="1")],
    "an unknown swap": [put("a", "1", 0, 9), swap("b", "1", "2", 10, 20, result="unknown"), get("a", "2", 30, 40)],
    "revisions where some are not told": [put("a", "1", 0, 9, rev=5), put("m", "2", 10, 20), get("a", "2", 30, 40, rev=7),
                                          put("a", "3", 50, 60, rev=8)],
    "keys have nothing to do with each other": [put("a", "1", 0, 9, key="x"), get("a", None, 10, 20, key="y")],
}

WRONG = {
    "stale read": [put("a", "1", 0, 9), put("a", "2", 10, 20), get("b", "1", 30, 40)],
    "time goes back": [put("a", "1", 0, 9), put("a", "2", 10, 99), get("b", "2", 20, 30), get("b", "1", 40, 50)],
    "lost write": [put("a", "1", 0, 9), get("b", None, 10, 20)],
    "a write lost behind an unknown one": [put("a", "1", 0, 9), put("b", "2", 10, 20, result="unknown"), put("a", "3", 21, 30),
                                           get("b", "1", 40, 50)],
    "twice applied": [put("a", "1", 0, 9), put("b", "2", 10, 20), get("a", "2", 30, 40), get("a", "1", 50, 60)],
    "an unknown write twice applied": [put("a", "1", 0, 9, result="unknown"), get("b", "1", 10, 20), put("b", "2", 30, 40),
                                       get("a", "2", 50, 60), get("a", "1", 70, 80)],
    "a refused write took effect": [put("a", "1", 0, 9), put("b", "2", 10, 20, result="refused"), get("a", "2", 30, 40)],
    "a value from nowhere": [put("a", "1", 0, 9), get("b", "", 10, 20)],
    "both swaps won": [put("a", "1", 0, 9), swap("a", "1", "2", 10, 20, found=True), swap("b", "1", "3", 10, 20, found=True)],
    "a swap failed without reason": [put("a", "1", 0, 9), swap("b", "1", "2", 10, 20, present=True, seen="1")],
    "removed twice": [put("a", "1", 0, 9), delete("a", 10, 20, found=True), delete("b", 30, 40, found=True)],
    "back from the dead": [put("a", "1", 0, 9), delete("a", 10, 20, found=True), get("b", "1", 30, 40)],
    "revisions against the clock": [put("a", "1", 0, 9, rev=7), put("a", "2", 10, 20, rev=5)],
    "one value at two revisions": [put("a", "1", 0, 9, rev=5), get("b", "1", 10, 20, rev=6)],
}


def peek(client, seen, call, back):
    return {**get(client, seen, call, back), "op": "peek"}


# Revisions are known from what is told through gRPC.
TOLD = [put("n1/grpc0", "1", 0, 9, rev=5), put("n1/grpc0", "2", 10, 19, rev=6)]

BEHIND = {
    "a plain read may be behind": [*TOLD, peek("n0/mount0", "1", 30, 40)],
    "also behind another mount": [*TOLD, peek("n1/mount0", "2", 20, 29), peek("n0/mount0", "1", 30, 40)],
    "beside each other two may see either": [*TOLD, peek("n0/mount0", "2", 20, 40), peek("n0/mount1", "1", 30, 50)],
    "what is here only may vanish": [*TOLD, put("n0/mount0", "3", 20, 30, result="unknown"), peek("n0/mount1", "3", 21, 22),
                                     peek("n0/mount1", "2", 31, 32), get("n1/grpc0", "3", 50, 60, rev=7)],
}

BACK = {
    "a plain read goes back": [*TOLD, peek("n0/mount0", "2", 20, 29), peek("n0/mount1", "1", 30, 40)],
    "a plain read misses its mount's write": [*TOLD, put("n0/mount0", "3", 20, 29), get("n1/grpc0", "3", 30, 40, rev=7),
                                              peek("n0/mount1", "2", 50, 60)],
    "a plain read misses what its mount read": [*TOLD, get("n0/mount0", "2", 20, 29), peek("n0/mount1", "1", 30, 40)],
}


@pytest.fixture
def judged(program, tmp_path):
    def judge(*histories):
        paths = []
        for number, history in enumerate(histories):
            paths.append(tmp_path / f"{number}.jsonl")
            paths[-1].write_text("".join(json.dumps(entry) + "\n" for entry in history))
        done = subprocess.run([program, "check", *paths], capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    return judge


@pytest.mark.parametrize("name", RIGHT)
def test_right(judged, name):
    assert judged(RIGHT[name])[0] == 0


@pytest.mark.parametrize("name", WRONG)
def test_wrong(judged, name):
    status, said = judged(WRONG[name])
    assert status == 1 and "NOT LINEARIZABLE k:" in said


@pytest.mark.parametrize("name", BEHIND)
def test_behind(judged, name):
    assert judged(BEHIND[name])[0] == 0


@pytest.mark.parametrize("name", BACK)
def test_back(judged, name):
    status, said = judged(BACK[name])
    assert status == 1 and "GOES BACK k: on the mount of n0" in said


def long_history(rounds):
    """Many clients that take turns, and what each saw."""
    history, now, value = [], 0, None
    for i in range(rounds):
        kind = (put, get, get, swap, get, delete, put, get)[i % 8]
        now += 10
        if kind is get:
            history.append(get(f"c{i % 7}", value, now, now + 5))
        elif kind is put:
            value = f"v{i}"
            history.append(put(f"c{i % 7}", value, now, now + 5))
        elif kind is swap:
            history.append(swap(f"c{i % 7}", value, f"v{i}", now, now + 5, found=True))
            value = f"v{i}"
        else:
            history.append(delete(f"c{i % 7}", now, now + 5, found=value is not None))
            value = None
    return history


def test_the_part_that_is_shown_is_short(judged):
    """One read in a thousand is stale by two writes: what comes before and after does not matter."""
    history = long_history(1000)
    assert judged(history)[0] == 0
    stale = next(i for i in range(500, 1000) if history[i]["op"] == "get" and history[i]["found"])
    old = next(entry["value"] for entry in reversed(history[: stale - 10]) if entry["op"] == "put")
    history[stale] = {**history[stale], "seen": old}
    status, said = judged(history)
    shown = [text for text in said.splitlines() if text.startswith("  ")]
    assert status == 1 and "whatever came before" in said
    assert len(shown) <= 3 and json.dumps(history[stale]["call"]) in said, said


def test_a_key_in_several_histories_is_one(judged):
    assert judged(WRONG["stale read"][:2], WRONG["stale read"][2:])[0] == 1


@pytest.mark.parametrize("spoilt", [{"op": "pet"}, {"result": "fine"}, {"colour": "red"}, {"return": -1}])
def test_what_is_no_history_is_refused(judged, spoilt):
    assert judged([{**put("a", "1", 0, 9), **spoilt}])[0] == 2
