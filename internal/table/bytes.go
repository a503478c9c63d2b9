package table

import (
	"unsafe"

	"millrace.dev/record"
)

// allocBytes is about what an allocation takes on top of its bytes.
const allocBytes = 8

// momentBytes is what something that is to be forgotten takes.
const momentBytes = int64(unsafe.Sizeof(moment{}))

// keyBytes returns about what a key takes, without its versions: its entry, two slots, and the key itself.
func keyBytes(key string) int64 {
	n := int64(unsafe.Sizeof(entry{}) + 2*unsafe.Sizeof(slot{}))
	if len(key) > inline {
		n += int64(len(key)) + allocBytes
	}
	return n
}

// versionBytes returns about what a version takes.
func versionBytes(v *version) int64 {
	return int64(unsafe.Sizeof(*v)) + rowBytes(v.row)
}

// rowBytes returns about what a row takes.
func rowBytes(r *record.Row) int64 {
	if r == nil {
		return 0
	}
	n := int64(unsafe.Sizeof(*r)) + 8*int64(cap(r.Numbers)+cap(r.Times)) + int64(unsafe.Sizeof(record.Text{}))*int64(cap(r.Texts))
	for i := range r.Texts {
		if size := len(r.Texts[i].S); size > 0 {
			n += int64(size) + allocBytes
		}
	}
	return n
}
