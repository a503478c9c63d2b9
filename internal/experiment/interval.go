package experiment

import (
	"encoding/json"
	"fmt"
	"math"
)

// Interval is an estimate and the interval around it. Low is -Inf and High +Inf where there is no bound, and Value is NaN where
// there is no estimate. In JSON these are null.
type Interval struct{ Value, Low, High float64 }

// unknown is the interval of no data.
func unknown() Interval { return Interval{math.NaN(), math.Inf(-1), math.Inf(1)} }

// Excludes tells whether x lies outside of the interval.
func (i Interval) Excludes(x float64) bool { return x < i.Low || x > i.High }

// Bounded tells whether both ends are known.
func (i Interval) Bounded() bool { return !math.IsInf(i.Low, 0) && !math.IsInf(i.High, 0) }

type intervalJSON struct {
	Value *float64 `json:"value"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
}

// MarshalJSON writes {"value": .., "low": .., "high": ..}.
func (i Interval) MarshalJSON() ([]byte, error) {
	number := func(x float64) *float64 {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	return json.Marshal(intervalJSON{number(i.Value), number(i.Low), number(i.High)})
}

// UnmarshalJSON reads what [Interval.MarshalJSON] wrote.
func (i *Interval) UnmarshalJSON(b []byte) error {
	var read intervalJSON
	if err := json.Unmarshal(b, &read); err != nil {
		return fmt.Errorf("experiment: an interval: %w", err)
	}
	*i = unknown()
	for from, to := range map[*float64]*float64{read.Value: &i.Value, read.Low: &i.Low, read.High: &i.High} {
		if from != nil {
			*to = *from
		}
	}
	return nil
}

// RootRatio turns a relative difference of mean squares into one of their roots: of mean squared errors into one of RMSEs. As the
// root grows with the square, the interval is as sure as before. An end below -1, which no ratio has, becomes -1.
func RootRatio(i Interval) Interval {
	root := func(x float64) float64 { return math.Sqrt(max(0, 1+x)) - 1 }
	return Interval{root(i.Value), root(i.Low), root(i.High)}
}
