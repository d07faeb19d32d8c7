// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
)

// What a client knows of how an operation ended.
const (
	resultOK      = "ok"      // answered: the other fields say what
	resultUnknown = "unknown" // it may take effect at any time after its call, or never
	resultRefused = "refused" // it certainly did not and will not take effect
)

// operation is one line of a history. Times are nanoseconds of CLOCK_MONOTONIC, so that all processes of a machine agree on them.
//
//	get     found, seen, rev: what was there, and its mod revision
//	peek    as get, without asking the cluster: it may be behind
//	put     value; rev: the revision it got
//	delete  found: something was there; rev
//	cas     value is put if expect is the value there, or if nothing is there and absent is set; found: it was put; rev.
//	        If not: present, seen: what was there instead
//
// Revisions are 0 where the way an operation went does not tell them, as through a mount.
type operation struct {
	Client  string `json:"client"`
	Op      string `json:"op"`
	Key     string `json:"key"`
	Value   string `json:"value,omitempty"`
	Expect  string `json:"expect,omitempty"`
	Absent  bool   `json:"absent,omitempty"`
	Result  string `json:"result"`
	Found   bool   `json:"found,omitempty"`
	Present bool   `json:"present,omitempty"`
	Seen    string `json:"seen,omitempty"`
	Rev     int64  `json:"rev,omitempty"`
	Call    int64  `json:"call"`
	Return  int64  `json:"return"`
}

func (o *operation) String() string {
	line, err := json.Marshal(o)
	if err != nil {
		return err.Error()
	}
	return string(line)
}

// recorder writes the operations of many clients to one file, a line each.
type recorder struct {
	mutex  sync.Mutex
	file   *os.File
	out    *bufio.Writer
	counts map[string]int
}

func newRecorder(path string) (*recorder, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &recorder{file: file, out: bufio.NewWriter(file), counts: map[string]int{}}, nil
}

func (r *recorder) record(o *operation) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.counts[o.Result]++
	fmt.Fprintln(r.out, o)
}

func (r *recorder) close() error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if err := r.out.Flush(); err != nil {
		return err
	}
	return r.file.Close()
}

// readHistories returns the operations of all files, by key.
func readHistories(paths []string) (map[string][]*operation, error) {
	byKey := map[string][]*operation{}
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		decoder := json.NewDecoder(bufio.NewReader(file))
		decoder.DisallowUnknownFields()
		for line := 1; ; line++ {
			o := &operation{}
			if err = decoder.Decode(o); err == io.EOF {
				break
			}
			if err == nil {
				err = o.check()
			}
			if err != nil {
				file.Close()
				return nil, fmt.Errorf("%s: operation %d: %w", path, line, err)
			}
			byKey[o.Key] = append(byKey[o.Key], o)
		}
		file.Close()
	}
	return byKey, nil
}

// check refuses what no recorder writes: a misspelt history must not pass for a good one.
func (o *operation) check() error {
	switch o.Op {
	case "get", "put", "delete", "cas", "peek":
	default:
		return fmt.Errorf("no operation is called %q", o.Op)
	}
	switch o.Result {
	case resultOK, resultUnknown, resultRefused:
	default:
		return fmt.Errorf("no result is called %q", o.Result)
	}
	if o.Result == resultOK && o.Return < o.Call {
		return fmt.Errorf("it returned at %d, before its call at %d", o.Return, o.Call)
	}
	return nil
}
