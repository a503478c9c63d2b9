package task

// Place returns the partition of a record out of n, as the standard producers of Kafka choose it: by the murmur2 hash
// of the key. A record without a key, which is nil, goes to the partition with the number of its source's, modulo n, so
// that the order of its source is kept.
func Place(key []byte, source int32, n int) int32 {
	if key == nil {
		return max(0, source) % int32(n)
	}
	return int32(murmur2(key)&0x7fffffff) % int32(n)
}

// murmur2 is the 32-bit MurmurHash2 by Austin Appleby, with the seed that Kafka uses.
func murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(b[0])) * m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}
