package window

import (
	"math"
	"math/big"
	"slices"

	"millrace.dev/record"
)

// model is what the documentation of the package says, as directly as it can be computed: it keeps all records, and
// looks at all of them for each one.
type model struct {
	spec    Spec
	time    int64
	records []modelRecord // in the order in which they came
}

type modelRecord struct {
	at   int64
	tile int64
	args []Value
}

func newModel(w *Window) *model { return &model{spec: w.Spec(), time: record.MissingTime} }

// floor returns floor((at - back) / hop).
func (m *model) floor(at int64, back int64) int64 {
	hop := big.NewInt(m.spec.Hop.Microseconds())
	n := new(big.Int).Sub(big.NewInt(at), big.NewInt(back))
	return n.Div(n, hop).Int64() // Euclidean, which is the floor for a hop above 0
}

// tile returns i of the tile (i*hop, (i+1)*hop] that has at.
func (m *model) tile(at int64) int64 { return m.floor(at, 1) }

func (m *model) observe(at int64, args []Value) (Status, []float64) {
	out := make([]float64, len(m.spec.Aggregates))
	if at == record.MissingTime {
		for i := range out {
			out[i] = math.NaN()
		}
		return Untimed, out
	}
	size, grace := m.spec.Size.Microseconds(), m.spec.grace().Microseconds()
	first := m.floor(at, size)
	if m.time != record.MissingTime {
		first = max(first, m.floor(m.time, size+grace))
	}
	var in []modelRecord
	for _, r := range m.records {
		if first <= r.tile && r.tile <= m.tile(at) {
			in = append(in, r)
		}
	}
	for i, a := range m.spec.Aggregates {
		out[i] = settle(m.aggregate(a, in, m.floor(at, size), at, args))
	}
	status := Added
	late := new(big.Int).Sub(big.NewInt(m.time), big.NewInt(at))
	switch {
	case m.time == record.MissingTime || at >= m.time:
		m.time = at
	case late.Cmp(big.NewInt(grace)) <= 0:
		status = Reordered
	default:
		return TooLate, out
	}
	m.records = append(m.records, modelRecord{at, m.tile(at), slices.Clone(args)})
	return status, out
}

