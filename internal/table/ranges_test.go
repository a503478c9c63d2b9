package table

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"millrace.dev/record"
)

// database returns a small database of addresses that are set aside for documentation.
func database(t testing.TB, version int) []byte {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: "Test", Description: map[string]string{"en": "test"}, IPVersion: version, RecordSize: 24, IncludeReservedNetworks: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	type (
		object = mmdbtype.Map
		text   = mmdbtype.String
		array  = mmdbtype.Slice
	)
	austria := object{
		"country":      object{"iso_code": text("AT"), "geoname_id": mmdbtype.Uint32(2782113), "is_in_european_union": mmdbtype.Bool(true)},
		"location":     object{"latitude": mmdbtype.Float64(48.2), "accuracy": mmdbtype.Uint16(10), "offset": mmdbtype.Int32(-1), "small": mmdbtype.Float32(0.1)},
		"subdivisions": array{object{"iso_code": text("9")}, object{"iso_code": text("9.0")}},
		"seen":         text("2020-01-02"), "quoted": text("12.5"), "large": mmdbtype.Uint64(1<<53 + 1),
	}
	networks := map[string]object{
		"192.0.2.0/25":    austria,
		"192.0.2.128/25":  {"country": object{"iso_code": text("DE")}, "location": text("nowhere"), "seen": text("yesterday")},
		"198.51.100.0/24": {"other": text("x")},
	}
	if version == 6 {
		networks["2001:db8::/33"] = austria
	}
	for network, value := range networks {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Insert(n, value); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func rangesSchema(t testing.TB) *record.Schema {
	t.Helper()
	s, err := record.NewSchema(
		record.Field{Name: "country.iso_code", Type: record.String},
		record.Field{Name: "country.geoname_id", Type: record.Enum},
		record.Field{Name: "country.is_in_european_union", Type: record.Enum},
		record.Field{Name: "location.latitude", Type: record.Numeric, Required: true},
		record.Field{Name: "location.accuracy", Type: record.Numeric},
		record.Field{Name: "location.offset", Type: record.Numeric},
		record.Field{Name: "location.small", Type: record.Numeric},
		record.Field{Name: "subdivisions.0.iso_code", Type: record.Enum},
		record.Field{Name: "subdivisions.1.iso_code", Type: record.Enum},
		record.Field{Name: "subdivisions.2.iso_code", Type: record.Enum},
		record.Field{Name: "seen", Type: record.Time},
		record.Field{Name: "quoted", Type: record.Numeric, Quoted: true},
		record.Field{Name: "large", Type: record.Numeric},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRanges(t *testing.T) {
	t.Parallel()
	s := rangesSchema(t)
	r, err := NewRanges(database(t, 6), RangesOptions{Schema: s})
	if err != nil {
		t.Fatal(err)
	}
	const (
		austria = "AT 2782113 true 48.2 10 -1 0.1 9 9 - 1577923200000000 12.5 -"
		germany = "DE - - - - - - - - - - - -"
	)
	for address, want := range map[string]string{
		"192.0.2.1": austria, "192.0.2.127": austria, "::ffff:192.0.2.1": austria, "2001:db8::1": austria,
		"192.0.2.128": germany, "198.51.100.1": "none", "203.0.113.1": "none", "2001:db8:8000::1": "none",
		"": "none", "192.0.2": "none", "192.0.2.1:80": "none", "192.0.2.1\n": "none", "192.0.2.01": "none", "fe80::1%eth0": "none", "example.com": "none",
	} {
		for range 2 { // decoded, and from the cache
			if got := showAll(s, r.Get(address, 7)); got != want {
				t.Errorf("%s: %s, want %s", address, got, want)
			}
		}
	}
	// A number that no float64 equals, and what Germany has instead of a place, of which there are four fields, and of a day.
	if n := r.Faults(); n != 6 {
		t.Errorf("%d faults", n)
	}
}

// showAll writes the values of a row.
func showAll(s *record.Schema, r *record.Row) string {
	if r == nil {
		return "none"
	}
	var b bytes.Buffer
	for f := range s.Len() {
		if f > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(value(s, r, f))
	}
	return b.String()
}

func TestRangesOfIPv4(t *testing.T) {
	t.Parallel()
	r, err := NewRanges(database(t, 4), RangesOptions{Schema: rangesSchema(t), Cached: 1})
	if err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 100 {
				if r.Get("192.0.2.1", 0) == nil || r.Get("192.0.2.200", 0) == nil || r.Get("2001:db8::1", 0) != nil {
					t.Error("wrong answer")
				}
			}
		})
	}
	readers.Wait()
}

func TestOpenRanges(t *testing.T) {
	t.Parallel()
	s := rangesSchema(t)
	file := database(t, 6)
	path := filepath.Join(t.TempDir(), "test.mmdb")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenRanges(path, RangesOptions{Schema: s})
	if err != nil || r.Get("192.0.2.1", 0) == nil || r.Schema() != s {
		t.Error(err)
	}
	for name, p := range map[string]string{"none": path + "x", "a folder": t.TempDir()} {
		if _, err := OpenRanges(p, RangesOptions{Schema: s}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	short := filepath.Join(t.TempDir(), "short.mmdb")
	if err := os.WriteFile(short, file[:len(file)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRanges(short, RangesOptions{Schema: s}); err == nil {
		t.Error("no error for half a file")
	}
	odd, err := record.NewSchema(record.Field{Name: "a..b", Type: record.Enum})
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]RangesOptions{"no schema": {}, "negative": {Schema: s, Cached: -1}, "path": {Schema: odd}} {
		if _, err := NewRanges(file, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A damaged file is an error, or answers without harm.
func FuzzRanges(f *testing.F) {
	file := database(f, 6)
	for _, at := range []int{0, 10, len(file) / 2, len(file) - 10} {
		f.Add(at, byte(0xFF), "192.0.2.1")
	}
	s := rangesSchema(f)
	f.Fuzz(func(_ *testing.T, at int, to byte, address string) {
		if at < 0 || at >= len(file) {
			return
		}
		damaged := slices.Clone(file)
		damaged[at] ^= to
		r, err := NewRanges(damaged, RangesOptions{Schema: s})
		if err != nil {
			return
		}
		for _, a := range []string{address, "192.0.2.1", "192.0.2.200", "2001:db8::1"} {
			r.Get(a, 0)
		}
	})
}

func BenchmarkRanges(b *testing.B) {
	r, err := NewRanges(database(b, 6), RangesOptions{Schema: rangesSchema(b)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if r.Get("192.0.2.77", 0) == nil {
			b.Fatal("nothing found")
		}
	}
}
