package timetable

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func mustParse(t testing.TB, line, zone string) *Timetable {
	t.Helper()
	x, err := Parse(line, zone)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	x, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestNext names the times after one, also where clocks are put forward or back.
func TestNext(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		line, zone, from string
		want             []string
	}{
		"mondays at three":        {"0 3 * * 1", "Europe/Paris", "2026-11-22T00:00:00Z", []string{"2026-11-23T03:00:00+01:00", "2026-11-30T03:00:00+01:00"}},
		"the time itself is past": {"0 3 * * 1", "UTC", "2026-11-23T03:00:00Z", []string{"2026-11-30T03:00:00Z"}},
		"a second before":         {"0 3 * * 1", "UTC", "2026-11-23T02:59:59Z", []string{"2026-11-23T03:00:00Z"}},
		"names":                   {"15 6 * jan MON", "UTC", "2026-11-22T00:00:00Z", []string{"2027-01-04T06:15:00Z"}},
		"sunday is 0 and 7":       {"0 0 * * 0,7", "UTC", "2026-11-23T00:00:00Z", []string{"2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"}},
		"day of month or of week": {"0 0 13 * 5", "UTC", "2026-11-10T00:00:00Z", []string{"2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z", "2026-12-04T00:00:00Z", "2026-12-11T00:00:00Z", "2026-12-13T00:00:00Z"}},
		"the 29th of February":    {"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", []string{"2104-02-29T00:00:00Z"}},
		"the 31st":                {"0 0 31 * *", "UTC", "2026-08-31T00:00:00Z", []string{"2026-10-31T00:00:00Z", "2026-12-31T00:00:00Z"}},
		"steps":                   {"*/20 8-9 * * *", "UTC", "2026-11-10T08:30:00Z", []string{"2026-11-10T08:40:00Z", "2026-11-10T09:00:00Z", "2026-11-10T09:20:00Z", "2026-11-10T09:40:00Z", "2026-11-11T08:00:00Z"}},
		// On 29 March 2026 the clocks of Paris went from 02:00 to 03:00.
		"leapt over":               {"30 2 * * *", "Europe/Paris", "2026-03-28T00:00:00Z", []string{"2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		"many leapt over are one":  {"*/15 2 * * *", "Europe/Paris", "2026-03-28T23:00:00Z", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00", "2026-03-30T02:15:00+02:00"}},
		"leapt over, and there":    {"0,30 2,3 * * *", "Europe/Paris", "2026-03-28T23:00:00Z", []string{"2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00", "2026-03-30T02:00:00+02:00"}},
		"asked in the leap's zone": {"30 2 * * *", "Europe/Paris", "2026-03-29T01:00:00Z", []string{"2026-03-30T02:30:00+02:00"}},
		// On 25 October 2026 they went from 03:00 to 02:00.
		"shown twice":                 {"30 2 * * *", "Europe/Paris", "2026-10-24T12:00:00Z", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		"asked between the two":       {"30 2 * * *", "Europe/Paris", "2026-10-25T00:45:00Z", []string{"2026-10-26T02:30:00+01:00"}},
		"each half hour, shown twice": {"*/30 * * * *", "Europe/Paris", "2026-10-25T00:00:00Z", []string{"2026-10-25T02:30:00+02:00", "2026-10-25T03:00:00+01:00"}},
		// In Sao Paulo, 4 November 2018 had no midnight; on Lord Howe Island clocks leap by half an hour.
		"no midnight":        {"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", []string{"2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"}},
		"by half an hour":    {"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		"back by half":       {"45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", []string{"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"}},
		"a day that was not": {"0 12 * * *", "Pacific/Apia", "2011-12-29T10:00:00Z", []string{"2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x, now := mustParse(t, c.line, c.zone), at(t, c.from)
			for _, want := range c.want {
				next := x.Next(now)
				if got := next.Format(time.RFC3339); got != want {
					t.Fatalf("after %s: %s, want %s", now.Format(time.RFC3339), got, want)
				}
				if last := x.Last(next); !last.Equal(next) {
					t.Errorf("the last time that is not after %s is %s", want, last)
				}
				if last := x.Last(next.Add(-1)); last.After(now) {
					t.Errorf("there is a time between %s and %s: %s", now, want, last)
				}
				now = next
			}
		})
	}
}

func TestInterval(t *testing.T) {
	t.Parallel()
	x := mustParse(t, "0 3 * * 1", "Europe/Paris")
	for due, want := range map[string][2]string{
		"2026-11-23T03:00:00+01:00": {"2026-11-16T03:00:00+01:00", "2026-11-23T03:00:00+01:00"},
		"2026-10-26T03:00:00+01:00": {"2026-10-19T03:00:00+02:00", "2026-10-26T03:00:00+01:00"}, // an hour longer
	} {
		i := x.Interval(at(t, due))
		if got := [2]string{i.From.Format(time.RFC3339), i.To.Format(time.RFC3339)}; got != want {
			t.Errorf("%s: %v, want %v", due, got, want)
		}
	}
}

// TestIntervals holds that the intervals of a timetable follow one another without a gap, whatever the clocks do: each time
// begins where the one before it ended, and no time is twice. The times of a day are those that the clock shows, by looking at every minute.
func TestIntervals(t *testing.T) {
	t.Parallel()
	zones := []string{"UTC", "Europe/Paris", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca", "Pacific/Apia"}
	lines := []string{"0 3 * * 1", "30 2 * * *", "*/7 1-3 * * *", "0 0 * * *", "59 23 31 * *", "15 2 1 * 0", "0 */5 * * 1-5"}
	rapid.Check(t, func(t *rapid.T) {
		x, err := Parse(rapid.SampledFrom(lines).Draw(t, "line"), rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		from := time.Unix(rapid.Int64Range(1_200_000_000, 1_900_000_000).Draw(t, "from"), 0)
		now := x.Next(from)
		if last := x.Last(from); last.After(from) || !x.Next(last).Equal(now) {
			t.Fatalf("the last time before %s is %s, and the next %s", from, last, now)
		}
		for range 5 {
			next := x.Next(now)
			if i := x.Interval(next); !next.After(now) || !i.From.Equal(now) || !i.To.Equal(next) {
				t.Fatalf("after %s comes %s, about %v", now, next, i)
			}
			if next.Sub(now) < 26*time.Hour {
				for m := now.Truncate(time.Minute).Add(time.Minute); m.Before(next); m = m.Add(time.Minute) {
					w := wall(m.In(x.zone))
					if x.spec.Next(w.Add(-time.Second)).Equal(w) && first(x.zone, m) {
						t.Fatalf("between %s and %s the clock shows %s", now, next, w)
					}
				}
			}
			now = next
		}
	})
}

// first tells whether the clock has not shown the time of m in the hours before.
func first(zone *time.Location, m time.Time) bool {
	for d := time.Minute; d <= 3*time.Hour; d += time.Minute {
		if wall(m.Add(-d).In(zone)).Equal(wall(m.In(zone))) {
			return false
		}
	}
	return true
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"", "* * * *", "* * * * * *", "60 * * * *", "0 24 * * *", "0 0 32 * *", "0 0 * 13 *", "0 0 * * 8", "0 0 30 2 *", "@weekly", "@every 1h", "TZ=UTC 0 3 * * 1", "CRON_TZ=UTC 0 3 * * 1", "0 3 * * MONDAYS", "H 3 * * 1", "0 3 L * *", "0 3 * * 1#2", "-1 * * * *", "*/0 * * * *"} {
		if x, err := Parse(line, "UTC"); err == nil {
			t.Errorf("%q is taken: the next time is %s", line, x.Next(time.Unix(0, 0)))
		}
	}
	if _, err := Parse("0 3 * * 1", "Europe/Atlantis"); err == nil {
		t.Error("a zone that is not there is taken")
	}
}

// FuzzParse wants lines refused, or times that go on.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"0 3 * * 1", "*/7 1-3 * jan-mar MON,fri", "0 0 29 2 1", "0 0 31 2 *", "@daily", "1,2,3-4/2 * * * *"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if len(line) > 200 {
			return
		}
		x, err := Parse(line, "Europe/Paris")
		if err != nil {
			return
		}
		now := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC)
		for range 3 {
			next := x.Next(now)
			if !next.After(now) || !x.Last(next).Equal(next) {
				t.Fatalf("%q: after %s comes %s", line, now, next)
			}
			now = next
		}
	})
}
