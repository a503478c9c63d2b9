package house

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func example() Sale {
	return Sale{
		ID: 42, Date: day(5, 2), Price: 313_000, Bedrooms: 3, Bathrooms: 2.25, SqftLiving: 1340, SqftLot: 7912, Floors: 1.5,
		View: 2, Condition: 3, SqftAbove: 1300, SqftBasement: 40, YrBuilt: 1955, YrRenovated: 2005,
		Street: "12 Larkenby Ave N", City: "Seattle", StateZip: "WA 98133", Country: "USA",
	}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	s := example()
	for _, c := range []struct {
		name, want string
		f          func([]byte) []byte
	}{
		{"csv", "2014-05-02 00:00:00,313000.0,3.0,2.25,1340,7912,1.5,0,2,3,1300,40,1955,2005,12 Larkenby Ave N,Seattle,WA 98133,USA\n", s.AppendCSV},
		{"json", `{"id": "house-0000042", "date": "2014-05-02 00:00:00", "price": 313000.0, "bedrooms": 3.0, "bathrooms": 2.25, ` +
			`"sqft_living": 1340, "sqft_lot": 7912, "floors": 1.5, "waterfront": 0, "view": 2, "condition": 3, "sqft_above": 1300, ` +
			`"sqft_basement": 40, "yr_built": 1955, "yr_renovated": 2005, "street": "12 Larkenby Ave N", "city": "Seattle", ` +
			`"statezip": "WA 98133", "country": "USA"}`, s.AppendJSON},
		{"key", "house-0000042", s.AppendKey},
	} {
		if diff := cmp.Diff("before:"+c.want, string(c.f([]byte("before:")))); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	listing := strings.Replace(string(s.AppendJSON(nil)), ` "price": 313000.0,`, "", 1)
	if diff := cmp.Diff(listing, string(s.AppendListing(nil))); diff != "" {
		t.Errorf("listing: %s", diff)
	}
}

func TestAppendKey(t *testing.T) {
	t.Parallel()
	for id, want := range map[int64]string{
		0: "house-0000000", 9: "house-0000009", 10: "house-0000010", 999_999: "house-0999999", 1_000_000: "house-1000000",
		9_999_999: "house-9999999", 10_000_000: "house-10000000", 123_456_789: "house-123456789",
	} {
		s := Sale{ID: id}
		if got := string(s.AppendKey(nil)); got != want {
			t.Errorf("%d: %s, want %s", id, got, want)
		}
	}
}

// TestTextsReadBack reads what was written with the standard library's readers.
func TestTextsReadBack(t *testing.T) {
	t.Parallel()
	g := newTest(t, Options{Seed: 9})
	file := []byte(CSVHeader)
	list := sales(g, 500)
	for i := range list {
		file = list[i].AppendCSV(file)
	}
	rows, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(list)+1 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, s := range list {
		cells := map[string]string{}
		for c, name := range rows[0] {
			cells[name] = rows[i+1][c]
		}
		if diff := cmp.Diff(s, readBack(t, &s, cells)); diff != "" {
			t.Fatalf("csv of sale %d: %s", i, diff)
		}
		for name, text := range map[string][]byte{"json": s.AppendJSON(nil), "listing": s.AppendListing(nil)} {
			fields := map[string]any{}
			d := json.NewDecoder(bytes.NewReader(text))
			d.UseNumber()
			if err := d.Decode(&fields); err != nil {
				t.Fatalf("%s of sale %d: %v", name, i, err)
			}
			if len(text) < 330 || len(text) > 420 {
				t.Errorf("%s of sale %d has %d bytes", name, i, len(text))
			}
			if id := fields["id"]; id != string(s.AppendKey(nil)) {
				t.Errorf("%s of sale %d has id %v", name, i, id)
			}
			delete(fields, "id")
			if name == "listing" {
				if _, has := fields["price"]; has {
					t.Fatalf("a listing of sale %d has a price", i)
				}
				fields["price"] = strconv.FormatFloat(s.Price, 'f', -1, 64)
			}
			if len(fields) != len(rows[0]) {
				t.Errorf("%s of sale %d has %d fields", name, i, len(fields))
			}
			for f, v := range fields {
				switch v := v.(type) {
				case string:
					cells[f] = v
				case json.Number:
					cells[f] = v.String()
				default:
					t.Fatalf("%s: %T", f, v)
				}
			}
			if diff := cmp.Diff(s, readBack(t, &s, cells)); diff != "" {
				t.Fatalf("%s of sale %d: %s", name, i, diff)
			}
		}
	}
}

// readBack makes a sale of cells, by name, and takes from s what cells do not have.
func readBack(t *testing.T, s *Sale, cells map[string]string) Sale {
	t.Helper()
	number := func(name string) float64 {
		x, err := strconv.ParseFloat(cells[name], 64)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	whole := func(name string) int {
		n, err := strconv.Atoi(cells[name])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	date, err := time.Parse(time.DateTime, cells["date"])
	if err != nil {
		t.Fatal(err)
	}
	return Sale{
		ID: s.ID, Date: date, Price: number("price"), Bedrooms: number("bedrooms"), Bathrooms: number("bathrooms"),
		SqftLiving: whole("sqft_living"), SqftLot: whole("sqft_lot"), Floors: number("floors"), Waterfront: whole("waterfront"),
		View: whole("view"), Condition: whole("condition"), SqftAbove: whole("sqft_above"), SqftBasement: whole("sqft_basement"),
		YrBuilt: whole("yr_built"), YrRenovated: whole("yr_renovated"), Street: cells["street"], City: cells["city"],
		StateZip: cells["statezip"], Country: cells["country"], LogPrice: s.LogPrice,
	}
}
