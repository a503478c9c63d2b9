package stream

import (
	"fmt"
	"reflect"
	"time"

	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
)

// StoreOption says how a table is kept.
type StoreOption interface {
	TableOption
	WindowOption
	JoinOption
	applyStore(*storeOptions)
}

// TableOption is an option of a table that is read from a topic: a [SourceOption] or a [StoreOption].
type TableOption interface{ tableOption() }

type storeOptions struct {
	memory       bool
	cached       int
	sized        bool // cached was given
	emitOnCommit bool
	expires      bool
	ttl          time.Duration
}

type storeOption func(*storeOptions)

func (f storeOption) applyStore(o *storeOptions) { f(o) }
func (storeOption) tableOption()                 {}
func (sourceOption) tableOption()                {}

// InMemory keeps a table in memory instead of on disk: for small ones, and where a restart may read the whole
// changelog.
func InMemory() StoreOption { return storeOption(func(o *storeOptions) { o.memory = true }) }

// CacheRows is how many rows of a table, in each task, are held decoded at most, and at least one: fewer where the memory for
// state does not suffice for all. Default: 10,000.
func CacheRows(n int) StoreOption {
	return storeOption(func(o *storeOptions) { o.cached, o.sized = n, true })
}

// EmitOnCommit sends an updated row on once for each commit, with its last value, instead of once for each update:
// what Kafka Streams does where its record cache is on. Default: each update.
func EmitOnCommit() StoreOption { return storeOption(func(o *storeOptions) { o.emitOnCommit = true }) }

const defaultCacheRows = 10_000

func storeOptionsOf(opts []StoreOption) storeOptions {
	o := storeOptions{cached: defaultCacheRows}
	each(opts, func(opt StoreOption) { opt.applyStore(&o) })
	return o
}

// each applies options. It panics if one is nil: whose it is is not known.
func each[O any](opts []O, apply func(O)) {
	for i, o := range opts {
		if v := reflect.ValueOf(&o).Elem(); v.IsNil() {
			panic(fmt.Sprintf("stream: %s: option %d of %d is nil", caller(), i+1, len(opts)))
		}
		apply(o)
	}
}

// table describes a store of rows by key.
func (o storeOptions) table(name string) task.StoreSpec {
	s := o.spec(name)
	s.Row = tableRow
	return s
}

func (o storeOptions) spec(name string) task.StoreSpec {
	s := task.StoreSpec{Name: name, Logged: true, Expires: o.expires, TTL: o.ttl}
	if o.memory {
		s.Backend = store.Memory
	}
	return s
}
