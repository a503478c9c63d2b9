package codec

import (
	"regexp"
	"testing"
	"time"

	"millrace.dev/record"
	"pgregory.net/rapid"
)

func timeField(tb testing.TB, zone string, forms ...string) *layouts {
	tb.Helper()
	s := newSchema(tb, record.Field{Name: "t", Type: record.Time, Zone: zone, Layouts: forms})
	l, err := newLayouts(s.Field(0))
	if err != nil {
		tb.Fatal(err)
	}
	return &l
}

func TestTimes(t *testing.T) {
	t.Parallel()
	const losAngeles = "America/Los_Angeles"
	type c struct{ zone, layout, text, want string } // want in RFC 3339 with UTC; "" is refused
	for _, c := range []c{
		{"", "", "2014-05-02", "2014-05-02T00:00:00Z"},
		{"", "", "2014-05-02 01:02:03", "2014-05-02T01:02:03Z"},
		{"", "", "2014-05-02 01:02:03.25", "2014-05-02T01:02:03.25Z"},
		{"", "", "2014-05-02T01:02:03Z", "2014-05-02T01:02:03Z"},
		{"", "", "2014-05-02T01:02:03.123456789Z", "2014-05-02T01:02:03.123456Z"},
		{"", "", "1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z"},
		{"", "", "2014-05-02T01:02:03+05:30", "2014-05-01T19:32:03Z"},
		{"", "", "2014-05-02T01:02:03-00:00", "2014-05-02T01:02:03Z"},
		{"", "", "0000-01-01", "0000-01-01T00:00:00Z"},
		{"", "", "9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999999Z"},
		{"", "", "2016-02-29", "2016-02-29T00:00:00Z"},
		{"", "", "2000-02-29", "2000-02-29T00:00:00Z"},
		{losAngeles, "", "2014-05-02", "2014-05-02T07:00:00Z"},
		{losAngeles, "", "2014-01-02 03:04:05.5", "2014-01-02T11:04:05.5Z"},
		{losAngeles, "", "2014-05-02T01:02:03Z", "2014-05-02T01:02:03Z"},             // the text's own zone wins
		{losAngeles, "", "2014-03-09 01:59:59", "2014-03-09T09:59:59Z"},              // before clocks go forward
		{losAngeles, "", "2014-03-09 02:30:00", "2014-03-09T10:30:00Z"},              // skipped: offset before
		{losAngeles, "", "2014-03-09 03:00:00", "2014-03-09T10:00:00Z"},              // after
		{losAngeles, "", "2014-11-02 00:59:59", "2014-11-02T07:59:59Z"},              // before clocks go back
		{losAngeles, "", "2014-11-02 01:30:00", "2014-11-02T08:30:00Z"},              // twice: the first
		{losAngeles, "", "2014-11-02 02:00:00", "2014-11-02T10:00:00Z"},              // after
		{losAngeles, "02/01/2006 15:04", "09/03/2014 02:30", "2014-03-09T10:30:00Z"}, // the same rule for other layouts
		{losAngeles, "02/01/2006 15:04 -0700", "09/03/2014 02:30 +0100", "2014-03-09T01:30:00Z"},
		{"Pacific/Apia", "", "2011-12-30", "2011-12-30T10:00:00Z"}, // a day that was skipped
		{"", "2006-01-02T15:04:05", "2014-05-02T01:02:03.5", "2014-05-02T01:02:03.5Z"},
		{"", "2006-01-02T15:04:05", "2014-05-02 01:02:03", ""},
		{"", time.RFC3339Nano, "2014-05-02T01:02:03.5Z", "2014-05-02T01:02:03.5Z"},
		{"", "Mon, 02 Jan 2006 15:04:05 GMT", "Fri, 02 May 2014 01:02:03 GMT", "2014-05-02T01:02:03Z"},
		{"", "1/2/06 3:04PM", "5/2/14 1:02PM", "2014-05-02T13:02:00Z"},
		{"", "unix", "1398988800.5", "2014-05-02T00:00:00.5Z"},
		{"", "unix_ms", "1398988800500.25", "2014-05-02T00:00:00.50025Z"},
		{"", "unix", "1398988800x", ""},
		{"", "unix", "1398988800000", ""},
		{"", "unix", "-62167219200", "0000-01-01T00:00:00Z"},
		{"", "unix", "-62167219200.0000001", ""},
		{"", "unix", "253402300799.9999999", "9999-12-31T23:59:59.999999Z"},
		{"", "unix", "253402300800", ""},
		{"", "unix_us", "1398988800500250", "2014-05-02T00:00:00.50025Z"},
		{"", "unix_us", "1398988800500250.9", "2014-05-02T00:00:00.50025Z"},
		{"", "unix_us", "-1", "1969-12-31T23:59:59.999999Z"},
		{"", "unix_us", "253402300800000000", ""},
		{"", "unix_day", "16192", "2014-05-02T00:00:00Z"},
		{"", "unix_day", "16192.000", "2014-05-02T00:00:00Z"},
		{"", "unix_day", "-1", "1969-12-31T00:00:00Z"},
		{"", "unix_day", "16192.5", ""},
		{"", "unix_day", "16192.0000000000000000000001", ""},
		{"", "unix_day", "1e-20", ""},
		{"", "unix_day", "-719528", "0000-01-01T00:00:00Z"},
		{"", "unix_day", "-719529", ""},
		{"", "unix_day", "2932896", "9999-12-31T00:00:00Z"},
		{"", "unix_day", "2932897", ""},
		{"", "unix_day", "9223372036854775807", ""},
		{losAngeles, "unix_day", "16192", "2014-05-02T07:00:00Z"}, // as 2014-05-02
		{"", "02/01/2006", "31/02/2014", ""},
	} {
		var forms []string
		if c.layout != "" {
			forms = []string{c.layout}
		}
		micros, ok := timeField(t, c.zone, forms...).parse([]byte(c.text))
		got := ""
		if ok {
			got = time.UnixMicro(micros).UTC().Format(time.RFC3339Nano)
		}
		if got != c.want {
			t.Errorf("%q in %q, layout %q: %q, want %q", c.text, c.zone, c.layout, got, c.want)
		}
	}
}

