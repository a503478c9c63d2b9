package feature

import (
	"errors"
	"fmt"
	"regexp"

	"millrace.dev/record"
)

// ErrKey means that a table's rows cannot be found before the features are computed: see [Plan.NewKeyReader].
var ErrKey = errors.New("the table has to be looked up by one key, which is made of fields of the record")

// KeyReader computes by which keys records look rows of one table up. It is for one goroutine at a time.
type KeyReader struct {
	m     *machine
	keys  []record.Text
	bytes arena // of the keys
}

// NewKeyReader returns a reader of the keys of a table, a position in [Plan.Tables], for a driver that has to know them
// before the features are computed. The error is [ErrKey] if features look the table up by more than one expression, or
// by one that needs a table or a window itself.
func (p *Plan) NewKeyReader(table int) (*KeyReader, error) {
	key, enriched := int32(-1), p.prog.enriched()
	for i := range p.prog.values {
		v := &p.prog.values[i]
		if v.op != opRow || v.table != table {
			continue
		}
		if key >= 0 && key != v.args[0] || !p.fromRecord(enriched, v.args[0], "t") {
			return nil, fmt.Errorf("feature: table %s: %w", p.prog.tables[table].Name, ErrKey)
		}
		key = v.args[0]
	}
	if key < 0 {
		return nil, fmt.Errorf("feature: no table %d: %w", table, ErrKey)
	}
	l, err := newLayoutOf(p.schema, p.prog, []int32{key}, 1, map[string]*regexp.Regexp{})
	if err != nil {
		return nil, fmt.Errorf("feature: %w", err)
	}
	return &KeyReader{m: newMachine(l, tile)}, nil
}

// Read returns the keys of the records of b, valid until the next Read.
func (r *KeyReader) Read(b *record.Batch) []record.Text {
	r.keys = r.keys[:0]
	r.bytes.reset()
	r.m.run(b, Enrichment{}, r)
	return r.keys
}

// The sink of the machine: one result, a text.
func (r *KeyReader) numbers(int, int, []float64) {}
func (r *KeyReader) bools(int, int, []uint8)     {}
func (r *KeyReader) times(int, int, []int64)     {}

func (r *KeyReader) texts(_, _ int, v []text) {
	for _, t := range v {
		r.keys = append(r.keys, r.bytes.copied(t))
	}
}
