package pipeline

import (
	"fmt"
	"math"
	"strings"

	"millrace.dev/feature"
	"millrace.dev/internal/window"
	"millrace.dev/record"
)

// Windows computes the aggregates of a plan's windows for records in their order, from the states of their keys, which
// the driver keeps. It is for one goroutine at a time.
type Windows struct {
	reader  *feature.WindowReader
	windows []*window.Window
	infos   []feature.WindowInfo
	totals  *WindowTotals
	columns [][]float64
	args    [][]window.Value // by window
	out     []float64
}

// WindowStates keeps the states of keys.
type WindowStates interface {
	// State returns the state of a key in a window, a position in the plan's windows, for reading and changing: a new
	// one if there is none. The key is valid during the call.
	State(w int, key string) (*window.State, error)
	// Changed is called when the state that State returned last has changed.
	Changed(w int, key string, s *window.State) error
}

// NewWindows returns the windows of a plan. One without windows is fine.
func NewWindows(p *feature.Plan) (*Windows, error) {
	w := &Windows{infos: p.Windows()}
	var err error
	if w.reader, err = p.NewWindowReader(); err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	w.totals = NewWindowTotals(p)
	for i := range w.infos {
		compiled, err := CompileWindow(&w.infos[i])
		if err != nil {
			return nil, fmt.Errorf("pipeline: window %s: %w", w.infos[i].Name, err)
		}
		w.windows = append(w.windows, compiled)
		w.args = append(w.args, make([]window.Value, len(w.infos[i].Texts)))
		for range w.infos[i].Aggregates {
			w.columns = append(w.columns, nil)
		}
	}
	w.out = make([]float64, len(w.columns))
	return w, nil
}

// CompileWindow returns the window that a plan declares.
func CompileWindow(i *feature.WindowInfo) (*window.Window, error) {
	s := window.Spec{Size: i.Size, Hop: i.Hop, Grace: i.Grace, Source: i.Source}
	if i.GraceSet && i.Grace == 0 {
		s.Grace = window.NoGrace
	}
	for _, text := range i.Texts {
		kind := window.Numbers
		if text {
			kind = window.Texts
		}
		s.Args = append(s.Args, kind)
	}
	for _, a := range i.Aggregates {
		f, err := window.ParseFunc(a.Func)
		if err != nil {
			return nil, err
		}
		own := window.Aggregate{Func: f, Arg: a.Arg}
		switch f {
		case window.Last:
			own.K = a.K
		case window.Percentile:
			own.P = a.P
		default:
		}
		s.Aggregates = append(s.Aggregates, own)
	}
	return window.Compile(s)
}

// Len returns the number of windows, and of aggregates of all of them.
func (w *Windows) Len() (windows, aggregates int) { return len(w.windows), len(w.columns) }

// New returns the state of a key of a window that has seen no record.
func (w *Windows) New(i int) *window.State { return w.windows[i].New() }

// Info describes window i.
func (w *Windows) Info(i int) *feature.WindowInfo { return &w.infos[i] }

// Compiled returns window i.
func (w *Windows) Compiled(i int) *window.Window { return w.windows[i] }

// Counts returns what the windows have seen, by window.
func (w *Windows) Counts() []WindowCounts { return w.totals.Counts() }

// CountInto counts into totals of the same plan from now on.
func (w *Windows) CountInto(t *WindowTotals) { w.totals = t }

// Rows reads what the windows aggregate of each record of b, by window: see [feature.WindowReader.Read].
func (w *Windows) Rows(b *record.Batch) []feature.WindowRows { return w.reader.Read(b) }

// Observe reads the aggregates of each record of b, whose event times are given, and adds the record, one after the
// other. A record that is rejected is left out. The result has a list for each aggregate, of one number for each record,
// and is valid until the next Observe.
func (w *Windows) Observe(b *record.Batch, times []int64, states WindowStates) ([][]float64, error) {
	rows := w.reader.Read(b)
	for k := range w.columns {
		w.columns[k] = grow(w.columns[k], b.Len())
	}
	column := 0
	for k := range w.windows {
		n := len(w.infos[k].Aggregates)
		for i := range b.Len() {
			out := w.out[:n]
			if err := w.One(k, i, b, &rows[k], times[i], states, out); err != nil {
				return nil, err
			}
			for a, x := range out {
				w.columns[column+a][i] = x
			}
		}
		column += n
	}
	return w.columns, nil
}

func grow(s []float64, n int) []float64 {
	if cap(s) < n {
		return make([]float64, n)
	}
	return s[:n]
}

// One reads the aggregates of window k for record i of b into out, and adds the record. rows are its [Windows.Rows].
func (w *Windows) One(k, i int, b *record.Batch, rows *feature.WindowRows, at int64, states WindowStates, out []float64) error {
	c := &w.totals.of[k]
	for a := range out {
		out[a] = math.NaN()
	}
	switch key := rows.Keys[i]; {
	case b.Problem(i) != nil:
		return nil
	case !key.OK:
		c.keyless.Add(1)
		return nil
	case at == record.MissingTime:
		c.untimed.Add(1)
		return nil
	}
	s, err := states.State(k, rows.Keys[i].S)
	if err != nil {
		return err
	}
	args := w.args[k]
	for a := range args {
		args[a] = window.Value{}
		if w.infos[k].Texts[a] {
			if t := rows.Texts[a][i]; t.OK {
				args[a] = window.Text(t.S)
			}
		} else {
			args[a] = window.Number(rows.Numbers[a][i])
		}
	}
	if !rows.Where[i] {
		c.filtered.Add(1)
		s.Read(at, args, out)
		return nil
	}
	switch s.Observe(at, args, out) {
	case window.Added:
		c.added.Add(1)
	case window.Reordered:
		c.late.Add(1)
	default:
		c.tooLate.Add(1)
		return nil
	}
	return states.Changed(k, rows.Keys[i].S, s)
}

// MemoryStates keeps states in memory, for batch. It is for one goroutine at a time.
type MemoryStates struct {
	windows *Windows
	keys    []map[string]*window.State
}

// NewMemoryStates returns the states of no keys.
func NewMemoryStates(w *Windows) *MemoryStates {
	m := &MemoryStates{windows: w}
	for range w.windows {
		m.keys = append(m.keys, map[string]*window.State{})
	}
	return m
}

// State returns the state of a key.
func (m *MemoryStates) State(w int, key string) (*window.State, error) {
	s := m.keys[w][key]
	if s == nil {
		s = m.windows.New(w)
		m.keys[w][strings.Clone(key)] = s
	}
	return s, nil
}

// Changed does nothing: states are changed in place.
func (m *MemoryStates) Changed(int, string, *window.State) error { return nil }
