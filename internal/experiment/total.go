package experiment

import (
	"encoding/json"
	"fmt"
)

// Total is a sum that keeps 31 digits: it is High + Low, where Low is at most half of the last digit of High (double-double arithmetic;
// Dekker, A floating-point technique for extending the available precision, Numerische Mathematik 18, 1971). In JSON it is the number
// High where Low is 0, and else [High, Low].
type Total struct{ High, Low float64 }

// Float64 returns the sum, rounded.
func (t Total) Float64() float64 { return t.High }

// MarshalJSON writes the sum. It is an error if it is not finite.
func (t Total) MarshalJSON() ([]byte, error) {
	if t.Low == 0 {
		return json.Marshal(t.High)
	}
	return json.Marshal([2]float64{t.High, t.Low})
}

// UnmarshalJSON reads what [Total.MarshalJSON] wrote. Low must be a rest of High.
func (t *Total) UnmarshalJSON(b []byte) error {
	var parts []float64
	if len(b) > 0 && b[0] != '[' {
		parts = make([]float64, 1)
		if err := json.Unmarshal(b, &parts[0]); err != nil {
			return fmt.Errorf("experiment: a sum: %w", err)
		}
	} else if err := json.Unmarshal(b, &parts); err != nil {
		return fmt.Errorf("experiment: a sum: %w", err)
	}
	var read Total
	switch len(parts) {
	case 1:
		read.High = parts[0]
	case 2:
		read.High, read.Low = parts[0], parts[1]
	default:
		return fmt.Errorf("experiment: a sum of %d parts: want a number or [high, low]", len(parts))
	}
	if read.High+read.Low != read.High {
		return fmt.Errorf("experiment: the sum [%g, %g] is none: the second part must be a rounding rest of the first", read.High, read.Low)
	}
	*t = read
	return nil
}

// plus returns t + o.
func (t Total) plus(o Total) Total {
	s, e := twoSum(t.High, o.High)
	low, rest := twoSum(t.Low, o.Low)
	s, e = quickSum(s, e+low)
	s, e = quickSum(s, e+rest)
	return Total{s, e}
}

func (t Total) minus(o Total) Total { return t.plus(Total{-o.High, -o.Low}) }

// times returns t * o.
func (t Total) times(o Total) Total {
	p := product(t.High, o.High)
	rest := float64(t.High*o.Low) + float64(t.Low*o.High)
	s, e := quickSum(p.High, p.Low+rest)
	return Total{s, e}
}

// over returns t / n, for n other than 0.
func (t Total) over(n float64) Total {
	first := t.High / n
	rest := t.minus(product(first, n))
	second := rest.High / n
	rest = rest.minus(product(second, n))
	s, e := quickSum(first, second)
	return Total{s, e}.plus(Total{rest.High / n, 0})
}

// product returns x * y, exactly, of sizes up to 1e290: each is cut into halves whose products have no rounding (Veltkamp and Dekker). A fused
// instruction would do it in one step, but no other code has one, and a test holds it to that.
func product(x, y float64) Total {
	p := float64(x * y)
	xh, xl := halves(x)
	yh, yl := halves(y)
	rest := float64(xh*yh) - p
	rest += float64(xh * yl)
	rest += float64(xl * yh)
	return Total{p, rest + float64(xl*yl)}
}

// halves returns two numbers of 26 bits whose sum is x.
func halves(x float64) (high, low float64) {
	c := float64(x * (1<<27 + 1))
	high = c - (c - x)
	return high, x - high
}

// twoSum returns x + y rounded, and what rounding took.
func twoSum(x, y float64) (sum, rest float64) {
	sum = x + y
	b := sum - x
	return sum, (x - (sum - b)) + (y - b)
}

// quickSum is twoSum where x is the larger one, or 0.
func quickSum(x, y float64) (sum, rest float64) {
	sum = x + y
	return sum, y - (sum - x)
}
