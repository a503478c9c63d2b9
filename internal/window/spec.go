package window

import (
	"errors"
	"fmt"
	"time"
)

// Limits of a declaration.
const (
	// MinSize and MaxSize are the shortest and the longest window.
	MinSize = time.Second
	MaxSize = 400 * day
	// MaxTiles bounds size and grace together, in hops.
	MaxTiles = 3000
	// MaxArguments and MaxAggregates bound a window's work for a record.
	MaxArguments  = 256
	MaxAggregates = 1024
	// MaxLast is the highest k of [Last].
	MaxLast = 100
)

const day = 24 * time.Hour

// NoGrace as the grace of a [Spec] has no record added that comes late. (0 stands for the default.)
const NoGrace time.Duration = -1

// NoArgument as the argument of a [Count] counts records.
const NoArgument = -1

// Aggregate is one output of a window: a function of one argument.
type Aggregate struct {
	// Func is the function.
	Func Func
	// Arg is the position of its argument in Spec.Args, or for Count also NoArgument.
	Arg int
	// K is how many values Last goes back, from 1 to MaxLast. Default: 1. Other functions have none.
	K int
	// P is the share of the values that Percentile leaves at or below its result, from 0 to 1. Other functions have none.
	P float64
}

// Spec declares a window and what is computed of it. All times are whole microseconds.
type Spec struct {
	// Size is how far back a window reaches, from MinSize to MaxSize.
	Size time.Duration
	// Hop is the length of a tile, and by how much a window may be longer than Size; at most Size. Default: the shortest
	// of 20, 50, 100, 200 and 500 ms, 1, 2, 5, 10, 20 and 30 s, 1, 2, 5, 10, 20 and 30 min, 1, 2, 3, 6 and 12 h, 1, 2, 3,
	// 5 and 7 days that makes at most 72 tiles of Size: 10 s for 10 min, 1 min for 1 h, 20 min for 24 h, 12 h for 30 days.
	Hop time.Duration
	// Grace is by how much a record may be earlier than the latest of its key, and still be added; at most MaxSize.
	// NoGrace is none. Default: Size.
	Grace time.Duration
	// Args has the kinds of the arguments. Each is used by an aggregate.
	Args []Kind
	// Aggregates are the outputs, in order.
	Aggregates []Aggregate
	// Source says what the arguments are, in whatever words the caller has for it, such as the digest of their
	// expressions. It is part of the digest: state that was made from other arguments is refused.
	Source string
}

// Validate returns all faults of s, joined in one error, or nil.
func (s Spec) Validate() error {
	errs := s.times()
	if n := len(s.Args); n > MaxArguments {
		errs = append(errs, fmt.Errorf("window: %d arguments: at most %d are possible", n, MaxArguments))
	}
	if n := len(s.Aggregates); n == 0 || n > MaxAggregates {
		errs = append(errs, fmt.Errorf("window: %d aggregates: want from 1 to %d", n, MaxAggregates))
	}
	used := make([]bool, len(s.Args))
	for i, a := range s.Aggregates {
		if err := a.validate(s.Args); err != nil {
			errs = append(errs, fmt.Errorf("window: aggregate %d: %s: %w", i, a.Func, err))
		} else if a.Arg >= 0 {
			used[a.Arg] = true
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for i, k := range s.Args {
		switch {
		case k > Texts:
			errs = append(errs, fmt.Errorf("window: argument %d has no kind: %s", i, k))
		case !used[i]:
			errs = append(errs, fmt.Errorf("window: argument %d is used by no aggregate", i))
		}
	}
	return errors.Join(errs...)
}

// times returns the faults of the times.
func (s Spec) times() []error {
	if s.Size < MinSize || s.Size > MaxSize {
		return []error{fmt.Errorf("window: the size is %v: want from %v to %d days", s.Size, MinSize, MaxSize/day)}
	}
	var errs []error
	d := s.withDefaults()
	if s.Hop < 0 || d.Hop > s.Size {
		errs = append(errs, fmt.Errorf("window: the hop is %v: want more than 0, and at most the size, %v", s.Hop, s.Size))
	}
	if s.Grace < NoGrace || s.Grace > MaxSize {
		errs = append(errs, fmt.Errorf("window: the grace is %v: want from 0 to %d days", s.Grace, MaxSize/day))
	}
	if s.Size%time.Microsecond != 0 || d.Hop%time.Microsecond != 0 || d.grace()%time.Microsecond != 0 {
		errs = append(errs, errors.New("window: size, hop and grace must be whole microseconds"))
	}
	if len(errs) == 0 && (d.Size+d.grace()+d.Hop-1)/d.Hop > MaxTiles {
		errs = append(errs, fmt.Errorf("window: the size, %v, and the grace, %v, are together more than %d hops of %v: want a longer hop",
			d.Size, d.grace(), MaxTiles, d.Hop))
	}
	return errs
}

func (a Aggregate) validate(args []Kind) error {
	switch {
	case a.Func < Count || a.Func > Percentile:
		return errors.New("no such function")
	case a.Arg == NoArgument && a.Func != Count:
		return errors.New("it needs an argument")
	case a.Arg < NoArgument || a.Arg >= len(args):
		return fmt.Errorf("there is no argument %d", a.Arg)
	case a.Arg >= 0 && !a.Func.Accepts(args[a.Arg]):
		return fmt.Errorf("argument %d is a %s, not a number", a.Arg, args[a.Arg])
	case a.Func != Last && a.K != 0:
		return errors.New("it takes no k")
	case a.K < 0 || a.K > MaxLast:
		return fmt.Errorf("k is %d: want from 1 to %d", a.K, MaxLast)
	case a.Func != Percentile && a.P != 0:
		return errors.New("it takes no p")
	case !(a.P >= 0 && a.P <= 1): // NaN is neither
		return fmt.Errorf("p is %v: want from 0 to 1, such as 0.95", a.P)
	}
	return nil
}

// withDefaults returns s with its hop and grace set.
func (s Spec) withDefaults() Spec {
	if s.Hop == 0 {
		s.Hop = defaultHop(s.Size)
	}
	if s.Grace == 0 {
		s.Grace = s.Size
	}
	return s
}

// grace returns the grace of a spec that has its defaults.
func (s Spec) grace() time.Duration { return max(0, s.Grace) }

// defaultHop is the hop of a window that declares none: see Spec.
func defaultHop(size time.Duration) time.Duration {
	const most = 72
	const ms, s, m, h = time.Millisecond, time.Second, time.Minute, time.Hour
	for _, hop := range [...]time.Duration{
		20 * ms, 50 * ms, 100 * ms, 200 * ms, 500 * ms, 1 * s, 2 * s, 5 * s, 10 * s, 20 * s, 30 * s,
		1 * m, 2 * m, 5 * m, 10 * m, 20 * m, 30 * m, 1 * h, 2 * h, 3 * h, 6 * h, 12 * h,
		1 * day, 2 * day, 3 * day, 5 * day,
	} {
		if hop*most >= size {
			return hop
		}
	}
	return 7 * day
}
