// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	keyTimeout     = 60 * time.Second // for one key
	shortenTimeout = 2 * time.Second  // for one attempt to do with less of a history
)

// judge reads the histories and says of every key whether it is linearizable. The exit status: 0 all is well, 1 it is not, 2 a
// history cannot be read, 3 porcupine could not tell in time.
func judge(paths []string) int {
	byKey, err := readHistories(paths)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	keys := make([]string, 0, len(byKey))
	for key := range byKey {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	operations, unknown, illegal, untold, back := 0, 0, 0, 0, 0
	begin := time.Now()
	for _, key := range keys {
		history := byKey[key]
		for _, o := range history {
			operations++
			if o.Result == resultUnknown {
				unknown++
			}
		}
		back += judgePlainReads(key, history)
		switch porcupine.CheckOperationsTimeout(modelFrom(register{}), operationsOf(history), keyTimeout) {
		case porcupine.Illegal:
			illegal++
			report(key, history)
		case porcupine.Unknown:
			untold++
			fmt.Printf("UNDECIDED %s: %d operations in %v\n", key, len(history), keyTimeout)
		}
	}
	fmt.Printf("%d operations on %d keys, %d of unknown outcome, judged in %.1f s: "+
		"%d keys not linearizable, %d undecided, %d plain reads back in time\n",
		operations, len(keys), unknown, time.Since(begin).Seconds(), illegal, untold, back)
	switch {
	case illegal+back > 0:
		return 1
	case untold > 0:
		return 3
	}
	return 0
}

func report(key string, history []*operation) {
	part := shorten(history)
	fmt.Printf("NOT LINEARIZABLE %s: of its %d operations, %d contradict each other", key, len(history), len(part.operations))
	if part.initial.any {
		fmt.Print(", whatever came before")
	}
	fmt.Println(":")
	for _, o := range part.operations {
		fmt.Printf("  %s\n", o)
	}
}

// excerpt is a part of a history; if the whole is linearizable, so is it.
type excerpt struct {
	initial    register
	operations []*operation
}

func (e excerpt) isIllegal() bool {
	return porcupine.CheckOperationsTimeout(modelFrom(e.initial), operationsOf(e.operations), shortenTimeout) == porcupine.Illegal
}

// asUnknown is the operation as somebody knows it who does not know how it ended.
func asUnknown(o *operation) *operation {
	return &operation{Client: o.Client, Op: o.Op, Key: o.Key, Value: o.Value, Expect: o.Expect, Absent: o.Absent,
		Result: resultUnknown, Call: o.Call, Return: o.Return}
}

// before is the history as it was at a time: what had not returned yet is unknown, what had not been called is not there.
func (e excerpt) before(at int64) excerpt {
	part := excerpt{initial: e.initial}
	for _, o := range e.operations {
		if o.Call > at {
			continue
		}
		if o.Result == resultOK && o.Return > at {
			o = asUnknown(o)
		}
		part.operations = append(part.operations, o)
	}
	return part
}

// after is what was called since a time, beginning with anything; what was under way then may take effect since then or never.
func (e excerpt) after(at int64) excerpt {
	part := excerpt{initial: register{any: true}}
	for _, o := range e.operations {
		if o.Call < at && o.Result == resultOK && o.Return < at {
			continue
		}
		if o.Call < at && o.Result == resultOK {
			o = asUnknown(o)
		}
		part.operations = append(part.operations, o)
	}
	return part
}

// without leaves out operations one by one, as long as the rest is illegal.
func (e excerpt) without(mayGo func(*operation, []*operation) bool) excerpt {
	for i := len(e.operations) - 1; i >= 0; i-- {
		if !mayGo(e.operations[i], e.operations) {
			continue
		}
		rest := append(append([]*operation{}, e.operations[:i]...), e.operations[i+1:]...)
		if smaller := (excerpt{e.initial, rest}); smaller.isIllegal() {
			e = smaller
		}
	}
	return e
}

// shorten leaves of an illegal history a part that is illegal, too: it ends when the contradiction is complete, begins as late as it
// can, and what says nothing about it is left out. No step makes a good history bad.
func shorten(history []*operation) excerpt {
	whole := excerpt{operations: append([]*operation{}, history...)}
	sort.SliceStable(whole.operations, func(i, j int) bool { return whole.operations[i].Return < whole.operations[j].Return })
	last := sort.Search(len(history)-1, func(i int) bool { return whole.before(whole.operations[i].Return).isIllegal() })
	part := whole.before(whole.operations[last].Return)
	sort.SliceStable(part.operations, func(i, j int) bool { return part.operations[i].Call < part.operations[j].Call })
	first := sort.Search(len(part.operations), func(i int) bool { return !part.after(part.operations[i].Call).isIllegal() })
	if first > 0 {
		part = part.after(part.operations[first-1].Call)
	}
	return part.without(changesNothing).without(nobodyDependsOn)
}

func changesNothing(o *operation, _ []*operation) bool {
	return o.Result == resultRefused || o.Op == "get" || o.Op == "peek" ||
		(o.Result == resultOK && !o.Found && (o.Op == "cas" || o.Op == "delete"))
}

// nobodyDependsOn: without this write, what is left sees what it saw.
func nobodyDependsOn(o *operation, part []*operation) bool {
	if o.Op != "put" {
		return false
	}
	for _, other := range part {
		sees := other.Op == "get" && other.Seen == o.Value
		if other != o && (sees || other.Op == "cas" || (other.Op == "delete" && other.Result == resultOK)) {
			return false
		}
	}
	return true
}
