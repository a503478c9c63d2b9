package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"
)

// lookUp reads an entry of the catalogue; nil where there is none.
func (db *DB) lookUp(key []byte) ([]byte, error) {
	v, closer, err := db.pebble.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, db.readError(err)
	}
	v = append([]byte{}, v...)
	return v, db.readError(closer.Close())
}

// list calls f with every entry of the catalogue whose key begins with prefix, without that.
func (db *DB) list(prefix []byte, f func(name, value []byte) error) error {
	it, err := db.pebble.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: successor(prefix)})
	if err != nil {
		return db.readError(err)
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		err = f(it.Key()[len(prefix):], it.Value())
	}
	return errors.Join(err, db.readError(it.Close()))
}

// damaged notes that the catalogue makes no sense.
func (db *DB) damaged(err error) error {
	if err == nil {
		return nil
	}
	db.health.damage(err)
	return corruptError("read the state folder", db.folder.dir, err)
}

// findTask returns the number of a task, 0 where it has no state on disk.
func (db *DB) findTask(id string) (uint32, error) {
	key := taskKey(id)
	v, err := db.lookUp(key)
	if v == nil || err != nil {
		return 0, err
	}
	n, err := fixed[uint32](key, v)
	return n, db.damaged(err)
}

// newTask gives a task a number.
func (db *DB) newTask(id string) (uint32, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.lastTask == math.MaxUint32 {
		return 0, fmt.Errorf("store: open task %s: the state folder has had all its 2^32 tasks", id)
	}
	b := db.pebble.NewBatch()
	defer func() { _ = b.Close() }() // it holds nothing but memory
	n := db.lastTask + 1
	if err := b.Set(taskKey(id), binary.BigEndian.AppendUint32(nil, n), nil); err != nil {
		return 0, err
	}
	if err := db.apply(b); err != nil {
		return 0, err
	}
	db.lastTask = n
	return n, nil
}

// findStore returns the number of a store.
func (db *DB) findStore(task uint32, name string) (n uint16, found bool, err error) {
	if task == 0 {
		return 0, false, nil
	}
	key := storeKey(task, name)
	v, err := db.lookUp(key)
	if v == nil || err != nil {
		return 0, false, err
	}
	n, err = fixed[uint16](key, v)
	return n, err == nil, db.damaged(err)
}

// newStore gives a store a number, one more than the task's others have.
func (db *DB) newStore(task uint32, name string) (uint16, error) {
	var last uint16
	err := db.list(ofTask(kindStore, task), func(name, value []byte) error {
		n, err := fixed[uint16](name, value)
		last = max(last, n)
		return db.damaged(err)
	})
	if err != nil {
		return 0, err
	}
	if last == math.MaxUint16 {
		return 0, fmt.Errorf("store: open store %s: the task has had all its 2^16 stores", name)
	}
	b := db.pebble.NewBatch()
	defer func() { _ = b.Close() }() // it holds nothing but memory
	if err := b.Set(storeKey(task, name), binary.BigEndian.AppendUint16(nil, last+1), nil); err != nil {
		return 0, err
	}
	return last + 1, db.apply(b)
}

// checkpoint reads the checkpoint of a store.
func (db *DB) checkpoint(task uint32, store uint16) (checkpoint, error) {
	key := ofStore(kindCheckpoint, task, store)
	v, err := db.lookUp(key)
	if v == nil || err != nil {
		return checkpoint{}, err
	}
	n, err := fixed[uint64](key, v)
	if err != nil {
		return checkpoint{}, db.damaged(err)
	}
	return checkpoint{int64(n), true}, nil
}

func encodeOffset(offset int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(offset)) }

// removeStore deletes a store.
func (db *DB) removeStore(task uint32, store uint16, name string) error {
	b := db.pebble.NewBatch()
	defer func() { _ = b.Close() }() // it holds nothing but memory
	data := ofStore(kindData, task, store)
	if err := errors.Join(
		b.Delete(storeKey(task, name), nil),
		b.Delete(ofStore(kindCheckpoint, task, store), nil),
		b.DeleteRange(data, successor(data), nil),
	); err != nil {
		return err
	}
	return db.apply(b)
}

// removeTask deletes a task with its stores.
func (db *DB) removeTask(id string, task uint32) error {
	b := db.pebble.NewBatch()
	defer func() { _ = b.Close() }() // it holds nothing but memory
	errs := []error{b.Delete(taskKey(id), nil)}
	for _, kind := range []byte{kindStore, kindCheckpoint, kindData} {
		prefix := ofTask(kind, task)
		errs = append(errs, b.DeleteRange(prefix, successor(prefix), nil))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return db.apply(b)
}
