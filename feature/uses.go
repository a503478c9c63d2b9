package feature

// Uses says what an input of a model is computed from.
type Uses struct {
	Fields  []string // of the records, in the order of the schema; also those that look rows up, or that windows aggregate
	Tables  []string // whose rows it reads
	Windows []string // whose aggregates it reads
}

// Uses returns what each input of the model is computed from, in the order of [Plan.Inputs]. A field that is an input uses
// itself.
func (p *Plan) Uses() []Uses {
	out := make([]Uses, len(p.prog.results))
	for k, result := range p.prog.results {
		roots, u := []int32{result}, &out[k]
		live := p.prog.live(roots)
		for w := range p.prog.windows {
			if !p.prog.reads(live, func(v *value) bool { return v.op == opWindow && v.window == w }) {
				continue
			}
			of := &p.prog.windows[w]
			u.Windows = append(u.Windows, of.Name)
			roots = append(append(roots, of.key), of.args...)
			if of.where >= 0 {
				roots = append(roots, of.where)
			}
		}
		live = p.prog.live(roots)
		for t := range p.prog.tables {
			if p.prog.reads(live, func(v *value) bool { return v.op == opRow && v.table == t }) {
				u.Tables = append(u.Tables, p.prog.tables[t].Name)
			}
		}
		for _, f := range p.prog.fields(live) {
			u.Fields = append(u.Fields, p.schema.Field(f).Name)
		}
	}
	return out
}

// reads tells whether a live value is as is tells.
func (p *program) reads(live []bool, is func(*value) bool) bool {
	for i := range p.values {
		if live[i] && is(&p.values[i]) {
			return true
		}
	}
	return false
}
