package gbm

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"millrace.dev/record"
)

// mixed returns the score, before the link, of a row with the inputs of a set from x and the others from z.
func (f *Forest) mixed(x *record.Frame, row int, z *record.Frame, other int, set uint) float64 {
	fr := &record.Frame{Rows: 1}
	for i := range x.Columns {
		c, from, at := x.Columns[i], z, other
		if set>>i&1 != 0 {
			from, at = x, row
		}
		if c.Type == record.Enum {
			c.Codes = from.Columns[i].Codes[at : at+1]
		} else {
			c.Numbers = from.Columns[i].Numbers[at : at+1]
		}
		fr.Columns = append(fr.Columns, c)
	}
	identity := *f
	identity.link = LinkIdentity
	return identity.plain(fr, 0)
}

// TestContributions holds contributions to the definition of Shapley values, over all sets of inputs.
func TestContributions(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for tries := 0; tries < 40; {
		f := wild(rng)
		n := len(f.inputs)
		if n > 9 {
			continue
		}
		tries++
		x, z := wildFrame(f, rng, 2), wildFrame(f, rng, 3)
		for row := range x.Rows {
			base, by := f.Contributions(x, row, z)
			want, wantBase := make([]float64, n), 0.0
			for other := range z.Rows {
				wantBase += f.mixed(x, row, z, other, 0) / float64(z.Rows)
				for i := range n {
					for set := range uint(1) << n {
						if set>>i&1 == 0 {
							d := f.mixed(x, row, z, other, set|1<<i) - f.mixed(x, row, z, other, set)
							want[i] += float64(d*orders(bits.OnesCount(set), n-1-bits.OnesCount(set))) / float64(z.Rows)
						}
					}
				}
			}
			sum := base
			for i := range by {
				if math.Abs(by[i]-want[i]) > 1e-9 {
					t.Fatalf("seed %d: input %d of %d adds %g, want %g", seed, i, n, by[i], want[i])
				}
				sum += by[i]
			}
			if math.Abs(base-wantBase) > 1e-9 || math.Abs(sum-f.mixed(x, row, z, 0, 1<<n-1)) > 1e-9 {
				t.Fatalf("seed %d: base %g, want %g; all in all %g, want %g", seed, base, wantBase, sum, f.mixed(x, row, z, 0, 1<<n-1))
			}
		}
	}
}

func TestOrders(t *testing.T) {
	t.Parallel()
	for n := 1; n < 60; n++ {
		sum, choose := 0.0, 1.0 // the shares of all sets of the others
		for a := range n {
			sum += choose * orders(a, n-1-a)
			choose *= float64(n-1-a) / float64(a+1)
		}
		if math.Abs(sum-1) > 1e-12 {
			t.Errorf("the shares of %d inputs add up to %g", n, sum)
		}
	}
}