func TestTimesRefused(t *testing.T) {
	t.Parallel()
	l := timeField(t, "")
	for _, text := range []string{
		"", "2014", "2014-5-2", "2014-05-2", "2014-05-022", " 2014-05-02",
		"2014-05-02 ", "2014/05/02", "20140502", "02-05-2014", "+014-05-02", "2014-0:-02",
		"2014-05-0:", "２014-05-02", "2014-00-02", "2014-13-02", "2014-05-00", "2014-05-32",
		"2014-04-31", "2014-02-29", "1900-02-29", "2014-05-02T01:02:03", "2014-05-02 01:02:03Z", "2014-05-02t01:02:03Z",
		"2014-05-02T01:02:03z", "2014-05-02 01:02", "2014-05-02 24:00:00", "2014-05-02 01:60:00", "2014-05-02 23:59:60", "2014-05-02 1:02:03",
		"2014-05-02 01.02.03", "2014-05-02 01:02:03.", "2014-05-02 01:02:03,5", "2014-05-02 01:02:03.5x", "2014-05-02 01:02:-3", "2014-05-02T01:02:03+0530",
		"2014-05-02T01:02:03+05", "2014-05-02T01:02:03+24:00", "2014-05-02T01:02:03+05:60", "2014-05-02T01:02:03 05:30", "2014-05-02T01:02:03.Z", "2014-05-02T01:02:03ZZ",
		"2014-05-02T01:02:03Z ", "\xff014-05-02", "2014-05-02 \xff1:02:03",
	} {
		if micros, ok := l.parse([]byte(text)); ok {
			t.Errorf("%q: %d", text, micros)
		}
	}
}

