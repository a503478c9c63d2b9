package batch

import (
	"math"
	"sync"

	"millrace.dev/internal/stat"
	"millrace.dev/record"
)

// The bounds of what is known of keys one by one: 64 tables of hashes of 8 bytes each.
const (
	keyShards    = 64
	mostKeys     = 6 << 20 // different ones; they take 128 MiB at most
	keysPerShard = mostKeys / keyShards
)

// keys counts different keys: by their hashes as long as there are few of them, then by an estimate.
type keys struct {
	field  int
	shards [keyShards]keyShard
}

// keyShard holds the hashes that begin with the same bits. A slot of 0 is free.
type keyShard struct {
	sync.Mutex

	slots []uint64
	n     int
	full  bool
}

// keyWorker is what a goroutine adds to keys.
type keyWorker struct {
	all      *keys
	rows     uint64
	distinct stat.Distinct
	hashes   []uint64
}

// Keys says how often keys come again.
type Keys struct {
	Field    string
	Rows     uint64 // with a key
	Distinct uint64 // different keys
	Exact    bool   // Distinct was counted; else it is an estimate with a standard error of 0.8 %
}

// Repeated returns the rows whose key came before.
func (k *Keys) Repeated() uint64 { return k.Rows - min(k.Rows, k.Distinct) }

// add takes in the keys of a batch.
func (w *keyWorker) add(b *record.Batch) {
	w.hashes = appendKeys(w.hashes[:0], b, w.all.field)
	w.rows += uint64(len(w.hashes))
	for _, h := range w.hashes {
		w.distinct.AddHash(h)
		w.all.shards[h>>58].add(h)
	}
}

// appendKeys appends a hash of the key of each row that has one.
func appendKeys(dst []uint64, b *record.Batch, field int) []uint64 {
	for i := range b.Len() {
		if b.Problem(i) != nil {
			continue
		}
		switch b.Schema().Field(field).Type {
		case record.Numeric:
			if x := b.Numbers(field)[i]; x == x {
				dst = append(dst, stat.Mix(math.Float64bits(x+0)))
			}
		case record.Time:
			if t := b.Times(field)[i]; t != record.MissingTime {
				dst = append(dst, stat.Mix(uint64(t)))
			}
		case record.Enum:
			if code := b.Codes(field)[i]; code != record.MissingCode {
				dst = append(dst, stat.Hash64(b.Dict(field).Level(code)))
			}
		case record.String:
			if texts := b.Texts(field); !texts.Missing(i) {
				dst = append(dst, stat.Hash64(texts.View(i)))
			}
		}
	}
	return dst
}

// add takes in a hash. Two keys have the same with a probability of 2^-64.
func (s *keyShard) add(h uint64) {
	s.Lock()
	defer s.Unlock()
	if s.full {
		return
	}
	if 4*(s.n+1) > 3*len(s.slots) {
		s.grow()
	}
	if s.n += put64(s.slots, h|1); s.n > keysPerShard {
		s.full, s.slots = true, nil
	}
}

func (s *keyShard) grow() {
	old := s.slots
	s.slots = make([]uint64, max(256, 2*len(old)))
	for _, h := range old {
		if h != 0 {
			put64(s.slots, h)
		}
	}
}

// put64 puts a hash into a table whose size is a power of two, and returns 1 if it was not there.
func put64(slots []uint64, h uint64) int {
	for i := h >> 1; ; i++ {
		switch at := &slots[i&uint64(len(slots)-1)]; *at {
		case 0:
			*at = h
			return 1
		case h:
			return 0
		}
	}
}

// counted returns what all workers have seen.
func (k *keys) counted(field string, workers []*keyWorker) *Keys {
	out := &Keys{Field: field, Exact: true}
	var estimate stat.Distinct
	for _, w := range workers {
		out.Rows += w.rows
		estimate.Merge(&w.distinct)
	}
	for i := range k.shards {
		out.Distinct += uint64(k.shards[i].n)
		out.Exact = out.Exact && !k.shards[i].full
	}
	if !out.Exact {
		out.Distinct = min(estimate.Estimate(), out.Rows)
	}
	return out
}
