// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"sort"
	"strings"
)

// A plain read through a mount may be behind, but it never goes back in time on that mount, and sees what was written there.

// revisionsOf is the revision of each value of a key that somebody saw or wrote where revisions are told.
func revisionsOf(history []*operation) map[string]int64 {
	revisions := map[string]int64{}
	for _, o := range history {
		switch {
		case o.Result != resultOK || o.Rev == 0 || o.Op == "delete":
		case o.Op == "put" || (o.Op == "cas" && o.Found):
			revisions[o.Value] = o.Rev
		default:
			revisions[o.Seen] = o.Rev
		}
	}
	return revisions
}

// sight is a revision that the clients of a mount saw there, or put there.
type sight struct {
	of  *operation
	rev int64
}

// sightsOf is by mount. What was written on a mount is seen there before it is committed, and perhaps never is: the values of
// writes of unknown outcome tell nothing.
func sightsOf(history []*operation) map[string][]sight {
	revisions := revisionsOf(history)
	for _, o := range history {
		if o.Op == "put" && o.Result != resultOK {
			delete(revisions, o.Value)
		}
	}
	mounts := map[string][]sight{}
	for _, o := range history {
		member, way, _ := strings.Cut(o.Client, "/")
		value := o.Seen
		if o.Op == "put" {
			value = o.Value
		}
		if rev := revisions[value]; strings.HasPrefix(way, "mount") && o.Result == resultOK && rev > 0 {
			mounts[member] = append(mounts[member], sight{o, rev})
		}
	}
	return mounts
}

// goesBack finds a plain read that saw an older revision than its mount had shown or made before the read was called.
func goesBack(sights []sight) (read, before *operation) {
	byReturn := append([]sight{}, sights...)
	sort.Slice(byReturn, func(i, j int) bool { return byReturn[i].of.Return < byReturn[j].of.Return })
	sort.Slice(sights, func(i, j int) bool { return sights[i].of.Call < sights[j].of.Call })
	newest := sight{}
	for _, s := range sights {
		for len(byReturn) > 0 && byReturn[0].of.Return < s.of.Call {
			if byReturn[0].rev > newest.rev {
				newest = byReturn[0]
			}
			byReturn = byReturn[1:]
		}
		if s.of.Op == "peek" && s.rev < newest.rev {
			return s.of, newest.of
		}
	}
	return nil, nil
}

// judgePlainReads says how many mounts went back in time on this key.
func judgePlainReads(key string, history []*operation) int {
	found := 0
	for member, sights := range sightsOf(history) {
		if read, before := goesBack(sights); read != nil {
			found++
			fmt.Printf("GOES BACK %s: on the mount of %s, first\n  %s\n  and later\n  %s\n", key, member, before, read)
		}
	}
	return found
}
