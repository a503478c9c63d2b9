package codec

import (
	"math/rand/v2"
	"strings"
	"testing"

	"millrace.dev/record"
)

// TestLevelCache holds codes against those of the dictionary alone, for levels that look alike, while levels that are
// not known are forgotten and dictionaries change.
func TestLevelCache(t *testing.T) {
	t.Parallel()
	var levels []string
	for n := range 20 {
		same := strings.Repeat("a", n)
		levels = append(levels, same)
		for at := range n {
			levels = append(levels, same[:at]+"b"+same[at+1:], same[:at]+"\x00"+same[at+1:])
		}
	}
	levels = append(levels, "0", "1", "2", "\x00", "aaaaaaaaXaaaaaaaa", "aaaaaaaaYaaaaaaaa")
	rng := rand.New(rand.NewPCG(1, 1))
	newDict := func() *record.Dict {
		var known []string
		for _, l := range levels {
			if rng.IntN(2) == 0 {
				known = append(known, l)
			}
		}
		return record.NewDict(known)
	}
	dicts := []*record.Dict{newDict(), newDict(), record.NewDict(nil), record.NewDict([]string{"x"})}
	c := new(levelCache)
	for range 100 {
		d := dicts[rng.IntN(len(dicts))]
		if rng.IntN(2) == 0 {
			d.Reset()
		}
		c.bind(d)
		for range 300 {
			text := levels[rng.IntN(len(levels))]
			if got, want := c.code([]byte(text)), d.Code([]byte(text)); got != want {
				t.Fatalf("%q has code %d: %q", text, want, d.Level(got))
			}
		}
	}
}
