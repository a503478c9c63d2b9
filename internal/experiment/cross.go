package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// MostLoss is the largest size of a loss that accumulators take: beyond, products of its squares would leave the range of float64.
const MostLoss = 1e70

// Cross accumulates, over units, the loss of the arm (y), the loss of the baseline on the same records (x) and the number of records
// (d): their sums and the sums of their products, from which means, variances, ratios over records, and the adjustment by the
// baseline come; and the sums of products of three, which tell how skewed the units are, and so from how many on their mean is a
// normal one. The zero value is empty.
//
// The loss of a unit is the sum over its records. In the control arm the baseline is the arm itself: x is y.
//
// Plain sums would not do: losses in squared dollars are of 1e10 with squares of 1e20, of which the variance is a small difference,
// and each Remove would leave rounding errors behind that no later one takes back. Sums of 31 digits keep them below the 16th digit of
// a variance for trillions of updates, and sums of whole numbers stay whole.
type Cross struct {
	Units int64 `json:"units"`
	Y     Total `json:"y"`
	X     Total `json:"x"`
	D     Total `json:"d"`
	YY    Total `json:"yy"`
	XX    Total `json:"xx"`
	DD    Total `json:"dd"`
	YX    Total `json:"yx"`
	YD    Total `json:"yd"`
	XD    Total `json:"xd"`
	// Cubes are the sums of products of three: yyy, yyx, yyd, yxx, yxd, ydd, xxx, xxd, xdd, ddd.
	Cubes [cubes]Total `json:"cubes"`
}

const cubes = 10

// Add takes a unit in. d counts its records: a whole number from 1. On an error nothing is added.
func (c *Cross) Add(y, x, d float64) error { return c.change(y, x, d, 1) }

// Remove takes out a unit that was added with the same numbers. What was never added is an error where it can be told, and changes
// nothing then.
func (c *Cross) Remove(y, x, d float64) error {
	if c.Units < 1 {
		return errors.New("experiment: no unit is left that could be removed")
	}
	if d > c.D.Float64()-float64(c.Units-1) {
		return errors.New("experiment: a unit with that many records was never added")
	}
	return c.change(y, x, d, -1)
}

func (c *Cross) change(y, x, d float64, by int64) error {
	switch {
	case !fits(y) || !fits(x):
		return fmt.Errorf("experiment: a unit's losses must be numbers up to %g, and are %g and %g", MostLoss, y, x)
	case !(d >= 1 && d <= mostCount && d == math.Trunc(d)):
		return fmt.Errorf("experiment: the records of a unit must be a whole number from 1, not %g", d)
	case c.Units+by > mostCount:
		return errors.New("experiment: too many units")
	}
	if c.Units+by == 0 {
		*c = Cross{} // no rounding error outlives the units
		return nil
	}
	one := Cross{
		by, Total{y, 0}, Total{x, 0}, Total{d, 0}, product(y, y), product(x, x), product(d, d), product(y, x), product(y, d), product(x, d), [cubes]Total{},
	}
	ty, tx, td := one.Y, one.X, one.D
	one.Cubes = [cubes]Total{
		one.YY.times(ty), one.YY.times(tx), one.YY.times(td), one.XX.times(ty), one.YX.times(td), one.DD.times(ty),
		one.XX.times(tx), one.XX.times(td), one.DD.times(tx), one.DD.times(td),
	}
	c.merge(&one, by < 0)
	return nil
}

// Merge takes in what o has, which stays as it is.
func (c *Cross) Merge(o *Cross) { c.merge(o, false) }

func (c *Cross) merge(o *Cross, negative bool) {
	c.Units += o.Units
	from := o.totals()
	for i, t := range c.totals() {
		if negative {
			*t = t.minus(*from[i])
		} else {
			*t = t.plus(*from[i])
		}
	}
	for i := range c.Cubes {
		if t := o.Cubes[i]; negative {
			c.Cubes[i] = c.Cubes[i].minus(t)
		} else {
			c.Cubes[i] = c.Cubes[i].plus(t)
		}
	}
}

// totals returns the sums: y, x, d, yy, xx, dd, yx, yd, xd.
func (c *Cross) totals() [9]*Total {
	return [9]*Total{&c.Y, &c.X, &c.D, &c.YY, &c.XX, &c.DD, &c.YX, &c.YD, &c.XD}
}

// mostCount is the largest count that a float64 has exactly.
const mostCount = 1 << 53

// fits tells whether a loss may be added.
func fits(x float64) bool { return math.Abs(x) <= MostLoss } // not so for NaN

// rounding is the share of a sum of squares below which what is left around the mean is taken for rounding errors.
const rounding = 1e-24

// centred returns the sum of (a-mean(a))(b-mean(b)), given sum(ab), sum(a) and sum(b).
func (c *Cross) centred(ab, a, b Total) Total {
	if c.Units < 2 {
		return Total{}
	}
	return ab.minus(a.times(b).over(float64(c.Units)))
}

// weights make one number of a unit: a y + b x + c d.
type weights struct{ y, x, d float64 }

