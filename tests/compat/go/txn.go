// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

func opPut(key, value string) *pb.RequestOp {
	return putOp(&pb.PutRequest{Key: []byte(key), Value: []byte(value)})
}

func putOp(request *pb.PutRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: request}}
}

func opGet(key string) *pb.RequestOp {
	return rangeOp(&pb.RangeRequest{Key: []byte(key)})
}

func rangeOp(request *pb.RangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: request}}
}

func opDelete(key string, rangeEnd []byte) *pb.RequestOp {
	request := &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: rangeEnd, PrevKv: true}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: request}}
}

func opTxn(compares []*pb.Compare, success, failure []*pb.RequestOp) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: txnOf(compares, success, failure)}}
}

func txnOf(compares []*pb.Compare, success, failure []*pb.RequestOp) *pb.TxnRequest {
	return &pb.TxnRequest{Compare: compares, Success: success, Failure: failure}
}

func ops(list ...*pb.RequestOp) []*pb.RequestOp { return list }

func ifVersion(key string, version int64) []*pb.Compare {
	return []*pb.Compare{{
		Key: []byte(key), Target: pb.Compare_VERSION, Result: pb.Compare_EQUAL,
		TargetUnion: &pb.Compare_Version{Version: version},
	}}
}

// repeat makes n operations of one kind.
func repeat(n int, op func(i int) *pb.RequestOp) []*pb.RequestOp {
	list := make([]*pb.RequestOp, n)
	for i := range list {
		list[i] = op(i)
	}
	return list
}

