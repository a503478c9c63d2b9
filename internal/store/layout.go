package store

import (
	"encoding/binary"
	"fmt"
)

// The keys of the database, by their first byte. Tasks and stores have numbers, so that a key does not carry names:
//
//	't' task id                    -> task number, 4 bytes
//	's' task number, store name    -> store number, 2 bytes
//	'c' task number, store number  -> checkpoint, 8 bytes
//	'd' task number, store number, the user's key -> the user's value
//
// Numbers are big-endian, so that all keys of a task, and of a store, are neighbours. A number is never given away
// twice while anything with it may be left. Whoever changes this layout, or lets Pebble write a newer format,
// raises format.
const (
	kindTask       = 't'
	kindStore      = 's'
	kindCheckpoint = 'c'
	kindData       = 'd'
)

// format is the number of the layout of the state folder. A folder with a higher number is refused.
const format = 1

// The longest names.
const (
	maxTaskID    = 255
	maxStoreName = 255
)

func taskKey(id string) []byte { return append([]byte{kindTask}, id...) }

// ofTask returns what the keys of a kind and a task begin with.
func ofTask(kind byte, task uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, task)
}

func storeKey(task uint32, name string) []byte { return append(ofTask(kindStore, task), name...) }

// ofStore returns what the keys of a kind and a store begin with.
func ofStore(kind byte, task uint32, store uint16) []byte {
	return binary.BigEndian.AppendUint16(ofTask(kind, task), store)
}

// successor returns the first key after all those that begin with prefix, which is not all 0xff.
func successor(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; ; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
}

// fixed reads a number of the catalogue.
func fixed[T uint16 | uint32 | uint64](key, value []byte) (T, error) {
	var n T
	if size := binary.Size(n); len(value) != size {
		return 0, fmt.Errorf("%w: the entry %q of the catalogue has %d bytes, not %d", ErrCorrupt, key, len(value), size)
	}
	for _, b := range value {
		n = n<<8 | T(b)
	}
	return n, nil
}

func checkName(what, name string, most int) error {
	if name == "" || len(name) > most {
		return fmt.Errorf("store: the %s %.40q has %d bytes: it must have from 1 to %d", what, name, len(name), most)
	}
	return nil
}
