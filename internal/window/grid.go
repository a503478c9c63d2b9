package window

import "time"

// grid has the tiles of a window. Tile i has the times in (i*hop, (i+1)*hop]. A time is split once into whole hops
// and a rest; what the window asks for then takes no division, and cannot overflow for any time.
type grid struct {
	hop   int64 // microseconds, and so all below
	size  span
	kept  span   // size and grace
	grace uint64 // by how much a record may be late
}

// span is a length of time as whole hops and a rest below a hop.
type span struct{ whole, rest int64 }

// place is a time as the floor of its hops and a rest from 0 to below a hop.
type place struct{ whole, rest int64 }

// newGrid returns the grid of a valid spec with its defaults.
func newGrid(s Spec) grid {
	hop := s.Hop.Microseconds()
	split := func(d time.Duration) span { return span{d.Microseconds() / hop, d.Microseconds() % hop} }
	return grid{hop, split(s.Size), split(s.Size + s.grace()), uint64(s.grace().Microseconds())}
}

// place returns where a time is.
func (g *grid) place(at int64) place {
	whole, rest := at/g.hop, at%g.hop
	if rest < 0 {
		return place{whole - 1, rest + g.hop}
	}
	return place{whole, rest}
}

// tile returns the tile of a time.
func (p place) tile() int64 {
	if p.rest == 0 {
		return p.whole - 1
	}
	return p.whole
}

// before returns floor((time - s) / hop): the first tile of what begins s before a time.
func (p place) before(s span) int64 {
	if p.rest < s.rest {
		return p.whole - s.whole - 1
	}
	return p.whole - s.whole
}

// tile returns the tile of a time.
func (g *grid) tile(at int64) int64 { return g.place(at).tile() }

// most returns how many tiles a state has at most.
func (g *grid) most() int { return int(g.kept.whole) + 2 }

// offset returns how far into its tile a time is, from 1 to a hop. It is right also where the tile begins before all
// times: the product and the difference wrap around alike.
func (g *grid) offset(tile, at int64) int64 { return at - tile*g.hop }
