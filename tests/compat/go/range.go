// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

func sectionRange(s *session) {
	for _, key := range []string{"range/a", "range/b", "range/c", "range/\xff", "range/\xff\xff"} {
		s.put(key, "of "+key)
	}
	s.put("range/b", "again")
	s.remove("range/c")
	for _, r := range []struct{ name, key, end string }{
		{"prefix", "range/", "range0"}, {"single", "range/a", ""}, {"empty interval", "range/b", "range/b"}, {"backwards", "range/c", "range/a"},
		{"half open", "range/a", "range/b"}, {"just after", "range/a", "range/a\x00"}, {"high bytes", "range/\xff", "range0"},
		{"no key", "", ""}, {"no key with end", "", "range0"}, {"key 0", "\x00", ""}, {"unprintable end", "range/\xff", "range/\xff\x01"},
	} {
		s.tryRange(r.name, &pb.RangeRequest{Key: []byte(r.key), RangeEnd: []byte(r.end)})
		s.tryRange(r.name+", keys only", &pb.RangeRequest{Key: []byte(r.key), RangeEnd: []byte(r.end), KeysOnly: true})
		s.tryRange(r.name+", count only", &pb.RangeRequest{Key: []byte(r.key), RangeEnd: []byte(r.end), CountOnly: true})
		s.tryRange(r.name+", serializable", &pb.RangeRequest{Key: []byte(r.key), RangeEnd: []byte(r.end), Serializable: true})
	}
	prefix := func(change func(*pb.RangeRequest)) *pb.RangeRequest {
		request := &pb.RangeRequest{Key: []byte("range/"), RangeEnd: []byte("range0")}
		change(request)
		return request
	}
	for back := int64(-2); back < 9; back++ {
		s.tryRange(fmt.Sprintf("revision +%d", back), prefix(func(r *pb.RangeRequest) { r.Revision = max(s.base+back, -1) }))
	}
	s.tryRange("negative revision", prefix(func(r *pb.RangeRequest) { r.Revision = -5 }))
	s.tryRange("negative limit", prefix(func(r *pb.RangeRequest) { r.Limit = -1 }))
	for limit := int64(1); limit < 6; limit++ {
		s.tryRange(fmt.Sprintf("limit %d", limit), prefix(func(r *pb.RangeRequest) { r.Limit = limit }))
	}
	s.tryRange("unknown sort target", prefix(func(r *pb.RangeRequest) { r.SortTarget = 9 }))
	s.tryRange("unknown sort order", prefix(func(r *pb.RangeRequest) { r.SortOrder = 9 }))
	s.tryRange("target without order", prefix(func(r *pb.RangeRequest) { r.SortTarget = pb.RangeRequest_MOD }))
	s.tryRange("target without order, limited", prefix(func(r *pb.RangeRequest) { r.SortTarget, r.Limit = pb.RangeRequest_MOD, 2 }))
	for order := int32(1); order < 3; order++ {
		for target := int32(0); target < 5; target++ {
			s.tryRange(fmt.Sprintf("sorted %d %d", order, target), prefix(func(r *pb.RangeRequest) {
				r.SortOrder, r.SortTarget = pb.RangeRequest_SortOrder(order), pb.RangeRequest_SortTarget(target)
				r.MinModRevision, r.Limit = s.base+2, 1
				if target == int32(pb.RangeRequest_VERSION) {
					r.MinModRevision = s.base + 6 // versions differ only there
				}
			}))
		}
	}
	for revision := int64(1); revision < 8; revision += 2 {
		s.tryRange(fmt.Sprintf("min mod +%d", revision), prefix(func(r *pb.RangeRequest) { r.MinModRevision = s.base + revision }))
		s.tryRange(fmt.Sprintf("max mod +%d", revision), prefix(func(r *pb.RangeRequest) { r.MaxModRevision = s.base + revision }))
		s.tryRange(fmt.Sprintf("min create +%d", revision), prefix(func(r *pb.RangeRequest) { r.MinCreateRevision = s.base + revision }))
		s.tryRange(fmt.Sprintf("max create +%d", revision), prefix(func(r *pb.RangeRequest) { r.MaxCreateRevision = s.base + revision }))
	}
	s.tryRange("filtered count", prefix(func(r *pb.RangeRequest) { r.MinModRevision, r.CountOnly = s.base+5, true }))

	s.tryPut("put with previous", &pb.PutRequest{Key: []byte("range/a"), Value: []byte("2"), PrevKv: true})
	s.tryPut("put without key", &pb.PutRequest{Value: []byte("2")})
	s.tryPut("put with unknown lease", &pb.PutRequest{Key: []byte("range/a"), Lease: 77})
	s.tryPut("value and ignore_value", &pb.PutRequest{Key: []byte("range/a"), Value: []byte("2"), IgnoreValue: true})
	s.tryPut("lease and ignore_lease", &pb.PutRequest{Key: []byte("range/a"), Lease: 77, IgnoreLease: true})
	s.tryPut("ignore_value of a deleted key", &pb.PutRequest{Key: []byte("range/c"), IgnoreValue: true})
	s.tryPut("put a deleted key", &pb.PutRequest{Key: []byte("range/c"), PrevKv: true})
	s.tryDelete("delete backwards", &pb.DeleteRangeRequest{Key: []byte("range/c"), RangeEnd: []byte("range/a"), PrevKv: true})
	s.tryDelete("delete without key", &pb.DeleteRangeRequest{})
	s.tryDelete("delete without key, with end", &pb.DeleteRangeRequest{RangeEnd: []byte("x")})
	s.tryDelete("delete two", &pb.DeleteRangeRequest{Key: []byte("range/b"), RangeEnd: []byte("range/d"), PrevKv: true})
	s.tryDelete("delete all", &pb.DeleteRangeRequest{Key: []byte("range/"), RangeEnd: []byte("range0"), PrevKv: true})
	s.tryDelete("delete none", &pb.DeleteRangeRequest{Key: []byte("range/"), RangeEnd: []byte("range0"), PrevKv: true})
}

