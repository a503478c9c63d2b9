package window

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// Window is a compiled [Spec]. It is immutable and safe for concurrent use; its states are not.
type Window struct {
	spec   Spec // with its defaults
	grid   grid
	args   []argument
	sets   int // how many arguments have a set, and so below
	ranks  int
	latest int
	digest [digestSize]byte
}

// argument is what a window keeps of one argument.
type argument struct {
	kind   Kind
	needs  needs
	floats int // how many floats of its moments are in a state
	depth  int // how many of the latest values
	set    int // its position among the arguments with a set, -1 if it has none, and so below
	rank   int
	latest int
}

// needs tells what of the values in a tile is kept beside their number.
type needs uint8

const (
	needSum needs = 1 << iota
	needSquares
	needLow
	needHigh
	needFirst
	needSet
	needRank
	needLatest
)

// of returns what a function needs.
func (f Func) needs() needs {
	return [...]needs{
		Count: 0, Sum: needSum, Mean: needSum, Min: needLow, Max: needHigh, Variance: needSquares, Stddev: needSquares,
		Distinct: needSet, First: needFirst, Last: needLatest, Difference: needLatest, Percentile: needRank,
	}[f]
}

// Compile returns the window that s declares, or the error of [Spec.Validate].
func Compile(s Spec) (*Window, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	s = s.withDefaults()
	s.Args = append([]Kind(nil), s.Args...)
	s.Aggregates = append([]Aggregate(nil), s.Aggregates...)
	w := &Window{spec: s, grid: newGrid(s), args: make([]argument, len(s.Args))}
	for i, k := range s.Args {
		w.args[i].kind = k
	}
	for i := range s.Aggregates {
		a := &s.Aggregates[i]
		if a.Func == Last && a.K == 0 {
			a.K = 1
		}
		if a.Arg == NoArgument {
			continue
		}
		arg := &w.args[a.Arg]
		arg.needs |= a.Func.needs()
		if a.Func == Last || a.Func == Difference {
			arg.depth = max(arg.depth, max(1, a.K)+spareValues)
		}
	}
	for i := range w.args {
		a := &w.args[i]
		a.floats = bits.OnesCount8(uint8(a.needs & (needSum | needSquares | needLow | needHigh | needFirst)))
		if a.needs&needSquares != 0 {
			a.floats++ // the mean
		}
		a.set, a.rank, a.latest = next(&w.sets, a, needSet), next(&w.ranks, a, needRank), next(&w.latest, a, needLatest)
	}
	w.digest = w.sum()
	return w, nil
}

// next returns the next position if the argument has the need, and counts it.
func next(n *int, a *argument, need needs) int {
	if a.needs&need == 0 {
		return -1
	}
	*n++
	return *n - 1
}

// Spec returns the declaration, with its defaults. Its slices must not be changed.
func (w *Window) Spec() Spec { return w.spec }

const digestSize = 8

// Digest returns 8 bytes of a digest of what decides over the meaning of a state: size, hop, grace, source, and what
// is kept of each argument. Windows of one digest have each other's states, so that another order of aggregates,
// another p, a mean beside a sum leave the states of keys valid.
func (w *Window) Digest() [8]byte { return w.digest }

func (w *Window) sum() (digest [digestSize]byte) {
	b := []byte("millrace window state 1\n")
	b = binary.AppendVarint(b, w.spec.Size.Microseconds())
	b = binary.AppendVarint(b, w.spec.Hop.Microseconds())
	b = binary.AppendVarint(b, w.spec.grace().Microseconds())
	b = binary.AppendUvarint(b, uint64(len(w.args)))
	for _, a := range w.args {
		b = append(b, byte(a.kind), byte(a.needs), byte(a.depth))
	}
	b = append(b, w.spec.Source...)
	full := sha256.Sum256(b)
	copy(digest[:], full[:])
	return digest
}

// New returns the state of a key without records.
func (w *Window) New() *State {
	s := &State{w: w, latest: make([][]timed, w.latest)}
	s.closed.moments = make([]moments, len(w.args))
	s.closed.sets = make([]merged, w.sets)
	s.closed.ranks = make([]ranked, w.ranks)
	s.total = make([]moments, len(w.args))
	s.open = make([]ranked, w.ranks)
	s.Reset()
	return s
}
