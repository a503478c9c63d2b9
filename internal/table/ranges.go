package table

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/oschwald/maxminddb-golang/v2"
	"millrace.dev/codec"
	"millrace.dev/record"
)

// maxFile is the largest size of a database that is read: ten times that of the largest that are sold.
const maxFile = 4 << 30

// DefaultCached is the default of [RangesOptions.Cached].
const DefaultCached = 1 << 16

// RangesOptions are the settings of [OpenRanges].
type RangesOptions struct {
	// Schema is that of the rows. The names of its fields are paths in the database's records, such as country.iso_code,
	// location.latitude or subdivisions.0.iso_code: names of members, and positions in arrays, from 0. Required.
	Schema *record.Schema
	// Cached is how many decoded rows are kept in memory at most. Default: DefaultCached
	Cached int
}

// Ranges are rows by network address, from a file in the format MaxMind DB (https://maxmind.github.io/MaxMind-DB/): where an
// address is, who has it. It is safe for concurrent use.
//
// A value is read by the rules of package codec, as if the record were JSON. One that a field cannot hold is missing, and
// counted.
type Ranges struct {
	schema *record.Schema
	db     *maxminddb.Reader
	cache  rowCache
	faults atomic.Int64

	mu      sync.Mutex // of what decodes
	decoder *codec.JSON
	batch   *record.Batch
	paths   [][]any
	json    []byte
}

// OpenRanges reads a file into memory and checks all of it. A file that is damaged or in another format is an error.
func OpenRanges(path string, o RangesOptions) (*Ranges, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	r, err := NewRanges(data, o)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, path)
	}
	return r, nil
}

// readFile returns what is in a file, which is copied: a mapped one that is overwritten would end the process.
func readFile(path string) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: want a file of at most %d bytes", path, int64(maxFile))
	}
	data = make([]byte, info.Size())
	_, err = io.ReadFull(f, data)
	return data, err
}

// NewRanges is [OpenRanges] for a file that is in memory, which it keeps.
func NewRanges(file []byte, o RangesOptions) (*Ranges, error) {
	if o.Schema == nil {
		return nil, errors.New("table: no schema")
	}
	if o.Cached < 0 {
		return nil, fmt.Errorf("table: %d cached rows: want 0 or more", o.Cached)
	}
	if o.Cached == 0 {
		o.Cached = DefaultCached
	}
	db, err := maxminddb.OpenBytes(file)
	if err == nil {
		err = db.Verify()
	}
	if err != nil {
		return nil, fmt.Errorf("table: MaxMind DB: %w", err)
	}
	r := &Ranges{schema: o.Schema, db: db}
	r.cache.most = max(o.Cached/len(r.cache.parts), 1)
	var fields []record.Field
	for i := range o.Schema.Len() {
		f := o.Schema.Field(i)
		p, err := parsePath(f.Name)
		if err != nil {
			return nil, err
		}
		r.paths = append(r.paths, p)
		f.Required = false // a value that cannot be read is missing, and the path of the records knows what to do then
		fields = append(fields, f)
	}
	own, err := record.NewSchema(fields...)
	if err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	if r.decoder, err = codec.NewJSON(own, codec.JSONOptions{}); err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	r.batch = record.NewBatch(own, nil)
	return r, nil
}

// parsePath returns the steps of a path: texts, and integers for positions.
func parsePath(name string) ([]any, error) {
	var path []any
	for step := range strings.SplitSeq(name, ".") {
		if step == "" {
			return nil, fmt.Errorf("table: the field %q is no path: a step is empty", name)
		}
		if n, ok := position(step); ok {
			path = append(path, n)
		} else {
			path = append(path, step)
		}
	}
	return path, nil
}

// position reads a step that is a position in an array.
func position(step string) (int, bool) {
	if len(step) > 6 || len(step) > 1 && step[0] == '0' {
		return 0, false
	}
	n := 0
	for i := range len(step) {
		c := step[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = 10*n + int(c)
	}
	return n, true
}

// Schema returns the schema of the rows.
func (r *Ranges) Schema() *record.Schema { return r.schema }

// Faults returns how many values could not be read, each counted once as long as its row is cached.
func (r *Ranges) Faults() int64 { return r.faults.Load() }

// Get implements [Rows]. The key is the text of an IPv4 or IPv6 address; a database has no history, so that at is not looked
// at. It returns nil for a text that is no address, and for an address of which the database has none of the fields.
func (r *Ranges) Get(key string, _ int64) *record.Row {
	address, err := netip.ParseAddr(key)
	if err != nil || address.Zone() != "" {
		return nil
	}
	found := r.db.Lookup(address.Unmap())
	if !found.Found() {
		return nil // also an IPv6 address, if the database has IPv4 alone
	}
	offset := found.Offset()
	row, ok := r.cache.get(offset)
	if !ok {
		row = r.decode(found)
		r.cache.put(offset, row)
	}
	return row
}

// decode returns the row that a record of the database is, or nil if it has none of the fields.
func (r *Ranges) decode(found maxminddb.Result) *record.Row {
	r.mu.Lock()
	defer r.mu.Unlock()
	values := make([]any, len(r.paths))
	for i, path := range r.paths {
		if err := found.DecodePath(&values[i], path...); err != nil {
			values[i] = nil
			r.faults.Add(1)
		}
	}
	for { // without one value more each time
		r.json = r.appendObject(r.json[:0], values)
		r.batch.Reset()
		r.batch.Append(record.Raw{Value: r.json})
		r.decoder.Decode(r.batch)
		p := r.batch.Problem(0)
		if p == nil {
			return record.RowOf(r.batch, 0)
		}
		i, ok := r.schema.Index(p.Field)
		if !ok || values[i] == nil {
			return nil
		}
		values[i] = nil
		r.faults.Add(1)
	}
}

// rowCache keeps decoded rows by their place in the file; all are dropped when it is full, so that it costs little.
type rowCache struct {
	most  int // in each part
	parts [64]struct {
		mu   sync.RWMutex
		rows map[uintptr]*record.Row
		_    [32]byte
	}
}

func (c *rowCache) get(offset uintptr) (*record.Row, bool) {
	p := &c.parts[offset*0x9E3779B1>>16%uintptr(len(c.parts))]
	p.mu.RLock()
	row, ok := p.rows[offset]
	p.mu.RUnlock()
	return row, ok
}

func (c *rowCache) put(offset uintptr, row *record.Row) {
	p := &c.parts[offset*0x9E3779B1>>16%uintptr(len(c.parts))]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rows == nil || len(p.rows) >= c.most {
		p.rows = map[uintptr]*record.Row{}
	}
	p.rows[offset] = row
}
