package watch

import (
	"encoding/binary"
	"errors"
)

// Part is what a partition has counted of a window since it last told.
type Part struct {
	By        string // what it was counted by: see [Options]
	Partition int32
	// Latest is how far the partition's records are in event time, in microseconds since 1970; [Unknown] at first.
	Latest  int64
	Untimed uint64 // records without a time that could be believed
	Window  int64
	Counts  []byte // of the records, as [profile.Counter.AppendBinary] writes them; empty if there are none
}

// Unknown is no event time.
const Unknown int64 = -1 << 63

// partFormat is the first byte of a part.
const partFormat = 1

// AppendBinary appends the part to b, and never fails: the byte 1, the length of the model's name and the name, partition, latest, untimed,
// window, all as varints, and the counts.
func (p *Part) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, partFormat)
	b = append(binary.AppendUvarint(b, uint64(len(p.By))), p.By...)
	b = binary.AppendVarint(b, int64(p.Partition))
	b = binary.AppendVarint(b, p.Latest)
	b = binary.AppendUvarint(b, p.Untimed)
	b = binary.AppendVarint(b, p.Window)
	return append(b, p.Counts...), nil
}

var errPart = errors.New("watch: these are not the bytes of a part of a window: was the topic written by another program?")

// UnmarshalBinary reads what [Part.AppendBinary] wrote. The counts share b's memory.
func (p *Part) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] != partFormat {
		return errPart
	}
	b = b[1:]
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return errPart
	}
	model := string(b[size : size+int(n)])
	b = b[size+int(n):]
	var v [4]int64
	for i := range v {
		if i == 2 {
			u, s := binary.Uvarint(b)
			v[i], size = int64(u), s
		} else {
			v[i], size = binary.Varint(b)
		}
		if size <= 0 {
			return errPart
		}
		b = b[size:]
	}
	if v[0] < 0 || v[0] > 1<<31-1 || v[2] < 0 {
		return errPart
	}
	*p = Part{By: model, Partition: int32(v[0]), Latest: v[1], Untimed: uint64(v[2]), Window: v[3], Counts: b}
	return nil
}
