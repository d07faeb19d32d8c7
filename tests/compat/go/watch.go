// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sort"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/metadata"
)

const quietTime = 700 * time.Millisecond // nothing more comes, if nothing came for so long

// stream is one Watch call whose responses are read as they come.
type stream struct {
	s         *session
	call      pb.Watch_WatchClient
	cancel    context.CancelFunc
	responses chan *pb.WatchResponse
	failed    chan error
}

func (s *session) openStream(md ...string) *stream {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(), md...))
	call, err := s.watch.Watch(ctx)
	check(err)
	t := &stream{s: s, call: call, cancel: cancel, responses: make(chan *pb.WatchResponse, 10000), failed: make(chan error, 1)}
	go func() {
		for {
			response, err := call.Recv()
			if err != nil {
				t.failed <- err
				return
			}
			t.responses <- response
		}
	}()
	return t
}

func (t *stream) create(request *pb.WatchCreateRequest) {
	check(t.call.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: request}}))
}

func (t *stream) cancelWatch(id int64) {
	check(t.call.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}}}))
}

func (t *stream) askProgress() {
	check(t.call.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}))
}

// next is the next response; nil when there is none for so long, or the stream ended, which is said.
func (t *stream) next(timeout time.Duration) *pb.WatchResponse {
	select {
	case response := <-t.responses:
		return response
	case err := <-t.failed:
		say("  stream ended: %s", failure(err))
	case <-time.After(timeout):
	}
	return nil
}

func (t *stream) control(r *pb.WatchResponse) string {
	return fmt.Sprintf("watch %d %s created %t canceled %t compact %s reason %q", r.WatchId, t.s.header(r.Header), r.Created, r.Canceled,
		t.s.rev(r.CompactRevision), r.CancelReason)
}

func (t *stream) event(id int64, e *mvccpb.Event) string {
	return fmt.Sprintf("watch %d %v %s prev %s", id, e.Type, t.s.pair(e.Kv), t.s.pair(e.PrevKv))
}

// expect prints control responses and events until count events came. How events are grouped in responses is the server's affair,
// and so is which of two watches hears first.
func (t *stream) expect(name string, count int) {
	say("%s:", name)
	var responses []*pb.WatchResponse
	for count > 0 {
		response := t.next(callTimeout)
		if response == nil {
			say("  FAILED: %d events did not come", count)
			break
		}
		count -= len(response.Events)
		responses = append(responses, response)
	}
	sort.SliceStable(responses, func(i, k int) bool { return responses[i].WatchId < responses[k].WatchId })
	for _, response := range responses {
		t.show(response)
	}
}

// quiet claims that nothing more comes, and prints it if it does.
func (t *stream) quiet(name string) {
	say("%s:", name)
	for response := t.next(quietTime); response != nil; response = t.next(quietTime) {
		t.show(response)
	}
}

func (t *stream) show(response *pb.WatchResponse) {
	if len(response.Events) == 0 {
		say("  %s", t.control(response))
	}
	for _, e := range response.Events {
		say("  %s", t.event(response.WatchId, e))
		if response.Header.Revision < e.Kv.ModRevision {
			say("  FAILED: header older than its event")
		}
	}
}

// made waits for the answer to a create request.
func (t *stream) made(name string, request *pb.WatchCreateRequest) {
	t.create(request)
	say("%s:", name)
	if response := t.next(callTimeout); response != nil {
		t.show(response)
	}
}

func watchOf(prefix string, start int64) *pb.WatchCreateRequest {
	return &pb.WatchCreateRequest{Key: []byte(prefix), RangeEnd: end(prefix), StartRevision: start}
}

func sectionWatch(s *session) {
	s.put("watch/a", "1")
	s.put("watch/b", "1")
	s.put("watch/a", "2")
	s.remove("watch/b")
	s.tryTxn("three at once", txnOf(nil, ops(opPut("watch/c", "1"), opPut("watch/d", "1"), opDelete("watch/a", nil)), nil))

	history := s.openStream()
	history.made("from the start", watchOf("watch/", s.base+1))
	history.expect("history", 7)
	history.made("from the middle", watchOf("watch/", s.base+3))
	history.expect("half of the history", 5)
	history.made("one key", &pb.WatchCreateRequest{Key: []byte("watch/a"), StartRevision: s.base + 1})
	history.expect("history of one key", 3)
	history.made("until c", &pb.WatchCreateRequest{Key: []byte("watch/a"), RangeEnd: []byte("watch/c"), StartRevision: s.base + 1})
	history.expect("history of two keys", 5)
	history.cancel()

	previous := s.openStream()
	request := watchOf("watch/", s.base+1)
	request.PrevKv = true
	previous.made("with previous", request)
	previous.expect("history with previous", 7)
	request = watchOf("watch/", s.base+1)
	request.Filters = []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT}
	previous.made("no puts", request)
	previous.expect("deletes", 2)
	request = watchOf("watch/", s.base+1)
	request.Filters = []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE}
	previous.made("no deletes", request)
	previous.expect("puts", 5)
	request = watchOf("watch/", s.base+1)
	request.Filters = []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT, pb.WatchCreateRequest_NODELETE, 7}
	previous.made("nothing at all", request)
	previous.quiet("nothing")
	previous.cancel()

	live := s.openStream()
	live.made("from now on", watchOf("watch/", 0))
	live.quiet("no history")
	s.put("watch/e", "1")
	live.expect("a put", 1)
	s.put("unwatched", "1")
	s.remove("watch/e")
	live.expect("a delete", 1)
	s.tryDelete("many", &pb.DeleteRangeRequest{Key: []byte("watch/"), RangeEnd: end("watch/")})
	live.expect("deletes of one revision", 2)
	s.tryDelete("none", &pb.DeleteRangeRequest{Key: []byte("watch/"), RangeEnd: end("watch/")})
	s.tryTxn("delete and put", txnOf(nil, ops(opPut("watch/f", ""), opTxn(nil, ops(opPut("watch/g", "nested")), nil)), nil))
	live.expect("nested", 2)
	live.made("in the future", watchOf("watch/", s.revision()+3))
	live.cancelWatch(0)
	live.quiet("canceled")
	s.put("watch/too-early", "1")
	s.put("watch/still-too-early", "1")
	live.quiet("before its time")
	s.put("watch/in-time", "1")
	live.expect("in its time", 1)
	live.cancelWatch(1)
	live.cancelWatch(1)
	live.cancelWatch(99)
	live.quiet("canceled too")
	s.put("watch/late", "1")
	live.quiet("after the end")
	live.made("another", watchOf("watch/", 0))
	live.cancel()

	progress := s.openStream()
	progress.made("before progress", watchOf("watch/", 0))
	s.put("watch/p", "1")
	progress.expect("an event", 1)
	say("progress:")
	for range 50 { // dropped silently while a watch is not in step; so ask again
		progress.askProgress()
		if response := progress.next(200 * time.Millisecond); response != nil {
			progress.show(response)
			break
		}
	}
	progress.cancel()
	ordered(s)
}

