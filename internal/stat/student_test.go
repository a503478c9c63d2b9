package stat

import (
	"math"
	"testing"
)

// TestStudent holds the tails to those of scipy.stats.t.sf, of SciPy 1.17.1, and the quantiles to the tails.
func TestStudent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		t, freedom, want float64
	}{
		{0.0, 1, 0.5},
		{0.3, 1, 0.407226420922258},
		{1.6448536, 1, 0.173876643941344},
		{2.5, 1, 0.121118941590843},
		{6.0, 1, 0.0525684567112534},
		{0.0, 2, 0.5},
		{0.3, 2, 0.396242830420089},
		{1.6448536, 2, 0.120866322062662},
		{2.5, 2, 0.0648058601107554},
		{6.0, 2, 0.0133357366077124},
		{0.0, 5, 0.5},
		{0.3, 5, 0.388124521131637},
		{1.6448536, 5, 0.0804598759234959},
		{2.5, 5, 0.0272450496711881},
		{6.0, 5, 0.000923069144797007},
		{0.0, 29, 0.5},
		{0.3, 29, 0.383158546664484},
		{1.6448536, 29, 0.0553990808247973},
		{2.5, 29, 0.00916267216921304},
		{6.0, 29, 7.96395421308734e-07},
		{0.0, 99, 0.5},
		{0.3, 99, 0.382403080870129},
		{1.6448536, 99, 0.0515858543510055},
		{2.5, 99, 0.00703129846057453},
		{6.0, 99, 1.62295805617277e-08},
		{0.0, 1234, 0.5},
		{0.3, 1234, 0.382113841235818},
		{1.6448536, 1234, 0.0501273471085889},
		{2.5, 1234, 0.0062741563731055},
		{6.0, 1234, 1.29469192402699e-09},
		{0.0, 100000, 0.5},
		{0.3, 100000, 0.382088889595169},
		{1.6448536, 100000, 0.0500015743272557},
		{2.5, 100000, 0.00621045959627953},
		{6.0, 100000, 9.89964727800886e-10},
	} {
		got := StudentTail(c.t, c.freedom)
		if math.Abs(got-c.want) > 1e-8*c.want {
			t.Errorf("tail of %v with %v: %v, want %v", c.t, c.freedom, got, c.want)
		}
		if q := StudentQuantile(c.want, c.freedom); math.Abs(q-c.t) > 1e-7*max(1, math.Abs(c.t)) {
			t.Errorf("quantile of %v with %v: %v, want %v", c.want, c.freedom, q, c.t)
		}
		if mirror := StudentTail(-c.t, c.freedom); math.Abs(mirror+got-1) > 1e-12 {
			t.Errorf("the tails of %v and %v with %v sum to %v", c.t, -c.t, c.freedom, mirror+got)
		}
	}
	for x, want := range map[float64]float64{math.Inf(1): 0, math.Inf(-1): 1} {
		if got := StudentTail(x, 3); got != want {
			t.Errorf("tail of %v: %v", x, got)
		}
	}
	if !math.IsNaN(StudentTail(math.NaN(), 3)) {
		t.Error("the tail of NaN is a number")
	}
}
