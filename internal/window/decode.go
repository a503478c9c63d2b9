package window

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"millrace.dev/record"
)

// ErrMismatch is the error of bytes that hold the state of another declaration, or of a later version of millrace.
var ErrMismatch = errors.New("window: the state is of another declaration")

// ErrCorrupt is the error of bytes that are not a state.
var ErrCorrupt = errors.New("window: the state is corrupt")

// maxCount bounds the numbers in a state, so that their sums do not overflow.
const maxCount = 1 << 48

// Decode returns the state that has the bytes b, which [State.Append] made; see [State.Load] for errors.
func (w *Window) Decode(b []byte) (*State, error) {
	s := w.New()
	if err := s.Load(b); err != nil {
		return nil, err
	}
	return s, nil
}

// Load has s be the state that has the bytes b, of which it keeps no reference. It allocates nothing if s has had
// the size before. The error is [ErrMismatch] where the digest is not that of the window, and otherwise [ErrCorrupt]:
// no other bytes are taken than those that the state then has, and memory is asked for only as far as b can fill it.
// After an error, s is the state of a key without records.
func (s *State) Load(b []byte) error {
	s.Reset()
	if len(b) < 1+digestSize {
		return fmt.Errorf("%w: it has %d bytes", ErrCorrupt, len(b))
	}
	if b[0] != stateVersion {
		return fmt.Errorf("%w: its version is %d, and this is version %d", ErrMismatch, b[0], stateVersion)
	}
	if d := b[1 : 1+digestSize]; [digestSize]byte(d) != s.w.digest {
		return fmt.Errorf("%w: its digest is %x, and the declaration's is %x: sizes, arguments or what is computed of them have changed",
			ErrMismatch, d, s.w.digest)
	}
	d := decoder{s: s, w: s.w, b: b[1+digestSize:]}
	d.state()
	if d.fault == "" && len(d.b) > 0 {
		d.fail("bytes are left over")
	}
	if d.fault != "" {
		s.Reset()
		return fmt.Errorf("%w: %s", ErrCorrupt, d.fault)
	}
	return nil
}

// decoder reads a state. After a fault it reads zeros.
type decoder struct {
	s     *State
	w     *Window
	b     []byte // what is left
	fault string // the first
}

func (d *decoder) fail(fault string) {
	if d.fault == "" {
		d.fault, d.b = fault, nil
	}
}

// check fails unless ok, and returns whether there is no fault.
func (d *decoder) check(ok bool, fault string) bool {
	if !ok {
		d.fail(fault)
	}
	return d.fault == ""
}

// take reads n bytes; after a fault, they are nil.
func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.fail("it is cut short")
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) fixed() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// varint reads the shortest form of a number.
func (d *decoder) varint() uint64 {
	if b := d.b; len(b) > 0 && b[0] < 0x80 {
		d.b = b[1:]
		return uint64(b[0])
	}
	return d.longVarint()
}

func (d *decoder) longVarint() uint64 {
	x, n := binary.Uvarint(d.b)
	if n <= 0 || d.b[n-1] == 0 { // at least two bytes
		d.fail("a number is cut short, too long, or not the shortest form")
		return 0
	}
	d.b = d.b[n:]
	return x
}

// number reads a float that a value can be.
func (d *decoder) number() float64 {
	x := math.Float64frombits(d.fixed())
	d.check(isNumber(x), "a value is no number")
	return x
}

// isNumber tells whether x is finite and not -0.
func isNumber(x float64) bool { return finite(x) && (x != 0 || !math.Signbit(x)) }

// isSum tells whether x is finite or the NaN of sums.
func isSum(x float64) bool {
	return finite(x) || math.Float64bits(x) == math.Float64bits(math.NaN())
}

func (d *decoder) state() {
	n := d.varint()
	if n == 0 || !d.check(n <= uint64(d.w.grid.most()) && n <= uint64(len(d.b)/(2+len(d.w.args))), "it has too many tiles") {
		return
	}
	time := int64(d.fixed())
	if !d.check(time != record.MissingTime, "it has no time") {
		return
	}
	d.s.time = time
	d.s.resize(int(n))
	p := d.w.grid.place(time)
	lowest, last := p.before(d.w.grid.kept), p.tile()
	for i := range d.s.tiles {
		more, count := d.varint(), d.varint()
		if !d.check(lowest <= last && more <= uint64(last-lowest), "a tile is out of order, or later than the time") ||
			!d.check(0 < count && count <= maxCount, "a tile has no records, or too many") {
			return
		}
		d.s.tiles[i] = tile{lowest + int64(more), int64(count)}
		lowest += int64(more) + 1
		for a := range d.w.args {
			without := d.varint()
			if !d.check(without <= count, "a tile has more values than records") {
				return
			}
			d.argument(i, a, int64(count-without))
		}
	}
	d.check(lowest == last+1, "the time is in no tile")
	for a := range d.w.args {
		if d.fault == "" && d.w.args[a].latest >= 0 {
			d.latest(a)
		}
	}
}

// argument reads what tile i keeps of the n values of argument a.
func (d *decoder) argument(i, a int, n int64) {
	arg := &d.w.args[a]
	inTile := arg.needs &^ needLatest
	if n == 1 && inTile != 0 {
		d.single(i, a)
		return
	}
	m := &d.s.moments[i*len(d.w.args)+a]
	m.n = n
	if n == 0 || inTile == 0 {
		return
	}
	d.moments(m, arg)
	if inTile&needFirst != 0 {
		m.firstAt = d.time(i)
	}
	if inTile&needSet != 0 {
		d.set(&d.s.sets[i*d.w.sets+arg.set], n)
	}
	if inTile&needRank != 0 {
		d.sketch(&d.s.sketches[i*d.w.ranks+arg.rank], n)
	}
}

// moments reads the floats among the moments.
func (d *decoder) moments(m *moments, arg *argument) {
	b, ok := d.take(arg.floats*8), true
	if len(b) == 0 {
		return
	}
	if arg.needs&needSum != 0 {
		m.sum, b = float(b), b[8:]
		ok = ok && isSum(m.sum)
	}
	if arg.needs&needSquares != 0 {
		m.mean, m.squares, b = float(b), float(b[8:]), b[16:]
		ok = ok && isSum(m.mean) && isSum(m.squares) && !(m.squares < 0)
	}
	if arg.needs&needLow != 0 {
		m.low, b = float(b), b[8:]
		ok = ok && isNumber(m.low)
	}
	if arg.needs&needHigh != 0 {
		m.high, b = float(b), b[8:]
		ok = ok && isNumber(m.high) && (arg.needs&needLow == 0 || m.low <= m.high)
	}
	if arg.needs&needFirst != 0 {
		m.first = float(b)
		ok = ok && isNumber(m.first)
	}
	d.check(ok, "a sum or a value is no number, or cannot be")
}

func float(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }
