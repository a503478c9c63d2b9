package window

import "slices"

// spareValues is how many values more than last(x, k) needs are kept, for records that come late.
const spareValues = 16

// timed is a value and its event time.
type timed struct {
	at int64
	x  float64
}

// keep adds a value to the latest values, which are in ascending order of event time, those of one time in the order
// in which they came. At most depth stay.
func keep(latest []timed, v timed, depth int) []timed {
	i := len(latest)
	for i > 0 && latest[i-1].at > v.at {
		i--
	}
	if len(latest) < depth {
		return slices.Insert(latest, i, v)
	}
	if i > 0 { // the first makes room; otherwise v would be the first
		copy(latest, latest[1:i])
		latest[i-1] = v
	}
	return latest
}

// back returns the k-th of the latest values back from a time, in the tiles from a first one on.
func back(g *grid, latest []timed, at, from int64, k int) (float64, bool) {
	i := len(latest)
	for i > 0 && latest[i-1].at > at {
		i--
	}
	if i -= k; i < 0 || g.tile(latest[i].at) < from {
		return 0, false
	}
	return latest[i].x, true
}
