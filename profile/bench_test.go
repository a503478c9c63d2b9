package profile

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkCheck judges a window of house sales: the first of its size, and others.
func BenchmarkCheck(b *testing.B) {
	d := houses(b)
	reference := d.reference(d.rows)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{50, 200, 1000, 10000} {
		w := d.window(b, d.draw(rng, n), reference)
		for _, first := range []bool{true, false} {
			b.Run(fmt.Sprintf("rows=%d/first=%t", n, first), func(b *testing.B) {
				k := newChecker(b, reference, Rules{MinRows: 1, Columns: d.names()})
				if _, err := k.Check(w); err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if first {
						clear(k.family.sizes)
					}
					if _, err := k.Check(w); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
