// SPDX-License-Identifier: Apache-2.0

// Command compat-client asks a server of the etcd v3 API what etcdctl cannot ask, and prints what it answers as a transcript that is
// equal for equal servers: revisions count from the start of a section, ids and terms are left out, what concurrency leaves open is
// reduced to the claims that must hold. tests/compat/test_client.py compares the transcripts of etcd and raftd.
//
//	compat-client ENDPOINT SECTION
package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

const (
	callTimeout  = 10 * time.Second
	messageBytes = 64 << 20 // more than any message here, in both directions
)

// session is what a section works with: the client, the stubs below it, and the revision at which the section began.
type session struct {
	conn  *grpc.ClientConn
	kv    pb.KVClient
	watch pb.WatchClient
	base  int64
}

var sections = map[string]func(*session){
	"bigrange":   sectionBigRange,
	"cluster":    sectionCluster,
	"concurrent": sectionConcurrent,
	"grpc":       sectionGRPC,
	"nested":     sectionNested,
	"range":      sectionRange,
	"txn":        sectionTxn,
	"watch":      sectionWatch,
	"watchbig":   sectionWatchBig,
	"watcherror": sectionWatchError,
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--list" {
		names := make([]string, 0, len(sections))
		for name := range sections {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Println(strings.Join(names, "\n"))
		return
	}
	if len(os.Args) != 3 || sections[os.Args[2]] == nil {
		fmt.Fprintln(os.Stderr, "usage: compat-client ENDPOINT SECTION | --list")
		os.Exit(2)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{os.Args[1]},
		DialTimeout: callTimeout,
		Logger:      zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(messageBytes), grpc.MaxCallRecvMsgSize(messageBytes)),
		},
	})
	check(err)
	defer client.Close()
	s := &session{conn: client.ActiveConnection()}
	s.kv, s.watch = pb.NewKVClient(s.conn), pb.NewWatchClient(s.conn)
	s.base = s.revision()
	sections[os.Args[2]](s)
}

// check ends the program on what is no answer of the server but a failure of the test.
func check(err error) {
	if err != nil {
		fmt.Printf("FAILED: %v\n", err)
		os.Exit(1)
	}
}

func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), callTimeout)
}

func say(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
}

func (s *session) revision() int64 {
	ctx, cancel := within()
	defer cancel()
	response, err := s.kv.Range(ctx, &pb.RangeRequest{Key: []byte("revision")})
	check(err)
	return response.Header.Revision
}

// rev shows a revision relative to the section's start; 0 and less mean something else than a point in time.
func (s *session) rev(revision int64) string {
	if revision <= 0 {
		return fmt.Sprint(revision)
	}
	return fmt.Sprintf("+%d", revision-s.base)
}

func failure(err error) string {
	st, _ := status.FromError(err)
	return fmt.Sprintf("%v: %s", st.Code(), st.Message())
}

// text shows bytes, the middle of long ones as their length.
func text(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%q...%d", b[:16], len(b))
	}
	return fmt.Sprintf("%q", b)
}

func (s *session) pair(kv *mvccpb.KeyValue) string {
	if kv == nil {
		return "none"
	}
	return fmt.Sprintf("{%s=%s create %s mod %s version %d lease %d}", text(kv.Key), text(kv.Value), s.rev(kv.CreateRevision),
		s.rev(kv.ModRevision), kv.Version, kv.Lease)
}

func (s *session) pairs(kvs []*mvccpb.KeyValue) string {
	out := make([]string, len(kvs))
	for i, kv := range kvs {
		out[i] = s.pair(kv)
	}
	return "[" + strings.Join(out, " ") + "]"
}

// header shows which parts are set; ids and term only as being there.
func (s *session) header(h *pb.ResponseHeader) string {
	if h == nil {
		return "no header"
	}
	return fmt.Sprintf("at %s ids %t %t term %t", s.rev(h.Revision), h.ClusterId != 0, h.MemberId != 0, h.RaftTerm != 0)
}

func (s *session) rangeText(r *pb.RangeResponse) string {
	return fmt.Sprintf("range %s count %d more %t %s", s.header(r.Header), r.Count, r.More, s.pairs(r.Kvs))
}

func (s *session) putText(r *pb.PutResponse) string {
	return fmt.Sprintf("put %s prev %s", s.header(r.Header), s.pair(r.PrevKv))
}

func (s *session) deleteText(r *pb.DeleteRangeResponse) string {
	return fmt.Sprintf("delete %s deleted %d prev %s", s.header(r.Header), r.Deleted, s.pairs(r.PrevKvs))
}

func (s *session) txnText(r *pb.TxnResponse, indent string) string {
	out := fmt.Sprintf("txn %s succeeded %t", s.header(r.Header), r.Succeeded)
	for _, op := range r.Responses {
		out += "\n" + indent + "  "
		switch {
		case op.GetResponseRange() != nil:
			out += s.rangeText(op.GetResponseRange())
		case op.GetResponsePut() != nil:
			out += s.putText(op.GetResponsePut())
		case op.GetResponseDeleteRange() != nil:
			out += s.deleteText(op.GetResponseDeleteRange())
		case op.GetResponseTxn() != nil:
			out += s.txnText(op.GetResponseTxn(), indent+"  ")
		default:
			out += "nothing"
		}
	}
	return out
}

func (s *session) tryRange(name string, request *pb.RangeRequest) *pb.RangeResponse {
	ctx, cancel := within()
	defer cancel()
	response, err := s.kv.Range(ctx, request)
	if err != nil {
		say("%s: %s", name, failure(err))
		return nil
	}
	say("%s: %s", name, s.rangeText(response))
	return response
}

func (s *session) tryPut(name string, request *pb.PutRequest) {
	ctx, cancel := within()
	defer cancel()
	if response, err := s.kv.Put(ctx, request); err != nil {
		say("%s: %s", name, failure(err))
	} else {
		say("%s: %s", name, s.putText(response))
	}
}

func (s *session) tryDelete(name string, request *pb.DeleteRangeRequest) {
	ctx, cancel := within()
	defer cancel()
	if response, err := s.kv.DeleteRange(ctx, request); err != nil {
		say("%s: %s", name, failure(err))
	} else {
		say("%s: %s", name, s.deleteText(response))
	}
}

func (s *session) tryTxn(name string, request *pb.TxnRequest) {
	ctx, cancel := within()
	defer cancel()
	if response, err := s.kv.Txn(ctx, request); err != nil {
		say("%s: %s", name, failure(err))
	} else {
		say("%s: %s", name, s.txnText(response, ""))
	}
}

// put without a word in the transcript.
func (s *session) put(key, value string) int64 {
	ctx, cancel := within()
	defer cancel()
	response, err := s.kv.Put(ctx, &pb.PutRequest{Key: []byte(key), Value: []byte(value)})
	check(err)
	return response.Header.Revision
}

func (s *session) remove(key string) int64 {
	ctx, cancel := within()
	defer cancel()
	response, err := s.kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte(key)})
	check(err)
	return response.Header.Revision
}

func end(prefix string) []byte {
	return []byte(clientv3.GetPrefixRangeEnd(prefix))
}
