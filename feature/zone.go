package feature

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// zone is a time zone as a table, so that a plan gives the same results on machines whose time zone databases
// differ: offset[i] seconds east of UTC hold from the instant from[i] on, until from[i+1]. Instants before
// from[0], 1900-01-01, have the first offset; those after 2099 have the last.
type zone struct {
	from   []int64 // seconds since 1970-01-01 00:00:00 UTC, ascending
	offset []int64
}

const (
	zoneBegin   = -2208988800 // 1900-01-01 00:00:00 UTC
	zoneEnd     = 4102444800  // 2100-01-01 00:00:00 UTC
	maxZoneRows = 4096
	maxOffset   = 26 * 3600
)

// newZone reads the zone called name from this machine's time zone database.
func newZone(name string) (*zone, error) {
	if name == "Local" || name == "" {
		return nil, errors.New("want an IANA time zone, such as America/Los_Angeles")
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("no such time zone: %q", name)
	}
	z := &zone{}
	for t := time.Unix(zoneBegin, 0); ; {
		_, offset := t.In(loc).Zone()
		if n := len(z.offset); n == 0 || z.offset[n-1] != int64(offset) {
			z.from, z.offset = append(z.from, t.Unix()), append(z.offset, int64(offset))
		}
		_, end := t.In(loc).ZoneBounds()
		if end.IsZero() || end.Unix() >= zoneEnd {
			return z, z.validate()
		}
		if !end.After(t) { // package time ends a leap year's last zone a day early
			end = t.Add(time.Minute)
		}
		t = end
	}
}

func (z *zone) validate() error {
	if len(z.from) == 0 || len(z.from) > maxZoneRows || len(z.from) != len(z.offset) {
		return fmt.Errorf("a time zone of %d rows: want 1 to %d", len(z.from), maxZoneRows)
	}
	for i, at := range z.from {
		if at < zoneBegin || at >= zoneEnd || i > 0 && at <= z.from[i-1] {
			return errors.New("a time zone whose rows are out of order")
		}
		if z.offset[i] < -maxOffset || z.offset[i] > maxOffset {
			return errors.New("a time zone with an offset above 26 hours")
		}
	}
	return nil
}

// at returns the offset at second t.
func (z *zone) at(t int64) int64 {
	i, found := slices.BinarySearch(z.from, t)
	if !found {
		i = max(i-1, 0)
	}
	return z.offset[i]
}