// timedValues returns the values of an argument by event time, those of one time in the order in which they came.
func timedValues(records []modelRecord, arg int) []timed {
	var list []timed
	for _, r := range records {
		if v := r.args[arg]; !v.Missing() {
			list = append(list, timed{r.at, v.number()})
		}
	}
	slices.SortStableFunc(list, func(a, b timed) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	return list
}

// byTile returns the values of an argument by tile, the tiles in order, each in the order in which they came.
func byTile(records []modelRecord, arg int) (tiles [][]Value) {
	sorted := slices.Clone(records)
	slices.SortStableFunc(sorted, func(a, b modelRecord) int { return int(max(-1, min(1, float64(a.tile)-float64(b.tile)))) })
	last := int64(0)
	for _, r := range sorted {
		if r.args[arg].Missing() {
			continue
		}
		if len(tiles) == 0 || r.tile != last {
			tiles, last = append(tiles, nil), r.tile
		}
		tiles[len(tiles)-1] = append(tiles[len(tiles)-1], r.args[arg])
	}
	return tiles
}

func (m *model) aggregate(a Aggregate, in []modelRecord, first, at int64, args []Value) float64 {
	switch {
	case a.Arg == NoArgument:
		return float64(len(in))
	case a.Func == Last:
		return m.back(a.Arg, first, at, a.K)
	case a.Func == Difference && args[a.Arg].Missing():
		return math.NaN()
	case a.Func == Difference:
		return args[a.Arg].number() - m.back(a.Arg, first, at, 1)
	}
	tiles := byTile(in, a.Arg)
	n := 0
	for _, tile := range tiles {
		n += len(tile)
	}
	switch {
	case a.Func == Count:
		return float64(n)
	case a.Func == Distinct:
		return modelDistinct(tiles)
	case n == 0:
		return math.NaN()
	}
	values := timedValues(in, a.Arg)
	by := func(a, b timed) int {
		if a.x < b.x {
			return -1
		}
		return 1
	}
	switch a.Func {
	case Sum:
		return modelSum(tiles)
	case Mean:
		return modelSum(tiles) / float64(n)
	case Min:
		return slices.MinFunc(values, by).x
	case Max:
		return slices.MaxFunc(values, by).x
	case Variance:
		return modelVariance(tiles)
	case Stddev:
		return math.Sqrt(modelVariance(tiles))
	case First:
		return values[0].x
	case Percentile:
		return modelPercentile(tiles, n, a.P)
	default:
		panic("no such function")
	}
}

// back returns the k-th value back, among the latest of those whose tiles are kept.
func (m *model) back(arg int, first, at int64, k int) float64 {
	depth := 1
	for _, a := range m.spec.Aggregates {
		if a.Arg == arg {
			depth = max(depth, a.K)
		}
	}
	all := timedValues(m.records, arg)
	if len(all) > depth+16 {
		all = all[len(all)-depth-16:]
	}
	var in []timed
	for _, v := range all {
		if v.at <= at && m.tile(v.at) >= first && m.tile(v.at) >= m.floor(m.time, (m.spec.Size+m.spec.grace()).Microseconds()) {
			in = append(in, v)
		}
	}
	if len(in) < k {
		return math.NaN()
	}
	return in[len(in)-k].x
}

func modelSum(tiles [][]Value) float64 {
	total := 0.0
	for _, tile := range tiles {
		sum := 0.0
		for _, v := range tile {
			sum += v.number()
		}
		total += sum
	}
	return total
}

func modelVariance(tiles [][]Value) float64 {
	n, mean, squares := 0.0, 0.0, 0.0
	for _, tile := range tiles {
		k, tileMean, tileSquares := 0.0, 0.0, 0.0
		for _, v := range tile {
			k++
			off := v.number() - tileMean
			tileMean += off / k
			tileSquares += float64(off * (v.number() - tileMean))
		}
		if n == 0 {
			n, mean, squares = k, tileMean, tileSquares
			continue
		}
		share := k / (n + k)
		off := tileMean - mean
		mean += float64(off * share)
		squares = squares + tileSquares + float64(float64(off*off)*float64(n*share))
		n += k
	}
	if n < 2 {
		return math.NaN()
	}
	return squares / (n - 1)
}

func modelDistinct(tiles [][]Value) float64 {
	exact, n, all := true, 0, map[uint64]bool{}
	for _, tile := range tiles {
		one := map[uint64]bool{}
		for _, v := range tile {
			one[v.hash()], all[v.hash()] = true, true
			n++
		}
		exact = exact && len(one) <= 64
	}
	if exact {
		return float64(len(all))
	}
	regs := make([]uint8, 512)
	for h := range all {
		rank := uint8(1)
		for bit := 54; bit >= 0 && h>>bit&1 == 0; bit-- {
			rank++
		}
		regs[h>>55] = max(regs[h>>55], rank)
	}
	return max(65, min(float64(n), estimate(regs)))
}

func modelPercentile(tiles [][]Value, n int, p float64) float64 {
	var all []float64
	for _, tile := range tiles {
		drop := 0
		for ; ; drop++ {
			keys := map[uint64]bool{}
			for _, v := range tile {
				keys[order(v.number())>>drop] = true
			}
			if len(keys) <= 64 {
				break
			}
		}
		for _, v := range tile {
			key := order(v.number()) >> drop << drop
			if drop > 0 {
				key |= 1 << (drop - 1)
			}
			all = append(all, unorder(key))
		}
	}
	slices.Sort(all)
	rank := int(max(1, math.Ceil(p*float64(n)-1e-9)))
	return all[min(rank, n)-1]
}
