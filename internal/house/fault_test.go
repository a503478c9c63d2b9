package house

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestBreak(t *testing.T) {
	t.Parallel()
	s := example()
	intact := string(s.AppendListing(nil))
	swap := func(old, with string) string {
		if !strings.Contains(intact, old) {
			t.Fatalf("no %s in %s", old, intact)
		}
		return strings.Replace(intact, old, with, 1)
	}
	for f, want := range map[Fault]string{
		Intact:          intact,
		InvalidJSON:     swap(`"floors": 1.5`, `"floors" 1.5`),
		Truncated:       intact[:len(intact)*2/3],
		WrongType:       swap(`"sqft_living": 1340`, `"sqft_living": {"value": 1340}`),
		MissingRequired: swap(`"sqft_living": 1340, `, ""),
		MissingOptional: swap(`"sqft_lot": 7912, `, ""),
		UnknownLevel:    swap(`"Seattle"`, `"Atlantis"`),
		NullValue:       "",
		InvalidUTF8:     swap("12 Larkenby Ave N", "12 Ch\xe2teau Way N"),
		HugeNumber:      swap(`"sqft_lot": 7912`, `"sqft_lot": 1e400`),
		WrongCaseKey:    swap(`"sqft_living"`, `"Sqft_Living"`),
		DuplicateKey:    swap(`"USA"}`, `"USA", "sqft_living": 1}`),
	} {
		listing := []byte(intact)
		got := f.Break(listing)
		if string(got) != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
		if string(listing) != intact {
			t.Errorf("%v: changed what it was given", f)
		}
		if (got == nil) != (f == NullValue) {
			t.Errorf("%v: nil is %t", f, got == nil)
		}
	}
}

// TestBreakAnyListing breaks many houses: each fault is what its name says, whatever the house.
func TestBreakAnyListing(t *testing.T) {
	t.Parallel()
	for _, s := range sales(newTest(t, Options{Seed: 3}), 300) {
		for name, record := range map[string][]byte{"listing": s.AppendListing(nil), "sale": s.AppendJSON(nil)} {
			for _, f := range Faults() {
				got := f.Break(record)
				if bytes.Equal(got, record) {
					t.Fatalf("%v leaves %s %d as it is", f, name, s.ID)
				}
				if f == NullValue {
					continue
				}
				var fields map[string]json.RawMessage
				err := json.Unmarshal(got, &fields)
				if broken := f == InvalidJSON || f == Truncated; (err != nil) != broken {
					t.Fatalf("%v of %s %d: %v: %s", f, name, s.ID, err, got)
				}
				if utf8.Valid(got) != (f != InvalidUTF8) {
					t.Fatalf("%v of %s %d: valid UTF-8 is %t", f, name, s.ID, utf8.Valid(got))
				}
				_, required := fields[RequiredField]
				_, optional := fields[OptionalField]
				if err == nil && (required == (f == MissingRequired || f == WrongCaseKey) || optional == (f == MissingOptional)) {
					t.Fatalf("%v of %s %d: %s is there: %t, %s is there: %t", f, name, s.ID, RequiredField, required, OptionalField, optional)
				}
			}
		}
	}
}

func TestFaultNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	predicted := 0
	for _, f := range append(Faults(), Intact) {
		if seen[f.String()] || strings.HasPrefix(f.String(), "Fault(") {
			t.Errorf("%d is called %s", uint8(f), f)
		}
		seen[f.String()] = true
		if f.Class() == "" {
			predicted++
		}
	}
	if len(seen) != 12 || predicted != 3 {
		t.Errorf("%d faults, %d of them predicted", len(seen), predicted)
	}
	if s := faultEnd.String(); s != "Fault(12)" || faultEnd.Class() != "" || faultEnd.Break([]byte("{}")) == nil {
		t.Errorf("no such fault: %s", s)
	}
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	const n = 11_000
	for _, share := range []float64{0.5, 0.1, 0.01} {
		b, err := NewBreaker(4, share)
		if err != nil {
			t.Fatal(err)
		}
		every := int64(math.Round(1 / share))
		places, kinds, inRun := map[int64]bool{}, map[Fault]int{}, 0
		for i := range int64(n) {
			if f := b.Fault(i); f != Intact {
				kinds[f]++
				places[i%every] = true
				inRun++
			}
			if i%every == every-1 {
				if inRun != 1 {
					t.Fatalf("share %v: %d of the %d records that end with %d are broken, want 1", share, inRun, every, i)
				}
				inRun = 0
			}
		}
		want := n / int(every) / len(Faults())
		for _, f := range Faults() {
			if kinds[f] < want || kinds[f] > want+1 {
				t.Errorf("share %v: %d times %v, want %d", share, kinds[f], f, want)
			}
		}
		if len(places) < 2 {
			t.Errorf("share %v: always at the same place", share)
		}
	}
}

func TestBreakerOfNothing(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{0, 1e-300} {
		b, err := NewBreaker(4, share)
		if err != nil {
			t.Fatal(err)
		}
		for i := range int64(1000) {
			if f := b.Fault(i); f != Intact {
				t.Fatalf("share %v: record %d: %v", share, i, f)
			}
		}
	}
	for _, share := range []float64{-0.1, 0.51, math.NaN(), math.Inf(1)} {
		if _, err := NewBreaker(4, share); err == nil {
			t.Errorf("share %v: no error", share)
		}
	}
}
