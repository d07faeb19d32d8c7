// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// All values are of one length: of two writers of one file on one mount each replaces all that the other wrote.
	valueFormat = "%-24s"
	refusedRest = 30 * time.Millisecond // after a refusal, which may come at once
	lastSeconds = 20                    // for the last reads of all keys, once the faults are over
	hangSeconds = 15                    // past the end, far longer than any operation may take
)

// now is CLOCK_MONOTONIC, which all processes of this machine share.
func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}

// store is one way to the keys. Each fills in how the operation ended; ready says whether an operation would get under way.
type store interface {
	ready() bool
	do(o *operation)
	kinds() []string // what it can do, as often as it is to be done
}

type settings struct {
	out, prefix    string
	seed           int64
	keys           int
	pause, timeout time.Duration
	pulse          time.Duration
	grpcClients    int
	mountClients   int
	serializable   bool
	members        members
}

// member is "NAME=ENDPOINT" or "NAME=ENDPOINT,DIRECTORY" with a mount of it.
type member struct{ name, endpoint, directory string }

type members []member

func (m *members) String() string { return fmt.Sprint(*m) }

func (m *members) Set(text string) error {
	name, rest, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("not NAME=ENDPOINT[,DIRECTORY]")
	}
	endpoint, directory, _ := strings.Cut(rest, ",")
	*m = append(*m, member{name, endpoint, directory})
	return nil
}

func load(arguments []string) int {
	var s settings
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	flags.StringVar(&s.out, "out", "", "`file` for the history")
	flags.StringVar(&s.prefix, "prefix", "/", "of all keys; what follows the first / is a `name` in a mount of /")
	flags.Int64Var(&s.seed, "seed", 1, "of what the clients do")
	flags.IntVar(&s.keys, "keys", 6, "that all clients share")
	flags.DurationVar(&s.pause, "pause", 20*time.Millisecond, "between two operations of a client, at most")
	flags.DurationVar(&s.timeout, "timeout", time.Second, "of a call through gRPC")
	flags.DurationVar(&s.pulse, "pulse", 20*time.Millisecond, "between two writes of a member's pulse")
	flags.IntVar(&s.grpcClients, "grpc", 2, "clients of each member")
	flags.IntVar(&s.mountClients, "mount", 2, "clients of each mount")
	flags.BoolVar(&s.serializable, "serializable", false, "read through gRPC without asking the cluster: to see the judge refuse it")
	flags.Var(&s.members, "member", "`NAME=ENDPOINT[,DIRECTORY]`, once each")
	flags.Parse(arguments)
	r, err := newRecorder(s.out)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	code := s.run(r)
	if err = r.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Printf("%d ok, %d unknown, %d refused\n", r.counts[resultOK], r.counts[resultUnknown], r.counts[resultRefused])
	return code
}

// run is the life of all clients: until standard input ends; then each member is asked for each key once more.
func (s *settings) run(r *recorder) int {
	end := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(end)
	}()
	var everybody sync.WaitGroup
	var grpcStores []*grpcStore
	number := int64(0)
	start := func(name string, st store) {
		number++
		c := &client{name: name, store: st, settings: s, recorder: r, random: rand.New(rand.NewSource(s.seed<<16 + number))}
		everybody.Add(1)
		go func() {
			defer everybody.Done()
			c.run(end)
		}()
	}
	for _, m := range s.members {
		g := newGRPCStore(m.endpoint, s.timeout, s.serializable)
		defer g.close()
		grpcStores = append(grpcStores, g)
		for i := range s.grpcClients {
			start(fmt.Sprintf("%s/grpc%d", m.name, i), g)
		}
		for i := range s.mountClients {
			if m.directory != "" {
				start(fmt.Sprintf("%s/mount%d", m.name, i), &mountStore{directory: m.directory})
			}
		}
		everybody.Add(1)
		go func() {
			defer everybody.Done()
			pulse(s, r, m.name, g, end)
		}()
	}
	<-end
	if !endsWithin(&everybody, hangSeconds*time.Second) {
		fmt.Println("HANG: an operation does not end")
		return 3
	}
	for i, m := range s.members {
		if !s.readAll(r, m.name+"/last", grpcStores[i]) {
			fmt.Printf("HANG: %s does not answer although the faults are over\n", m.name)
			return 3
		}
	}
	return 0
}

func endsWithin(everybody *sync.WaitGroup, limit time.Duration) bool {
	done := make(chan struct{})
	go func() {
		everybody.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}

func (s *settings) key(i int) string { return fmt.Sprintf("%sk%d", s.prefix, i) }

// readAll asks for every key until there is an answer.
func (s *settings) readAll(r *recorder, name string, g *grpcStore) bool {
	deadline := time.Now().Add(lastSeconds * time.Second)
	for i := range s.keys {
		for {
			o := &operation{Client: name, Op: "get", Key: s.key(i), Call: now()}
			g.do(o)
			o.Return = now()
			r.record(o)
			if o.Result == resultOK {
				break
			}
			if time.Now().After(deadline) {
				return false
			}
			time.Sleep(refusedRest)
		}
	}
	return true
}

// client does one operation after the other, and remembers per key what it last saw there, for its compare-and-swaps.
type client struct {
	name     string
	store    store
	settings *settings
	recorder *recorder
	random   *rand.Rand
	count    int
	seen     map[string]string
}

func (c *client) run(end <-chan struct{}) {
	c.seen = map[string]string{}
	for {
		select {
		case <-end:
			return
		case <-time.After(time.Duration(c.random.Int63n(int64(c.settings.pause)))):
		}
		if !c.store.ready() {
			continue
		}
		o := c.draw()
		o.Call = now()
		c.store.do(o)
		o.Return = now()
		c.recorder.record(o)
		c.learn(o)
		if o.Result != resultOK {
			time.Sleep(refusedRest)
		}
	}
}

func (c *client) draw() *operation {
	kinds := c.store.kinds()
	o := &operation{Client: c.name, Op: kinds[c.random.Intn(len(kinds))], Key: c.settings.key(c.random.Intn(c.settings.keys))}
	if o.Op == "put" || o.Op == "cas" {
		c.count++
		o.Value = fmt.Sprintf(valueFormat, fmt.Sprintf("%s.%d", c.name, c.count))
	}
	if o.Op == "cas" {
		var known bool
		o.Expect, known = c.seen[o.Key]
		o.Absent = !known
	}
	return o
}

func (c *client) learn(o *operation) {
	if o.Result != resultOK || o.Op == "peek" {
		return
	}
	switch {
	case o.Op == "put", o.Op == "cas" && o.Found:
		c.seen[o.Key] = o.Value
	case o.Op == "get" && o.Found, o.Op == "cas" && o.Present:
		c.seen[o.Key] = o.Seen
	default:
		delete(c.seen, o.Key)
	}
}

// pulse writes keys of its own through one member at a fixed pace, whether the last write was answered or not: when writes work
// again after a fault is known to one period.
func pulse(s *settings, r *recorder, name string, g *grpcStore, end <-chan struct{}) {
	var writes sync.WaitGroup
	defer writes.Wait()
	ticker := time.NewTicker(s.pulse)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-end:
			return
		case <-ticker.C:
		}
		if !g.ready() {
			continue
		}
		key := fmt.Sprintf("pulse%s%s/%05d", s.prefix, name, i)
		o := &operation{Client: name + "/pulse", Op: "put", Key: key, Value: key, Call: now()}
		writes.Add(1)
		go func() {
			defer writes.Done()
			g.do(o)
			o.Return = now()
			r.record(o)
		}()
	}
}
