// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"

	"github.com/anishathalye/porcupine"
)

// register is the state of one key: a value or nothing, and the revision that made it so. Ways that tell no revision leave a bound:
// the revision is at least rev; exact says that it is rev. A revision that is told must fit, so the order of writes that the
// store claims by their revisions is held against the order that clients saw.
type register struct {
	any     bool // whatever is there: nobody has looked yet, as after the beginning of a history was left out
	present bool
	value   string
	rev     int64
	exact   bool
}

// wrote is the register after a write that got revision rev (0: not told).
func (r register) wrote(present bool, value string, rev int64) (bool, register) {
	if rev == 0 {
		return true, register{present: present, value: value, rev: r.rev + 1}
	}
	return rev > r.rev, register{present: present, value: value, rev: rev, exact: true}
}

// saw is the register when somebody saw this in it, at mod revision rev (0: not told).
func (r register) saw(present bool, value string, rev int64) (bool, register) {
	if r.present != present || (present && r.value != value) {
		return false, r
	}
	if rev == 0 || !present {
		return true, r
	}
	if rev < r.rev || (r.exact && rev != r.rev) {
		return false, r
	}
	r.rev, r.exact = rev, true
	return true, r
}

// step says whether the operation can have its result in this state, and what the state is afterwards. An operation whose outcome
// is unknown can always take effect, and one that took none is one that did so at the end of time.
func (r register) step(o *operation) (bool, register) {
	known := o.Result == resultOK
	if r.any {
		return true, r.first(o, known)
	}
	switch o.Op {
	case "get":
		return r.saw(o.Found, o.Seen, o.Rev)
	case "put":
		return r.wrote(true, o.Value, o.Rev)
	case "delete":
		if known && o.Found != r.present {
			return false, r
		}
		if !r.present {
			return true, r
		}
		return r.wrote(false, "", o.Rev)
	}
	holds := r.present && r.value == o.Expect
	if o.Absent {
		holds = !r.present
	}
	if known && o.Found != holds {
		return false, r
	}
	if holds {
		return r.wrote(true, o.Value, o.Rev)
	}
	if known {
		return r.saw(o.Present, o.Seen, o.Rev)
	}
	return true, r
}

// first is the register after the first operation that depends on nothing that came before.
func (r register) first(o *operation, known bool) register {
	switch {
	case o.Op == "put", o.Op == "cas" && known && o.Found:
		_, r = register{}.wrote(true, o.Value, o.Rev)
	case o.Op == "get":
		r = register{present: o.Found, value: o.Seen, rev: o.Rev, exact: o.Rev != 0}
	case o.Op == "delete":
		_, r = register{}.wrote(false, "", o.Rev)
	case known:
		r = register{present: o.Present, value: o.Seen, rev: o.Rev, exact: o.Rev != 0}
	}
	return r
}

// modelFrom is the register of a key that begins like this.
func modelFrom(initial register) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return initial },
		Step: func(state, input, _ any) (bool, any) {
			ok, next := state.(register).step(input.(*operation))
			return ok, next
		},
	}
}

// operationsOf is what porcupine gets of a key's history: refused operations had no effect, and a read that was not answered, or
// did not ask the cluster, says nothing; what is unknown never returned.
func operationsOf(history []*operation) []porcupine.Operation {
	operations := make([]porcupine.Operation, 0, len(history))
	for _, o := range history {
		end := o.Return
		if o.Result == resultRefused || o.Op == "peek" || (o.Op == "get" && o.Result != resultOK) {
			continue
		}
		if o.Result == resultUnknown {
			end = math.MaxInt64
		}
		operations = append(operations, porcupine.Operation{Input: o, Call: o.Call, Return: end})
	}
	return operations
}
