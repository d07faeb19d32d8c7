// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// grpcStore is one member by etcd's API. Nothing is ever sent twice: the stubs are used as they are, without a client's repetitions.
type grpcStore struct {
	conn         *grpc.ClientConn
	kv           pb.KVClient
	timeout      time.Duration
	serializable bool
}

func newGRPCStore(endpoint string, timeout time.Duration, serializable bool) *grpcStore {
	quick := backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}
	conn, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: quick, MinConnectTimeout: time.Second}))
	if err != nil {
		panic(err)
	}
	return &grpcStore{conn: conn, kv: pb.NewKVClient(conn), timeout: timeout, serializable: serializable}
}

func (g *grpcStore) close() { g.conn.Close() }

// ready: a request to a member that is not there would only be one more of unknown outcome.
func (g *grpcStore) ready() bool {
	state := g.conn.GetState()
	if state == connectivity.Idle {
		g.conn.Connect()
	}
	return state == connectivity.Ready
}

func (g *grpcStore) kinds() []string {
	return []string{"get", "get", "get", "get", "get", "put", "put", "put", "cas", "cas", "cas", "delete"}
}

func (g *grpcStore) do(o *operation) {
	ctx, cancel := context.WithTimeout(context.Background(), g.timeout)
	defer cancel()
	var err error
	switch o.Op {
	case "get":
		err = g.get(ctx, o)
	case "put":
		err = g.put(ctx, o)
	case "delete":
		err = g.delete(ctx, o)
	case "cas":
		err = g.cas(ctx, o)
	}
	o.Result = resultOK
	if err != nil {
		o.Result = resultUnknown
		// The server's words for what it did not even begin; all else may have happened.
		if status.Code(err) == codes.ResourceExhausted && status.Convert(err).Message() == "etcdserver: too many requests" {
			o.Result = resultRefused
		}
	}
}

func (g *grpcStore) get(ctx context.Context, o *operation) error {
	answer, err := g.kv.Range(ctx, &pb.RangeRequest{Key: []byte(o.Key), Serializable: g.serializable})
	if err == nil {
		o.Found, o.Seen, o.Rev = seen(answer)
	}
	return err
}

func seen(answer *pb.RangeResponse) (bool, string, int64) {
	if len(answer.Kvs) == 0 {
		return false, "", 0
	}
	return true, string(answer.Kvs[0].Value), answer.Kvs[0].ModRevision
}

func (g *grpcStore) put(ctx context.Context, o *operation) error {
	answer, err := g.kv.Put(ctx, &pb.PutRequest{Key: []byte(o.Key), Value: []byte(o.Value)})
	if err == nil {
		o.Rev = answer.Header.Revision
	}
	return err
}

func (g *grpcStore) delete(ctx context.Context, o *operation) error {
	answer, err := g.kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte(o.Key)})
	if err == nil && answer.Deleted > 0 {
		o.Found, o.Rev = true, answer.Header.Revision
	}
	return err
}

func (g *grpcStore) cas(ctx context.Context, o *operation) error {
	key := []byte(o.Key)
	compare := &pb.Compare{Key: key, Target: pb.Compare_VALUE, TargetUnion: &pb.Compare_Value{Value: []byte(o.Expect)}}
	if o.Absent {
		compare = &pb.Compare{Key: key, Target: pb.Compare_CREATE, TargetUnion: &pb.Compare_CreateRevision{}}
	}
	answer, err := g.kv.Txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{compare},
		Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: []byte(o.Value)}}}},
		Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}},
	})
	if err != nil {
		return err
	}
	if o.Found = answer.Succeeded; o.Found {
		o.Rev = answer.Header.Revision
	} else {
		o.Present, o.Seen, o.Rev = seen(answer.Responses[0].GetResponseRange())
	}
	return nil
}