// sectionBigRange reads answers of many messages' worth of windows: 3000 keys, then 24 MB.
func sectionBigRange(s *session) {
	ctx := context.Background()
	const keys, batch = 3000, 100
	for at := 0; at < keys; at += batch {
		list := repeat(batch, func(i int) *pb.RequestOp { return opPut(fmt.Sprintf("big/%06d", at+i), fmt.Sprintf("value %d", at+i)) })
		_, err := s.kv.Txn(ctx, txnOf(nil, list, nil))
		check(err)
	}
	summary := func(name string, request *pb.RangeRequest) {
		response, err := s.kv.Range(ctx, request)
		if err != nil {
			say("%s: %s", name, failure(err))
			return
		}
		sum := sha256.New()
		for _, kv := range response.Kvs {
			fmt.Fprintln(sum, s.pair(kv))
			sum.Write(kv.Value)
		}
		say("%s: %s count %d more %t kvs %d sum %x", name, s.header(response.Header), response.Count, response.More, len(response.Kvs), sum.Sum(nil)[:8])
	}
	for _, limit := range []int64{0, 1, 2, 1000, 2999, 3000, 3001} {
		summary(fmt.Sprintf("limit %d", limit), &pb.RangeRequest{Key: []byte("big/"), RangeEnd: []byte("big0"), Limit: limit})
	}
	summary("descending", &pb.RangeRequest{Key: []byte("big/"), RangeEnd: []byte("big0"), SortOrder: pb.RangeRequest_DESCEND})
	summary("by value", &pb.RangeRequest{Key: []byte("big/"), RangeEnd: []byte("big0"), SortOrder: pb.RangeRequest_DESCEND, SortTarget: pb.RangeRequest_VALUE, Limit: 50})
	summary("keys only", &pb.RangeRequest{Key: []byte("big/"), RangeEnd: []byte("big0"), KeysOnly: true})
	summary("half way back", &pb.RangeRequest{Key: []byte("big/"), RangeEnd: []byte("big0"), Revision: s.base + keys/batch/2})
	pages, from, total := 0, "big/", 0
	for more := true; more; pages++ {
		response, err := s.kv.Range(ctx, &pb.RangeRequest{Key: []byte(from), RangeEnd: []byte("big0"), Limit: 333, Revision: s.base + keys/batch})
		check(err)
		total += len(response.Kvs)
		from = string(response.Kvs[len(response.Kvs)-1].Key) + "\x00"
		more = response.More
	}
	say("%d pages with %d keys", pages, total)

	value := make([]byte, 1<<20)
	for i := range value {
		value[i] = byte(i * 7)
	}
	for i := 0; i < 24; i++ {
		s.put(fmt.Sprintf("huge/%02d", i), string(value))
	}
	summary("24 MB", &pb.RangeRequest{Key: []byte("huge/"), RangeEnd: []byte("huge0")})
	var wait sync.WaitGroup
	lengths := make([]int, 8)
	for i := range lengths {
		wait.Add(1)
		go func() {
			defer wait.Done()
			response, err := s.kv.Range(ctx, &pb.RangeRequest{Key: []byte("huge/"), RangeEnd: []byte("huge0"), Limit: int64(i + 1), Serializable: i%2 == 1})
			if err == nil {
				lengths[i] = len(response.Kvs)
			}
		}()
	}
	wait.Wait()
	say("beside each other: %v", lengths)
	s.tryDelete("delete 3000", &pb.DeleteRangeRequest{Key: []byte("big/"), RangeEnd: []byte("big0")})
	s.tryDelete("delete 24 MB", &pb.DeleteRangeRequest{Key: []byte("huge/"), RangeEnd: []byte("huge0")})
}