func sectionTxn(s *session) {
	s.put("txn/a", "1")
	s.put("txn/b", "2")
	s.put("txn/b", "3")
	prefix := end("txn/")
	ranges := []struct {
		name     string
		key, end string
	}{
		{"both", "txn/", string(prefix)}, {"first", "txn/a", "txn/b"}, {"empty", "txn/x", "txn/y"}, {"backwards", "txn/b", "txn/a"},
		{"from b", "txn/b", "\x00"}, {"missing", "txn/none", ""},
	}
	for _, r := range ranges {
		for target := int32(0); target < 5; target++ {
			for result := int32(0); result < 4; result++ {
				compare := &pb.Compare{
					Key: []byte(r.key), RangeEnd: []byte(r.end),
					Target: pb.Compare_CompareTarget(target), Result: pb.Compare_CompareResult(result),
				}
				s.tryTxn(fmt.Sprintf("unset %s %v %v", r.name, compare.Target, compare.Result), txnOf([]*pb.Compare{compare}, nil, nil))
			}
		}
		for version := int64(0); version < 4; version++ {
			compare := ifVersion(r.key, version)
			compare[0].RangeEnd = []byte(r.end)
			compare[0].Result = pb.Compare_GREATER
			s.tryTxn(fmt.Sprintf("version of %s > %d", r.name, version), txnOf(compare, nil, nil))
		}
	}

	get := func(revision int64) *pb.RequestOp {
		return rangeOp(&pb.RangeRequest{Key: []byte("txn/"), RangeEnd: prefix, Revision: revision})
	}
	s.tryTxn("sees its own changes", txnOf(nil, ops(get(0), opPut("txn/c", "4"), get(0), opDelete("txn/a", nil), get(0), opDelete("txn/a", nil)), nil))
	s.tryTxn("reads only", txnOf(nil, ops(get(0), get(s.base+1), get(s.base)), nil))
	s.tryTxn("old revision beside a change", txnOf(nil, ops(opPut("txn/d", "5"), get(s.base+2), get(0)), nil))
	s.tryTxn("its own revision", txnOf(nil, ops(opPut("txn/d", "6"), get(s.revision()+1)), nil))
	s.tryTxn("future revision", txnOf(nil, ops(get(s.revision()+1)), nil))
	s.tryTxn("negative revision", txnOf(nil, ops(get(-1)), nil))
	s.tryTxn("more negative revision", txnOf(nil, ops(get(-2)), nil))
	s.tryTxn("negative revision beside a change", txnOf(nil, ops(opPut("txn/d", "6"), get(-1)), nil))
	s.tryTxn("more negative revision beside a change", txnOf(nil, ops(opPut("txn/d", "7"), get(-1<<62)), nil))
	s.tryTxn("sorted inside", txnOf(nil, ops(rangeOp(&pb.RangeRequest{Key: []byte("txn/"), RangeEnd: prefix, Limit: 2,
		SortOrder: pb.RangeRequest_DESCEND, SortTarget: pb.RangeRequest_MOD})), nil))
	s.tryTxn("deletes overlap", txnOf(nil, ops(opDelete("txn/", prefix), opDelete("txn/b", nil)), nil))
	s.tryTxn("deletes nothing", txnOf(nil, ops(opDelete("txn/", prefix)), nil))
	s.tryTxn("no operations", txnOf(nil, nil, nil))
	s.tryTxn("compare without key", txnOf([]*pb.Compare{{}}, nil, nil))
	s.tryTxn("operation without request", txnOf(nil, ops(&pb.RequestOp{}), nil))
	s.tryTxn("put without key", txnOf(nil, ops(opPut("", "1")), nil))
	s.tryTxn("range without key", txnOf(nil, ops(opGet("")), nil))
	s.tryTxn("delete without key", txnOf(nil, ops(opDelete("", nil)), nil))
	s.tryTxn("errors in the other branch", txnOf(nil, ops(opGet("txn/a")), ops(opPut("", "1"))))
	s.tryTxn("value with ignore_value", txnOf(nil, ops(putOp(&pb.PutRequest{Key: []byte("txn/a"), Value: []byte("1"), IgnoreValue: true})), nil))
	s.tryTxn("lease with ignore_lease", txnOf(nil, ops(putOp(&pb.PutRequest{Key: []byte("txn/a"), Lease: 9, IgnoreLease: true})), nil))
	s.tryTxn("ignore_value of a missing key", txnOf(nil, ops(putOp(&pb.PutRequest{Key: []byte("txn/none"), IgnoreValue: true})), nil))
	s.tryTxn("unknown lease", txnOf(nil, ops(opPut("txn/e", "1"), putOp(&pb.PutRequest{Key: []byte("txn/f"), Lease: 9})), nil))
	s.tryTxn("unknown lease in the branch not taken", txnOf(nil, ops(opPut("txn/e", "1")), ops(putOp(&pb.PutRequest{Key: []byte("txn/f"), Lease: 9}))))
	s.tryTxn("previous pairs", txnOf(nil, ops(putOp(&pb.PutRequest{Key: []byte("txn/e"), Value: []byte("2"), PrevKv: true}),
		putOp(&pb.PutRequest{Key: []byte("txn/g"), PrevKv: true}), putOp(&pb.PutRequest{Key: []byte("txn/h")})), nil))
	s.tryTxn("128 operations", txnOf(nil, repeat(128, func(i int) *pb.RequestOp { return opPut(fmt.Sprintf("txn/many/%d", i), "") }), nil))
	s.tryTxn("129 operations", txnOf(nil, repeat(129, func(i int) *pb.RequestOp { return opPut(fmt.Sprintf("txn/many/%d", i), "") }), nil))
	s.tryRange("what is left", &pb.RangeRequest{Key: []byte("txn/"), RangeEnd: prefix, Limit: 3})
}