func TestTimesInOrder(t *testing.T) {
	t.Parallel()
	first, _ := timeField(t, "", "02/01/2006", "01/02/2006").parse([]byte("03/04/2014"))
	second, _ := timeField(t, "", "01/02/2006", "02/01/2006").parse([]byte("03/04/2014"))
	if got := time.UnixMicro(first).UTC().Month(); got != time.April {
		t.Error(got)
	}
	if got := time.UnixMicro(second).UTC().Month(); got != time.March {
		t.Error(got)
	}
	if micros, ok := timeField(t, "", "unix", "unix_ms").parse([]byte("1398988800000")); !ok || micros != 1398988800e6 {
		t.Error(micros, ok)
	}
}

// Every day of a cycle of the calendar, and its ends, against package time.
func TestDays(t *testing.T) {
	t.Parallel()
	l := timeField(t, "")
	for _, years := range [][2]int{{0, 4}, {1699, 2101}, {9995, 9999}} {
		for day := time.Date(years[0], 1, 1, 0, 0, 0, 0, time.UTC); day.Year() <= years[1]; day = day.AddDate(0, 0, 1) {
			text := day.Format(time.DateOnly)
			if micros, ok := l.parse([]byte(text)); !ok || micros != day.UnixMicro() {
				t.Fatalf("%s: %d, want %d", text, micros, day.UnixMicro())
			}
		}
	}
}

// isoForm is how the texts of the default layouts look. Package time is more lenient: it takes hours of one digit,
// a comma before a fraction, and offsets of 24 hours and 60 minutes.
func isoForm() *regexp.Regexp {
	return regexp.MustCompile(`^\d{4}-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]([01]\d|2[0-3]):[0-5]\d)?)?$`)
}

// Within the forms of our layouts, our parser and package time read the same texts alike.
func FuzzTime(f *testing.F) {
	for _, text := range []string{
		"2014-05-02", "2014-05-02 01:02:03", "2014-05-02T01:02:03.5+05:30", "0000-02-29", "9999-12-31T23:59:59.999999999Z", "2014-05-02T01:02:03-23:59",
	} {
		f.Add(text)
	}
	iso, l := isoForm(), timeField(f, "")
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := l.parse([]byte(text))
		want, wantOK := int64(0), false
		for _, form := range record.DefaultLayouts() {
			if parsed, err := time.Parse(form, text); err == nil && iso.MatchString(text) {
				want, wantOK = parsed.Truncate(time.Microsecond).UnixMicro(), true
				break
			}
		}
		if ok != wantOK || got != want {
			t.Errorf("%q: %d %t, want %d %t", text, got, ok, want, wantOK)
		}
	})
}

func TestTimeRoundTrip(t *testing.T) {
	t.Parallel()
	zones := []string{"", "America/Los_Angeles", "Asia/Kolkata", "Australia/Lord_Howe", "Europe/Berlin"}
	rapid.Check(t, func(t *rapid.T) {
		micros := rapid.Int64Range(-62_000_000_000_000_000, 253_000_000_000_000_000).Draw(t, "micros")
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		s, err := record.NewSchema(record.Field{Name: "t", Type: record.Time, Zone: zone})
		if err != nil {
			t.Fatal(err)
		}
		l, err := newLayouts(s.Field(0))
		if err != nil {
			t.Fatal(err)
		}
		at := time.UnixMicro(micros).In(loc)
		if _, offset := at.Zone(); offset%60 == 0 { // RFC 3339 has no seconds in an offset
			if got, ok := l.parse([]byte(at.Format(time.RFC3339Nano))); !ok || got != micros {
				t.Fatalf("%s: %d %t", at.Format(time.RFC3339Nano), got, ok)
			}
		}
		// A local time is one of those that package time gives it, and is the same text again unless the zone
		// skips it.
		text := at.Format("2006-01-02 15:04:05.000000")
		got, ok := l.parse([]byte(text))
		if !ok || time.UnixMicro(got).In(loc).Format("2006-01-02 15:04:05.000000") != text || got > micros {
			t.Fatalf("%s: %d %t, want %d", text, got, ok, micros)
		}
	})
}
