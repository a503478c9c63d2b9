package app

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Interval is the data interval of a scheduled run: what happened in it is what the run is about. The zero value is none.
type Interval struct {
	From, To time.Time // From is in it, To is not
}

// The variables that stand for the ends of the data interval in a pipeline file.
const (
	intervalStart = "DATA_INTERVAL_START"
	intervalEnd   = "DATA_INTERVAL_END"
)

// IsZero tells whether there is no interval.
func (i Interval) IsZero() bool { return i.From.IsZero() && i.To.IsZero() }

// String returns both ends, or "all".
func (i Interval) String() string {
	if i.IsZero() {
		return "all"
	}
	return instantText(i.From) + " to " + instantText(i.To)
}

// instantText writes an instant as variables and run ids have it.
func instantText(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// ParseInterval reads both ends of an interval, in the form of RFC 3339; "" twice is none.
func ParseInterval(start, end string) (i Interval, err error) {
	fault := func(err error) error {
		return &Error{Code: Usage, Op: "data interval", Err: err, Hint: "give both --data-interval-start and --data-interval-end, such as 2014-05-31T00:00:00Z; the end is not in it"}
	}
	if start == "" && end == "" {
		return i, nil
	}
	if start == "" || end == "" {
		return i, fault(errors.New("one of its ends is missing"))
	}
	for _, x := range []struct {
		text string
		into *time.Time
	}{{start, &i.From}, {end, &i.To}} {
		if *x.into, err = time.Parse(time.RFC3339, x.text); err != nil {
			return Interval{}, fault(fmt.Errorf("%q is no time in the form of RFC 3339", x.text))
		}
		*x.into = x.into.UTC()
	}
	if i.To.Before(i.From) {
		return Interval{}, fault(errors.New("it ends before it begins"))
	}
	return i, nil
}

// variables are those of the environment and, before them, those of the interval.
type variables struct {
	env    func(string) (string, bool)
	values map[string]string
	used   bool // one of the interval was asked for
}

func (i Interval) variables(env func(string) (string, bool)) (*variables, error) {
	v := &variables{env: env}
	if v.env == nil {
		v.env = os.LookupEnv
	}
	if i.IsZero() {
		return v, nil
	}
	if i.To.Before(i.From) {
		return nil, &Error{Code: Usage, Op: "train", Err: errors.New("the data interval ends before it begins")}
	}
	v.values = map[string]string{intervalStart: instantText(i.From), intervalEnd: instantText(i.To)}
	return v, nil
}

// lookup returns a variable.
func (v *variables) lookup(name string) (string, bool) {
	if text, ok := v.values[name]; ok {
		v.used = true
		return text, true
	}
	return v.env(name)
}