func sectionNested(s *session) {
	prefix := end("nest/")
	all := func() *pb.RequestOp { return rangeOp(&pb.RangeRequest{Key: []byte("nest/"), RangeEnd: prefix}) }
	s.tryTxn("one level", txnOf(nil, ops(opTxn(nil, ops(opPut("nest/a", "1"), all()), nil), all()), nil))
	s.tryTxn("three levels", txnOf(nil, ops(opPut("nest/b", "1"), opTxn(nil, ops(opPut("nest/c", "1"),
		opTxn(nil, ops(opPut("nest/d", "1"), all(), opTxn(nil, ops(all()), nil)), nil)), nil)), nil))
	// compares of nested transactions see the state before the whole
	s.tryTxn("compares before changes", txnOf(nil, ops(opPut("nest/new", "1"),
		opTxn(ifVersion("nest/new", 0), ops(opPut("nest/was", "absent")), ops(opPut("nest/was", "present")))), nil))
	s.tryTxn("inner failure", txnOf(nil, ops(opTxn(ifVersion("nest/new", 0), ops(opPut("nest/x", "1")), ops(opGet("nest/new"), opDelete("nest/was", nil)))), nil))
	s.tryTxn("outer failure", txnOf(ifVersion("nest/new", 0), ops(opTxn(nil, ops(opPut("nest/x", "1")), nil)), ops(opTxn(nil, ops(all()), nil))))
	s.tryTxn("read only inside", txnOf(nil, ops(opTxn(nil, ops(opGet("nest/a")), nil)), nil))
	s.tryTxn("empty inside", txnOf(nil, ops(opTxn(nil, nil, nil), opTxn(ifVersion("nest/a", 9), nil, nil)), nil))
	s.tryTxn("same key in both branches", txnOf(nil, ops(opTxn(nil, ops(opPut("nest/e", "then")), ops(opPut("nest/e", "else")))), nil))
	s.tryTxn("same key in two nested", txnOf(nil, ops(opTxn(nil, ops(opPut("nest/f", "1")), nil), opTxn(nil, ops(opPut("nest/f", "2")), nil)), nil))
	s.tryTxn("same key outside and inside", txnOf(nil, ops(opPut("nest/f", "1"), opTxn(nil, nil, ops(opPut("nest/f", "2")))), nil))
	s.tryTxn("put inside, delete outside", txnOf(nil, ops(opDelete("nest/", prefix), opTxn(nil, ops(opPut("nest/f", "2")), nil)), nil))
	s.tryTxn("delete inside, put outside", txnOf(nil, ops(opPut("nest/f", "1"), opTxn(nil, ops(opDelete("nest/", prefix)), nil)), nil))
	s.tryTxn("deletes inside and outside", txnOf(nil, ops(opDelete("nest/a", nil), opTxn(nil, ops(opDelete("nest/a", nil), all()), nil)), nil))
	s.tryTxn("no request inside", txnOf(nil, ops(opTxn(nil, ops(&pb.RequestOp{}), nil)), nil))
	s.tryTxn("no key inside", txnOf(nil, ops(opTxn(nil, nil, ops(opPut("", "1")))), nil))
	s.tryTxn("compare without key inside", txnOf(nil, ops(opTxn([]*pb.Compare{{}}, nil, nil)), nil))
	s.tryTxn("missing key inside, in the branch not taken", txnOf(nil, ops(opTxn(nil, ops(opGet("nest/a")),
		ops(putOp(&pb.PutRequest{Key: []byte("nest/none"), IgnoreValue: true})))), nil))
	s.tryTxn("future revision inside", txnOf(nil, ops(opPut("nest/z", "1"), opTxn(nil, ops(rangeOp(&pb.RangeRequest{Key: []byte("k"), Revision: 1 << 40})), nil)), nil))
	// the budget of a nested transaction is what the outer one left
	many := func(n int) []*pb.RequestOp {
		return repeat(n, func(i int) *pb.RequestOp { return opPut(fmt.Sprintf("nest/many/%d", i), "") })
	}
	for _, n := range []int{126, 127, 128} {
		s.tryTxn(fmt.Sprintf("1 and %d inside", n), txnOf(nil, ops(opTxn(nil, many(n), nil)), nil))
	}
	s.tryTxn("128 and 1 inside", txnOf(nil, append(many(127), opTxn(nil, ops(opGet("k")), nil)), nil))
	s.tryTxn("128 and none inside", txnOf(nil, append(many(127), opTxn(nil, nil, nil)), nil))
	s.tryTxn("two with 127 inside", txnOf(nil, ops(opTxn(nil, repeat(126, func(int) *pb.RequestOp { return opGet("nest/a") }), nil),
		opTxn(nil, many(126), nil)), nil))
	s.tryRange("what is left", &pb.RangeRequest{Key: []byte("nest/"), RangeEnd: prefix, Limit: 8})
}