// sectionConcurrent: what order concurrent puts get is open; that it is one order is not.
func sectionConcurrent(s *session) {
	const writers, puts = 16, 50
	var wait sync.WaitGroup
	revisions := make(chan int64, writers*puts)
	for w := 0; w < writers; w++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			last := int64(0)
			for i := 0; i < puts; i++ {
				revision := s.put(fmt.Sprintf("concurrent/%02d", w), fmt.Sprint(i))
				if revision <= last {
					say("FAILED: a writer saw revision %d after %d", revision, last)
				}
				last = revision
				revisions <- revision
			}
		}()
	}
	wait.Wait()
	close(revisions)
	seen := map[int64]bool{}
	for revision := range revisions {
		seen[revision] = true
	}
	say("%d distinct revisions, now %s", len(seen), s.rev(s.revision()))
	response, err := s.kv.Range(context.Background(), &pb.RangeRequest{Key: []byte("concurrent/"), RangeEnd: []byte("concurrent0")})
	check(err)
	for _, kv := range response.Kvs {
		say("%s=%s version %d, its revision given %t", kv.Key, kv.Value, kv.Version, seen[kv.ModRevision])
	}

	// A counter incremented by compare and swap loses nothing.
	s.put("concurrent", "0")
	const counters, steps = 8, 20
	for c := 0; c < counters; c++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for done := 0; done < steps; {
				now, err := s.kv.Range(context.Background(), &pb.RangeRequest{Key: []byte("concurrent")})
				check(err)
				var n int
				fmt.Sscan(string(now.Kvs[0].Value), &n)
				compare := &pb.Compare{Key: []byte("concurrent"), Target: pb.Compare_MOD, TargetUnion: &pb.Compare_ModRevision{ModRevision: now.Kvs[0].ModRevision}}
				swap, err := s.kv.Txn(context.Background(), txnOf([]*pb.Compare{compare}, ops(opPut("concurrent", fmt.Sprint(n+1))), nil))
				check(err)
				if swap.Succeeded {
					done++
				}
			}
		}()
	}
	wait.Wait()
	s.tryRange("counter", &pb.RangeRequest{Key: []byte("concurrent")})
}

