package stat

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"millrace.dev/internal/testenv"
	"pgregory.net/rapid"
)

// TestHash64 has vectors of XXH64 with seed 0: of xxHash's documentation, and of github.com/cespare/xxhash.
func TestHash64(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]uint64{
		"":    0xef46db3751d8e999,
		"a":   0xd24ec4f1a98c6e5b,
		"as":  0x1c330fb2d66be179,
		"asd": 0x631c37ce72a97393,
		"Call me Ishmael. Some years ago--never mind how long precisely-": 0x02a2e85470d6fd96,
	} {
		if got := Hash64(s); got != want {
			t.Errorf("%q: %016x, want %016x", s, got, want)
		}
	}
}

// TestHashesStay pins hashes of every length: they decide what trained models look like.
func TestHashesStay(t *testing.T) {
	t.Parallel()
	const (
		want64 uint64 = 0x3acd724b16ab3edf
		want32 int32  = 0x137b0955
	)
	text := strings.Repeat("Zürich 東京 😀 v1.0 ", 10)
	var h64 uint64
	var h32 int32
	for i := range len(text) {
		h64 = h64*31 + Hash64(text[:i])
		h32 = h32*31 + MurmurString(text[:i], MurmurSeed)
	}
	if h64 != want64 || h32 != want32 {
		t.Errorf("the hashes are %#x and %#x", h64, h32)
	}
}

func TestMurmurString(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int32{ // of scala-library 2.11.12
		"": 377927480, "a": -1454233464, "b": 643363174, "c": -628081590, "Seattle": 1619189511, "Kent": 800089997,
		"Mercer Island": -671196067, "Zürich": -13237530, "東京": -1216292704, "😀": 505616009, "v1.0": -2006568577,
	} {
		if got := MurmurString(s, MurmurSeed); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
	if MurmurString("\xff", 1) != MurmurString("\ufffd", 1) {
		t.Error("a byte that is not UTF-8 is not U+FFFD")
	}
}

// TestHashesDoNotAllocate is not parallel: AllocsPerRun must be alone.
func TestHashesDoNotAllocate(t *testing.T) {
	text := strings.Repeat("Zürich 東京 😀", 5)
	if n := testing.AllocsPerRun(100, func() { _, _ = MurmurString(text, MurmurSeed), Hash64(text) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestMurmurStringByUnits compares with the definition over a slice of code units.
func TestMurmurStringByUnits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, seed := rapid.String().Draw(t, "s"), rapid.Uint32().Draw(t, "seed")
		units := utf16.Encode([]rune(s))
		h, i := seed, 0
		for ; i+1 < len(units); i += 2 {
			h = murmurMix(h, uint32(units[i])<<16+uint32(units[i+1]))
			h = (h<<13|h>>19)*5 + 0xe6546b64
		}
		if i < len(units) {
			h = murmurMix(h, uint32(units[i]))
		}
		h ^= uint32(len(units))
		h ^= h >> 16
		h *= 0x85ebca6b
		h ^= h >> 13
		h *= 0xc2b2ae35
		h ^= h >> 16
		if got := MurmurString(s, seed); got != int32(h) {
			t.Fatalf("%q: %d, want %d", s, got, int32(h))
		}
	})
}

// vector is one case of featran.json.
type vector struct {
	ID          string
	Params      json.RawMessage
	Fit         json.RawMessage
	Expect      map[string]json.RawMessage
	MurmurTexts map[string]int32 `json:"murmur3_stringHash"`
}

func featran(t *testing.T) map[string]vector {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testenv.Vectors(t), "featran.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Vectors []vector }
	if err := json.Unmarshal(b, &all); err != nil { //nolint:musttag // the names are those of the file
		t.Fatal(err)
	}
	out := map[string]vector{}
	for _, v := range all.Vectors {
		out[v.ID] = v
	}
	return out
}

func decode[T any](t *testing.T, raw json.RawMessage) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestFeatranHashes(t *testing.T) {
	t.Parallel()
	all := featran(t)
	for s, want := range all["hash1hot-7"].MurmurTexts {
		if got := MurmurString(s, MurmurSeed); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
	for id, size := range map[string]int32{"hash1hot-7": 7, "hash1hot-100": 100} {
		texts := decode[[]string](t, all[id].Fit)
		for i, row := range decode[[]struct{ Index int32 }](t, all[id].Expect["fit_rows"]) {
			if got := (MurmurString(texts[i], MurmurSeed)%size + size) % size; got != row.Index {
				t.Errorf("%s: %q is in bucket %d, want %d", id, texts[i], got, row.Index)
			}
		}
	}
}

func BenchmarkHashes(b *testing.B) {
	for name, s := range map[string]string{"short": "WA 98155", "long": strings.Repeat("WA 98155 ", 20)} {
		b.Run("xxh64/"+name, func(b *testing.B) {
			for b.Loop() {
				Hash64(s)
			}
		})
		b.Run("murmur/"+name, func(b *testing.B) {
			for b.Loop() {
				MurmurString(s, MurmurSeed)
			}
		})
	}
}
