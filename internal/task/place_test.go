package task

import "testing"

// The hashes are those that Apache Kafka's own tests of Utils.murmur2 expect.
func TestMurmur2(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string":                       -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key    []byte
		source int32
		n      int
		want   int32
	}{
		{[]byte("21"), 5, 10, int32((-973932308 & 0x7fffffff) % 10)},
		{[]byte("abc"), 5, 7, 479470107 % 7},
		{[]byte{}, 5, 1, 0},
		{nil, 5, 4, 1},
		{nil, -1, 4, 0},
	} {
		if got := Place(c.key, c.source, c.n); got != c.want {
			t.Errorf("Place(%q, %d, %d) = %d, want %d", c.key, c.source, c.n, got, c.want)
		}
	}
}
