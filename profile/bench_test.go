package profile

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkCheck is a window of house sales: the first of its size, and others.
func BenchmarkCheck(b *testing.B) {
	d := houses(b)
	r := rand.New(rand.NewPCG(1, 2))
	all := r.Perm(d.rows)
	ref := d.profile(all, nil)
	ref.Sample = d.sample(all, ref)
	for _, n := range []int{50, 200, 1000, 10000} {
		rows := make([]int, n)
		for i := range rows {
			rows[i] = r.IntN(d.rows)
		}
		w := d.profile(rows, ref)
		for _, first := range []bool{true, false} {
			b.Run(fmt.Sprintf("rows=%d/first=%t", n, first), func(b *testing.B) {
				k, err := NewChecker(ref, Rules{MinRows: 1, Columns: d.names, FalseAlarms: 0.05})
				if err != nil {
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
