package stream

// keyFilter is a set of hashes that may say yes wrongly, for about one hash of a hundred, but never no: a Bloom filter
// of which all bits of a hash are in one word. It grows with what is added. The zero value is the empty set.
type keyFilter struct {
	layers [][]uint64 // each of four times the size of the one before
	room   int        // hashes that the last layer still takes
}

const (
	filterWords    = 128 // of the first layer
	filterGrowth   = 4
	hashesPerWord  = 4
	maxFilterWords = filterWords << 10 // 1 MiB: with those before it a set of 700,000
)

// filterMask returns the bits of a hash in its word.
func filterMask(h uint64) uint64 {
	return 1<<(h&63) | 1<<(h>>6&63) | 1<<(h>>12&63) | 1<<(h>>18&63)
}

// word returns the index of a hash's word in a layer.
func filterWord(h uint64, layer []uint64) uint64 { return (h >> 32) * uint64(len(layer)) >> 32 }

// has tells whether a hash may have been added.
func (f *keyFilter) has(h uint64) bool {
	mask := filterMask(h)
	for _, l := range f.layers {
		if l[filterWord(h, l)]&mask == mask {
			return true
		}
	}
	return false
}

// add adds a hash. It returns false if the set has become too large to be worth its memory.
func (f *keyFilter) add(h uint64) bool {
	if f.has(h) {
		return true
	}
	if f.room == 0 {
		words := filterWords
		if n := len(f.layers); n > 0 {
			words = len(f.layers[n-1]) * filterGrowth
		}
		if words > maxFilterWords {
			return false
		}
		f.layers = append(f.layers, make([]uint64, words))
		f.room = words * hashesPerWord
	}
	l := f.layers[len(f.layers)-1]
	l[filterWord(h, l)] |= filterMask(h)
	f.room--
	return true
}

// hashKey hashes the bytes of a key: FNV-1a, and a step after it that brings the differences to all bits.
func hashKey(b []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	h ^= h >> 32
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}
