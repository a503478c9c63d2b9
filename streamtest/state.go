package streamtest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"millrace.dev/internal/task"
	"millrace.dev/stream"
)

// StoredRow is a row of a store.
type StoredRow[K, V any] struct {
	Key       K
	Value     V
	Timestamp int64 // event time, milliseconds since 1970-01-01 00:00:00 UTC
	Partition int32
}

// StateOf returns the rows of a store over all partitions, as of the last commit: of a table, an aggregation, or a
// store of a processor. The keys of windows are read with [stream.WindowedKey]. It ends the test where there is no
// such store.
func StateOf[K comparable, V any](d *Driver, store string, keys stream.Codec[K], values stream.Codec[V]) map[K]V {
	d.t.Helper()
	m := map[K]V{}
	for _, r := range RowsOf(d, store, keys, values) {
		m[r.Key] = r.Value
	}
	return m
}

// RowsOf returns the rows of [StateOf] with their times, by partition and in the order of their keys' bytes.
func RowsOf[K, V any](d *Driver, store string, keys stream.Codec[K], values stream.Codec[V]) (list []StoredRow[K, V]) {
	d.t.Helper()
	spec, sub := d.storeSpec(store)
	for _, r := range d.inOrder() {
		if r.id.Sub != sub {
			continue
		}
		kept, err := spec.Kept(r.task.Store(store).Get)
		if err != nil {
			d.t.Fatalf("streamtest: store %s of task %s: %v", store, r.id, err)
		}
		err = r.task.Store(store).Scan(nil, nil, func(key, value []byte) (bool, error) {
			row, ok, err := spec.Row(bytes.Clone(key), bytes.Clone(value))
			if err != nil || !ok || !kept.Has(&row) {
				return true, err
			}
			out := StoredRow[K, V]{Timestamp: row.Timestamp, Partition: r.id.Partition}
			if out.Key, err = keys.Decode(row.Key); err != nil {
				return false, fmt.Errorf("decode a key: %w", err)
			}
			if out.Value, err = values.Decode(row.Value); err != nil {
				return false, fmt.Errorf("decode a value: %w", err)
			}
			list = append(list, out)
			return true, nil
		})
		if err != nil {
			d.t.Fatalf("streamtest: store %s of task %s: %v", store, r.id, err)
		}
	}
	return list
}

// storeSpec returns a store that has rows, and its sub-topology.
func (d *Driver) storeSpec(name string) (spec task.StoreSpec, sub int) {
	d.t.Helper()
	for _, s := range d.program.Subs {
		for _, spec := range s.Stores {
			switch {
			case spec.Name != name:
			case spec.Row == nil:
				d.t.Fatalf("streamtest: store %s has no rows by key: it is for its operator alone", name)
			default:
				return spec, s.ID
			}
		}
	}
	d.t.Fatalf("streamtest: there is no store %s; there are %v", name, d.Stores())
	return spec, -1
}

// Stores returns the names of the stores, without global tables.
func (d *Driver) Stores() []string {
	var names []string
	for _, s := range d.program.Subs {
		for _, spec := range s.Stores {
			names = append(names, spec.Name)
		}
	}
	slices.Sort(names)
	return names
}

// GlobalOf returns the rows of a global table. It ends the test where there is no such table, or one of other types.
func GlobalOf[K comparable, V any](d *Driver, table string) map[K]V {
	d.t.Helper()
	g, ok := d.globals[table]
	if !ok {
		d.t.Fatalf("streamtest: there is no global table %s; there are %v", table, slices.Sorted(maps.Keys(d.globals)))
	}
	m := map[K]V{}
	g.Each(func(key, value any) bool {
		k, isKey := key.(K)
		v, isValue := value.(V)
		if !isKey || !isValue {
			d.t.Fatalf("streamtest: global table %s has %T and %T", table, key, value)
		}
		m[k] = v
		return true
	})
	return m
}
