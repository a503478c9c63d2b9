package window

import "math"

// closed is the merge of all tiles of a window but the last, which is where records are added as a rule. So it is
// made once for the records of a tile, and gives the same bits as a merge of all tiles would.
type closed struct {
	from, to int // the positions of the tiles; to is -1 if tiles have changed
	count    int64
	moments  []moments // by argument
	sets     []merged  // by argument with the need
	ranks    []ranked
}

// Read sets out to the aggregates, in the order of the declaration, for a record with event time at, in microseconds
// since 1970, and returns what [State.Observe] would; it adds nothing. args has the record's own values, by argument:
// Read needs them for [Difference] alone. A missing aggregate is NaN. A value of another kind than declared panics, and
// so do args and out that are too short. Read uses memory of the state: it is not safe for concurrent use.
func (s *State) Read(at int64, args []Value, out []float64) Status {
	status := s.status(at)
	out = out[:len(s.w.spec.Aggregates)]
	if status == Untimed {
		for i := range out {
			out[i] = math.NaN()
		}
		return status
	}
	p := s.w.grid.place(at)
	first := p.before(s.w.grid.size)
	from, to := s.upTo(first-1), s.upTo(p.tile())
	count := s.merge(from, to)
	r := reading{s, at, first, to - 1, count, args}
	for i := range out {
		out[i] = settle(r.aggregate(&s.w.spec.Aggregates[i]))
	}
	return status
}

// merge merges the tiles in positions from up to but not including to, and returns how many records they have.
func (s *State) merge(from, to int) int64 {
	last := max(from, to-1)
	s.close(from, last)
	for i := range s.open {
		s.open[i].of(s.sketches, s.w.ranks, last, to, i)
	}
	if to <= from {
		copy(s.total, s.closed.moments)
		return 0
	}
	tail := s.moments[last*len(s.w.args):]
	for a := range s.w.args {
		s.total[a] = s.closed.moments[a]
		s.total[a].merge(&tail[a], s.w.args[a].needs&needSquares != 0)
	}
	return s.closed.count + s.tiles[last].count
}

// close merges the tiles in positions from up to but not including to, in this order, unless that is at hand.
func (s *State) close(from, to int) {
	c := &s.closed
	if c.from == from && c.to == to {
		return
	}
	c.from, c.to, c.count = from, to, 0
	for _, t := range s.tiles[from:to] {
		c.count += t.count
	}
	n := len(s.w.args)
	for a := range s.w.args {
		arg := &s.w.args[a]
		c.moments[a] = moments{}
		if from < to {
			c.moments[a] = fold(s.moments[from*n+a:to*n], n, arg.needs&needSquares != 0)
		}
		if arg.set >= 0 {
			c.sets[arg.set].of(s.sets, s.w.sets, from, to, arg.set)
		}
		if arg.rank >= 0 {
			c.ranks[arg.rank].of(s.sketches, s.w.ranks, from, to, arg.rank)
		}
	}
}

// reading is the window of one record, after merge.
type reading struct {
	s     *State
	at    int64
	first int64 // its first tile
	last  int   // the position of its last tile, if there is one
	count int64
	args  []Value
}

// aggregate returns one aggregate. It may be infinite.
func (r *reading) aggregate(a *Aggregate) float64 {
	if a.Arg == NoArgument {
		return float64(r.count)
	}
	arg, m := &r.s.w.args[a.Arg], &r.s.total[a.Arg]
	switch a.Func {
	case Count:
		return float64(m.n)
	case Distinct:
		if m.n == 0 {
			return 0
		}
		return r.s.closed.sets[arg.set].distinct(&r.s.sets[r.last*r.s.w.sets+arg.set], m.n)
	case Last:
		return r.back(arg, a.K)
	case Difference:
		v := r.args[a.Arg]
		v.must(a.Arg, Numbers)
		if v.Missing() {
			return math.NaN()
		}
		return v.number() - r.back(arg, 1)
	default:
	}
	if m.n == 0 {
		return math.NaN()
	}
	switch a.Func {
	case Sum:
		return m.sum
	case Mean:
		return m.average()
	case Min:
		return m.low
	case Max:
		return m.high
	case Variance:
		return m.variance()
	case Stddev:
		return math.Sqrt(m.variance())
	case First:
		return m.first
	case Percentile:
		return r.s.closed.ranks[arg.rank].percentile(&r.s.open[arg.rank], m.n, a.P)
	default:
		panic("window: a function that is not compiled: " + a.Func.String())
	}
}

// back returns the k-th value back, or NaN.
func (r *reading) back(arg *argument, k int) float64 {
	if x, ok := back(&r.s.w.grid, r.s.latest[arg.latest], r.at, r.first, k); ok {
		return x
	}
	return math.NaN()
}
