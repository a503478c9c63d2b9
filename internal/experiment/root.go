package experiment

import "math"

// rootOf returns where f, which grows from below 0 at low to above 0 at high, is 0: by halving, until no number lies between.
func rootOf(low, high float64, f func(float64) float64) float64 {
	for range 400 {
		mid := low + float64((high-low)/2)
		if mid == low || mid == high {
			break
		}
		if f(mid) < 0 {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// firstAbove returns a number from start on, doubled as often as it takes, at which f is above 0; +Inf if there is none.
func firstAbove(start float64, f func(float64) float64) float64 {
	for x := start; ; x *= 2 {
		if math.IsInf(x, 1) || f(x) > 0 {
			return x
		}
	}
}
