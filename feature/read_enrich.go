package feature

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds on tables and windows of a plan.
const (
	maxTables     = 256
	maxWindows    = 256
	maxAggregates = 256
	maxGram       = 100 // parts of an n-gram
	maxBack       = 100 // values that last and lag go back
)

func (p *Plan) readTables(raw json.RawMessage) error {
	list, err := decodeList[tableJSON](raw, maxTables)
	if err != nil {
		return err
	}
	for _, j := range list {
		if j.Name == "" || j.Schema == nil || slices.ContainsFunc(p.prog.tables, func(t Table) bool { return t.Name == j.Name }) {
			return fmt.Errorf("%q: no name, a name that comes twice, or no schema", j.Name)
		}
		p.prog.tables = append(p.prog.tables, Table(j))
	}
	return nil
}

// readWindows reads windows; their values are checked by checkWindows.
func (p *Plan) readWindows(raw json.RawMessage) error {
	list, err := decodeList[windowJSON](raw, maxWindows)
	if err != nil {
		return err
	}
	for i := range list {
		j := &list[i]
		if j.Name == "" || j.Size <= 0 || j.Hop < 0 || j.Grace != nil && *j.Grace < 0 || len(j.Aggregates) == 0 || len(j.Aggregates) > maxAggregates || len(j.Args) > maxAggregates ||
			slices.ContainsFunc(p.prog.windows, func(w window) bool { return w.Name == j.Name }) {
			return fmt.Errorf("%q: no name, a name that comes twice, no size, or too many aggregates", j.Name)
		}
		w := window{Window: Window{Name: j.Name, Size: j.Size, Hop: j.Hop}, key: j.Key, where: -1, args: j.Args}
		if j.Where != nil {
			w.where = *j.Where
		}
		if j.Grace != nil {
			w.Grace, w.GraceSet = *j.Grace, true
		}
		for _, a := range j.Aggregates {
			w.aggregates = append(w.aggregates, Aggregate(a))
		}
		p.prog.windows = append(p.prog.windows, w)
	}
	return nil
}

// checkWindows tells whether the windows are made of values of the record, of the right types.
func (p *Plan) checkWindows() error {
	enriched := p.prog.enriched()
	for i := range p.prog.windows {
		w := &p.prog.windows[i]
		if !p.fromRecord(enriched, w.key, "t") || w.where < -1 || w.where >= 0 && !p.fromRecord(enriched, w.where, "b") {
			return fmt.Errorf("window %q: no such key or condition", w.Name)
		}
		of := make([]bool, len(w.args))
		seen := map[string]bool{}
		for _, a := range w.aggregates {
			f, ok := aggregateFuncs()[a.Func]
			valid := ok && a.Name != "" && !seen[a.Name] && a.K >= 1 && a.K <= maxBack && (f.k || a.K == 1) &&
				a.P >= 0 && a.P <= 1 && (f.p || a.P == 0) && a.Arg < len(w.args)
			seen[a.Name] = true
			if valid && a.Arg >= 0 {
				of[a.Arg] = true
				valid = p.fromRecord(enriched, w.args[a.Arg], strings.ReplaceAll(f.args, "b", "")) // a bool is aggregated as a number
			} else if valid {
				valid = a.Arg == -1 && f.bare
			}
			if !valid {
				return fmt.Errorf("window %q: the aggregate %q", w.Name, a.Name)
			}
		}
		if slices.Contains(of, false) {
			return errors.New("nothing needs an argument of a window")
		}
	}
	return nil
}

// fromRecord tells whether a value is there, is of one of some types and needs neither tables nor windows.
func (p *Plan) fromRecord(enriched []bool, id int32, letters string) bool {
	return id >= 0 && int(id) < len(enriched) && !enriched[id] && strings.IndexByte(letters, p.prog.values[id].kind.letter()) >= 0
}

// enriched returns which values need a table or a window.
func (p *program) enriched() []bool {
	out := make([]bool, len(p.values))
	for i := range p.values {
		v := &p.values[i]
		out[i] = v.op == opRow || v.op == opWindow
		for _, a := range v.arguments() {
			out[i] = out[i] || out[a]
		}
	}
	return out
}

// isInput tells whether a value of the kind can be an input of a model.
func (k kind) isInput() bool { return k == kindNumber || k == kindBool || k == kindText }