// ordered: many watches, many puts; each watch gets all of them, once and in order.
func ordered(s *session) {
	const watches, puts = 20, 100
	t := s.openStream()
	for range watches {
		t.made("made", watchOf("ordered/", 0))
	}
	first := s.revision() + 1
	for i := range puts {
		s.put(fmt.Sprintf("ordered/%d", i%7), fmt.Sprint(i))
	}
	next := map[int64]int64{}
	for left := watches * puts; left > 0; {
		response := t.next(callTimeout)
		if response == nil {
			say("FAILED: %d events did not come", left)
			return
		}
		for _, e := range response.Events {
			if want := first + next[response.WatchId]; e.Kv.ModRevision != want {
				say("FAILED: watch %d got revision %d instead of %d", response.WatchId, e.Kv.ModRevision, want)
				return
			}
			next[response.WatchId]++
			left--
		}
	}
	say("%d watches got %d events each", len(next), puts)
	t.cancel()
}

func sectionWatchError(s *session) {
	s.put("watch/a", "1")
	t := s.openStream()
	t.made("own id", &pb.WatchCreateRequest{Key: []byte("watch/a"), WatchId: 7})
	t.made("the same id again", &pb.WatchCreateRequest{Key: []byte("watch/a"), WatchId: 7})
	t.made("the server's id", &pb.WatchCreateRequest{Key: []byte("watch/a")})
	t.made("negative revision", &pb.WatchCreateRequest{Key: []byte("watch/a"), StartRevision: -1})
	t.made("end before key", &pb.WatchCreateRequest{Key: []byte("watch/b"), RangeEnd: []byte("watch/a")})
	t.made("end equal to key", &pb.WatchCreateRequest{Key: []byte("watch/b"), RangeEnd: []byte("watch/b")})
	s.put("watch/a", "2")
	t.expect("events for both", 2)
	t.made("no key", &pb.WatchCreateRequest{})
	t.made("everything", &pb.WatchCreateRequest{RangeEnd: []byte{0}})
	s.put("watch/other", "1")
	t.expect("an event of everything", 1)
	check(t.call.Send(&pb.WatchRequest{}))
	t.quiet("an empty request")
	check(t.call.CloseSend())
	t.quiet("after the client's end")
	t.cancel()

	alone := s.openStream()
	alone.askProgress()
	alone.quiet("progress without a watch")
	alone.cancel()
	future := s.openStream()
	future.made("from a revision to come", watchOf("watch/", s.revision()+100))
	future.askProgress()
	future.quiet("progress before a watch's time")
	future.cancel()
	needy := s.openStream("hasleader", "true")
	needy.made("with a leader", watchOf("watch/", 0))
	needy.cancel()
}

// sectionWatchBig: one revision whose events do not fit in one message, in fragments and whole.
func sectionWatchBig(s *session) {
	const keys, valueBytes = 120, 11000
	value := string(make([]byte, valueBytes))
	list := func() []*pb.RequestOp {
		return repeat(keys, func(i int) *pb.RequestOp { return opPut(fmt.Sprintf("watchbig/%03d", i), value) })
	}
	for range 2 {
		_, err := s.kv.Txn(context.Background(), txnOf(nil, list(), nil))
		check(err)
	}
	for _, fragment := range []bool{true, false} {
		t := s.openStream()
		request := watchOf("watchbig/", s.base+2)
		request.PrevKv, request.Fragment = true, fragment
		t.made(fmt.Sprintf("fragment %t", fragment), request)
		responses, events, flagged := 0, 0, 0
		for events < keys {
			response := t.next(callTimeout)
			if response == nil {
				say("FAILED: only %d events came", events)
				break
			}
			for _, e := range response.Events {
				if string(e.Kv.Key) != fmt.Sprintf("watchbig/%03d", events) || len(e.PrevKv.GetValue()) != valueBytes {
					say("FAILED: event %d is %s", events, t.event(response.WatchId, e))
				}
				events++
			}
			responses++
			if response.Fragment {
				flagged++
			}
		}
		say("%d events, in several responses %t, all but the last flagged %t", events, responses > 1, flagged == responses-1)
		t.cancel()
	}
}
