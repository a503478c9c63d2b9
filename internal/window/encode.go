package window

import (
	"encoding/binary"
	"math"
	"slices"
)

// stateVersion is the first byte of an encoded state.
const stateVersion = 1

// Append appends the bytes of the state to dst. They are canonical: states that read the same for every record to
// come have the same bytes, and a state that was read from bytes has these bytes. All numbers are little-endian,
// varints are those of encoding/binary, the shortest possible.
//
//	version    1 byte: 1
//	digest     8 bytes, see Window.Digest
//	tiles      varint, how many; if it is 0, that is all
//	time       8 bytes, the key's time
//	each tile  varint, its number less the lowest that there can be (the first that is kept, the one behind the last)
//	           varint, its records; then for each argument
//	             varint, its records less its values
//	             if it has no values, nothing; if it has one, that: 8 bytes if anything is kept of it but its number
//	             (the float of a number, the hash of a text), then the time of its first, if that is kept
//	             if it has more, what is kept, in this order:
//	               sum        8 bytes, a float
//	               squares    16 bytes, the mean and the sum of squared deviations
//	               low, high  8 bytes each
//	               first      8 bytes, and a varint: its time less that at which the tile begins
//	               set        1 byte: the number of hashes, which follow in ascending order, 8 bytes each; or 0, and
//	                          384 bytes: 512 registers of 6 bits, from the lowest bits
//	               cells      1 byte, how many bits were dropped; 1 byte, how many cells; for each a varint, its key
//	                          less the lowest that there can be, and a varint, its number of values less 1
//	latest     for each argument of which it is kept, as many as there can be, from the latest back: varint, by how
//	           much it is earlier than the one before it, or than the key's time; 8 bytes, its value
//
// A float that is missing since a sum was not finite is 7ff8000000000001.
func (s *State) Append(dst []byte) []byte {
	dst = append(dst, stateVersion)
	dst = append(dst, s.w.digest[:]...)
	dst = binary.AppendUvarint(dst, uint64(len(s.tiles)-s.head))
	if len(s.tiles) == s.head {
		return dst
	}
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.time))
	lowest := s.w.grid.place(s.time).before(s.w.grid.kept)
	for i := s.head; i < len(s.tiles); i++ {
		t := &s.tiles[i]
		dst = binary.AppendUvarint(dst, uint64(t.number-lowest))
		dst = binary.AppendUvarint(dst, uint64(t.count))
		for a := range s.w.args {
			dst = s.appendArgument(dst, i, a)
		}
		lowest = t.number + 1
	}
	for _, latest := range s.latest {
		at := s.time
		for _, l := range slices.Backward(latest) {
			dst = binary.AppendUvarint(dst, uint64(at)-uint64(l.at))
			dst = appendFloat(dst, l.x)
			at = l.at
		}
	}
	return dst
}

// appendArgument appends what tile i keeps of argument a.
func (s *State) appendArgument(dst []byte, i, a int) []byte {
	t, arg, m := &s.tiles[i], &s.w.args[a], &s.moments[i*len(s.w.args)+a]
	dst = binary.AppendUvarint(dst, uint64(t.count-m.n))
	inTile := arg.needs &^ needLatest
	if m.n == 0 || inTile == 0 {
		return dst
	}
	if m.n == 1 {
		return s.appendSingle(dst, i, a)
	}
	if inTile&needSum != 0 {
		dst = appendFloat(dst, m.sum)
	}
	if inTile&needSquares != 0 {
		dst = appendFloat(appendFloat(dst, m.mean), m.squares)
	}
	if inTile&needLow != 0 {
		dst = appendFloat(dst, m.low)
	}
	if inTile&needHigh != 0 {
		dst = appendFloat(dst, m.high)
	}
	if inTile&needFirst != 0 {
		dst = appendFloat(dst, m.first)
		dst = binary.AppendUvarint(dst, uint64(s.w.grid.offset(t.number, m.firstAt)))
	}
	if inTile&needSet != 0 {
		dst = s.sets[i*s.w.sets+arg.set].append(dst)
	}
	if inTile&needRank != 0 {
		dst = s.sketches[i*s.w.ranks+arg.rank].append(dst)
	}
	return dst
}

// appendSingle appends the only value of argument a in tile i. It is in whatever is kept.
func (s *State) appendSingle(dst []byte, i, a int) []byte {
	t, arg, m := &s.tiles[i], &s.w.args[a], &s.moments[i*len(s.w.args)+a]
	if arg.kind == Texts {
		return binary.LittleEndian.AppendUint64(dst, s.sets[i*s.w.sets+arg.set].hashes[0])
	}
	dst = appendFloat(dst, m.first)
	if arg.needs&needFirst != 0 {
		dst = binary.AppendUvarint(dst, uint64(s.w.grid.offset(t.number, m.firstAt)))
	}
	return dst
}

func appendFloat(dst []byte, x float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(x))
}

func (s *set) append(dst []byte) []byte {
	dst = append(dst, byte(len(s.hashes)))
	for _, h := range s.hashes {
		dst = binary.LittleEndian.AppendUint64(dst, h)
	}
	for i := 0; i < len(s.regs); i += 4 { // 4 registers in 3 bytes
		four := uint32(s.regs[i]) | uint32(s.regs[i+1])<<6 | uint32(s.regs[i+2])<<12 | uint32(s.regs[i+3])<<18
		dst = append(dst, byte(four), byte(four>>8), byte(four>>16))
	}
	return dst
}

func (s *sketch) append(dst []byte) []byte {
	dst = append(dst, s.drop, byte(len(s.cells)))
	lowest := uint64(0)
	for _, c := range s.cells {
		dst = binary.AppendUvarint(dst, c.key-lowest)
		dst = binary.AppendUvarint(dst, uint64(c.n-1))
		lowest = c.key + 1
	}
	return dst
}