// covariance returns the sample covariance, over the units, of two such numbers; 0 where all that is left is rounding. It computes with
// 31 digits to the end: numbers such as y - x may be a small part of what they are made of.
func (c *Cross) covariance(a, b weights) float64 {
	if c.Units < 2 {
		return 0
	}
	first, second := [3]float64{a.y, a.x, a.d}, [3]float64{b.y, b.x, b.d}
	sums, squares := [3]Total{c.Y, c.X, c.D}, [3]float64{c.YY.High, c.XX.High, c.DD.High}
	products := [3][3]Total{{c.YY, c.YX, c.YD}, {c.YX, c.XX, c.XD}, {c.YD, c.XD, c.DD}}
	var total Total
	size := 0.0
	for i, u := range first {
		for j, v := range second {
			w := product(u, v)
			if w.High == 0 {
				continue
			}
			total = total.plus(w.times(c.centred(products[i][j], sums[i], sums[j])))
			size += float64(math.Abs(w.High) * math.Sqrt(max(0, squares[i])) * math.Sqrt(max(0, squares[j])))
		}
	}
	if math.Abs(total.High) <= rounding*size {
		return 0
	}
	return total.High / float64(c.Units-1)
}

// variance returns the covariance of a number with itself, which is not below 0.
func (c *Cross) variance(a weights) float64 { return max(0, c.covariance(a, a)) }

// cubeRounding is the share of sums of cubes below which what is left around the mean is taken for rounding errors.
const cubeRounding = 1e-27

// third returns the mean of the cube of such a number, whose mean is 0; 0 where all that is left is rounding.
func (c *Cross) third(a weights) float64 {
	y, x, d := Total{a.y, 0}, Total{a.x, 0}, Total{a.d, 0}
	yy, xx, dd, yx := product(a.y, a.y), product(a.x, a.x), product(a.d, a.d), product(a.y, a.x)
	three, six := Total{3, 0}, Total{6, 0}
	factors := [cubes]Total{
		yy.times(y), yy.times(x).times(three), yy.times(d).times(three), xx.times(y).times(three), yx.times(d).times(six), dd.times(y).times(three),
		xx.times(x), xx.times(d).times(three), dd.times(x).times(three), dd.times(d),
	}
	var total Total
	size := 0.0
	for i, f := range factors {
		part := f.times(c.Cubes[i])
		total = total.plus(part)
		size += math.Abs(part.High)
	}
	if math.Abs(total.High) <= cubeRounding*size {
		return 0
	}
	return total.High / float64(c.Units)
}

// Validate tells whether units can have such sums: finite, at least a record for each unit, squares that are not below what the means
// need, and products that are not beyond the squares (Cauchy-Schwarz), each within rounding.
func (c *Cross) Validate() error {
	if c.Units < 0 || c.Units > mostCount {
		return fmt.Errorf("experiment: %d units", c.Units)
	}
	if c.Units == 0 && *c != (Cross{}) {
		return errors.New("experiment: sums without a unit")
	}
	limit := float64(MostLoss*MostLoss) * mostCount
	for i, t := range c.totals() {
		if !(math.Abs(t.High) <= limit) || t.High+t.Low != t.High {
			return fmt.Errorf("experiment: sum %d of units is out of range", i)
		}
	}
	if c.Units > 0 && !(c.D.High >= float64(c.Units) && c.D.High == math.Trunc(c.D.High)) {
		return errors.New("experiment: the records of units must be a whole number, one or more for each unit")
	}
	for i, t := range c.Cubes {
		if !(math.Abs(t.High) <= limit*MostLoss) || t.High+t.Low != t.High || c.Units == 0 && t != (Total{}) {
			return fmt.Errorf("experiment: sum %d of products of three is out of range", i)
		}
	}
	return c.coherent()
}

// slack is the share by which sums may break an inequality: far more than rounding does, and far less than a wrong number.
const slack = 1e-9

func (c *Cross) coherent() error {
	n := float64(c.Units)
	pair := func(name string, aa, bb, ab, a, b Total) error {
		// Around 0 and around the mean: the first also holds what a single unit has.
		if beyond(ab.High, aa.High, bb.High, 0) {
			return fmt.Errorf("experiment: the sum of products %s is beyond what the squares allow", name)
		}
		noise := float64(float64(math.Sqrt(math.Abs(aa.High))*math.Sqrt(math.Abs(bb.High))) * rounding)
		if beyond(c.centred(ab, a, b).High, c.centred(aa, a, a).High, c.centred(bb, b, b).High, noise) {
			return fmt.Errorf("experiment: the sum of products %s is beyond what the squares around the means allow", name)
		}
		return nil
	}
	square := func(name string, aa, a Total) error {
		if c.Units == 0 {
			return nil
		}
		least := a.times(a).over(n).High
		if aa.High < 0 || aa.High < least-float64(slack*least) || c.Units == 1 && aa.High > least+float64(slack*least) {
			return fmt.Errorf("experiment: the sum of squares of %s does not fit its sum", name)
		}
		return nil
	}
	return errors.Join(
		square("y", c.YY, c.Y), square("x", c.XX, c.X), square("d", c.DD, c.D),
		pair("yx", c.YY, c.XX, c.YX, c.Y, c.X), pair("yd", c.YY, c.DD, c.YD, c.Y, c.D), pair("xd", c.XX, c.DD, c.XD, c.X, c.D),
	)
}

// beyond tells whether ab² > aa·bb, by more than rounding and noise; without squares that leave the range.
func beyond(ab, aa, bb, noise float64) bool {
	most := float64(math.Sqrt(max(aa, 0)) * math.Sqrt(max(bb, 0)))
	return math.Abs(ab) > most+float64(slack*most)+noise
}

// UnmarshalJSON reads what the encoder wrote, and refuses what [Cross.Validate] does: the bytes may come from anyone.
func (c *Cross) UnmarshalJSON(b []byte) error {
	type plain Cross
	var read plain
	if err := json.Unmarshal(b, &read); err != nil {
		return fmt.Errorf("experiment: sums of units: %w", err)
	}
	if err := (*Cross)(&read).Validate(); err != nil {
		return err
	}
	*c = Cross(read)
	return nil
}