func sectionCluster(s *session) {
	ctx, cancel := within()
	defer cancel()
	for _, linearizable := range []bool{true, false} {
		members, err := pb.NewClusterClient(s.conn).MemberList(ctx, &pb.MemberListRequest{Linearizable: linearizable})
		if err != nil {
			say("members: %s", failure(err))
			continue
		}
		say("members: %s", s.header(members.Header))
		for _, m := range members.Members {
			say("  name %q id %t is answering %t peers %d clients %d learner %t", m.Name, m.ID != 0, m.ID == members.Header.MemberId, len(m.PeerURLs), len(m.ClientURLs), m.IsLearner)
		}
	}
	maintenance := pb.NewMaintenanceClient(s.conn)
	if st, err := maintenance.Status(ctx, &pb.StatusRequest{}); err != nil {
		say("status: %s", failure(err))
	} else {
		say("status: %s leads %t size %t in use %t index %t applied %t term %t learner %t errors %v", s.header(st.Header), st.Leader == st.Header.MemberId,
			st.DbSize > 0, st.DbSizeInUse > 0, st.RaftIndex > 0, st.RaftAppliedIndex > 0, st.RaftTerm == st.Header.RaftTerm, st.IsLearner, st.Errors)
	}
	if alarms, err := maintenance.Alarm(ctx, &pb.AlarmRequest{}); err != nil {
		say("alarms: %s", failure(err))
	} else {
		say("alarms: %s %v", s.header(alarms.Header), alarms.Alarms)
	}
}

// sectionGRPC: what the transport answers. Texts that belong to a gRPC library are not compared, codes are.
func sectionGRPC(s *session) {
	ctx, cancel := within()
	defer cancel()
	for _, path := range []string{"/etcdserverpb.KV/Nothing", "/etcdserverpb.Nothing/Range", "/nothing", "/etcdserverpb.KV/"} {
		say("%s: %v", path, status.Code(s.conn.Invoke(ctx, path, &emptypb.Empty{}, &emptypb.Empty{})))
	}
	// field 1 of Range is bytes; here it comes as a group that nobody closes
	say("malformed: %v", status.Code(s.conn.Invoke(ctx, "/etcdserverpb.KV/Range", []byte{0x0b, 0x12}, &emptypb.Empty{}, grpc.ForceCodec(rawCodec{}))))
	say("unknown fields: %v", status.Code(s.conn.Invoke(ctx, "/etcdserverpb.KV/Range", []byte{0x0a, 1, 'k', 0xfa, 0x3e, 2, 'h', 'i'}, &emptypb.Empty{}, grpc.ForceCodec(rawCodec{}))))
	say("empty message: %v", status.Code(s.conn.Invoke(ctx, "/etcdserverpb.KV/Range", []byte{}, &emptypb.Empty{}, grpc.ForceCodec(rawCodec{}))))
	for _, size := range []int{1 << 20, 1500 << 10, 1600 << 10, 3 << 20, 20 << 20} {
		_, err := s.kv.Put(ctx, &pb.PutRequest{Key: []byte("grpc"), Value: make([]byte, size)})
		say("put of %d KiB: %v", size>>10, status.Code(err))
	}
	late, stop := context.WithTimeout(context.Background(), 1)
	defer stop()
	_, err := s.kv.Range(late, &pb.RangeRequest{Key: []byte("k")})
	say("no time: %v", status.Code(err))
	s.tryRange("still there", &pb.RangeRequest{Key: []byte("grpc"), KeysOnly: true})

	// more streams than any server allows at once: they queue
	var wait sync.WaitGroup
	failures := make(chan error, 2000)
	for i := 0; i < 2000; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			if _, err := s.kv.Range(ctx, &pb.RangeRequest{Key: []byte("grpc"), CountOnly: true}); err != nil {
				failures <- err
			}
		}()
	}
	wait.Wait()
	say("of 2000 calls at once %d failed", len(failures))
}

// rawCodec sends bytes as they are and ignores what comes back.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) {
	if b, ok := v.([]byte); ok {
		return b, nil
	}
	return nil, errors.New("bytes only")
}
func (rawCodec) Unmarshal([]byte, any) error { return nil }
func (rawCodec) Name() string                { return "proto" }
