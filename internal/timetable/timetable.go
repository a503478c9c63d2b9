package timetable

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

// Timetable is a list of times without an end. It is immutable and safe for concurrent use.
type Timetable struct {
	spec *cron.SpecSchedule
	zone *time.Location
}

// Interval is what a time is about: what happened from the time before until it.
type Interval struct {
	From, To time.Time // From is in it, To is not
}

// Parse reads a line of cron with five fields: minute, hour, day of the month, month, day of the week (0 and 7 are Sunday).
// A field is *, or a list with commas of values, ranges and steps; months and days of the week also have their English
// names of three letters, and a range that ends before it begins goes over the turn: fri-mon. A day is meant if the day of the month or that of the week fits, where neither is *, as cron(8)
// has it. zone is the IANA name of a time zone. A line that no day fits is an error.
func Parse(line, zone string) (*Timetable, error) {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("timetable: %w", err)
	}
	if strings.ContainsAny(line, "=@") { // a zone of its own, or the name of a schedule
		return nil, fmt.Errorf("timetable: %.100q: want five fields", line)
	}
	parser, err := cron.TryNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowOrDom)
	if err != nil {
		return nil, fmt.Errorf("timetable: %w", err)
	}
	s, err := parser.WithMaxSearchYears(searchYears).Parse(line)
	if err != nil {
		return nil, fmt.Errorf("timetable: %.100q: %w", line, err)
	}
	spec, ok := s.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("timetable: %.100q: want five fields", line)
	}
	t := &Timetable{spec: spec, zone: loc}
	if spec.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("timetable: %.100q: %w", line, errNever)
	}
	return t, nil
}

// searchYears is more than lies between two of any times: 29 February of 2096 and of 2104, on one day of the week, say.
const searchYears = 60

var errNever = errors.New("no day is like that")

// Next returns the first time after at, in the time zone.
func (t *Timetable) Next(at time.Time) time.Time {
	w := wall(at.In(t.zone)).Add(-leap) // what the clock has shown before, it may show again
	for {
		w = t.spec.Next(w)
		if due := t.instant(w); due.After(at) {
			return due
		}
	}
}

// Last returns the last time that is not after at, in the time zone.
func (t *Timetable) Last(at time.Time) time.Time {
	w := wall(at.In(t.zone)).Add(leap)
	for {
		w = t.spec.Prev(w)
		if due := t.instant(w); !due.After(at) {
			return due
		}
	}
}

// Interval returns what one of the times is about.
func (t *Timetable) Interval(due time.Time) Interval {
	return Interval{From: t.Last(due.Add(-time.Nanosecond)), To: due}
}

// leap is more than any clock has been put forward or back by, apart from whole days that islands left out.
const leap = 25 * time.Hour

// wall returns what the clock shows, as if it were UTC: there all times are there, and once.
func wall(at time.Time) time.Time {
	y, m, d := at.Date()
	return time.Date(y, m, d, at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), time.UTC)
}

// instant returns when the clock first shows w, or, where it leaps over w, when it has.
func (t *Timetable) instant(w time.Time) time.Time {
	y, m, d := w.Date()
	at := time.Date(y, m, d, w.Hour(), w.Minute(), 0, 0, t.zone)
	if shown := wall(at); !shown.Equal(w) { // the clock does not show it: at is before or after the leap by as much
		begin, end := at.ZoneBounds()
		if shown.After(w) {
			return begin
		}
		return end
	}
	// Where the clock shows it twice, package time does not say which one it gives.
	if begin, _ := at.ZoneBounds(); !begin.IsZero() {
		_, after := at.Zone()
		_, before := begin.Add(-time.Nanosecond).Zone()
		if earlier := at.Add(time.Duration(after-before) * time.Second); after < before && earlier.Before(begin) && wall(earlier.In(t.zone)).Equal(w) {
			return earlier
		}
	}
	return at
}
