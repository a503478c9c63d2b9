package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/format"
)

// openBytes reads all rows of the bytes of a Parquet file.
func openBytes(tb testing.TB, path string, b []byte) (rows int, err error) {
	tb.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	s, err := Open(tb.Context(), path, Options{})
	if err == nil {
		var all []row
		all, _, err = readOnce(tb.Context(), s)
		rows = len(all)
	}
	if e, ok := errors.AsType[*DataError](err); err != nil && (!ok || e.Path != path || e.Hint == "") {
		tb.Errorf("error %v: want one with the path and what to do", err)
	}
	return rows, err
}

// TestParquetDamaged cuts files short and flips their bits. What a flipped bit does to a value nobody can know where there is no
// checksum; but it does not crash, takes no memory without bound, and leaves no row out.
func TestParquetDamaged(t *testing.T) {
	t.Parallel()
	rows := manyEncodings(60)
	for name, text := range map[string]string{
		"v1": makeParquet(t, rows, parquet.DataPageVersion(1), parquet.PageBufferSize(100), parquet.Compression(&parquet.Snappy)),
		"v2": makeParquet(t, rows, parquet.DataPageVersion(2), parquet.MaxRowsPerRowGroup(25), parquet.Compression(&parquet.Zstd)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "a.parquet")
			step := 5 // each byte takes half a minute, and passes too
			if testing.Short() {
				step = 31
			}
			for n := 0; n < len(text); n += step {
				if rows, err := openBytes(t, path, []byte(text[:n])); err == nil {
					t.Errorf("%d of %d bytes are %d rows", n, len(text), rows)
				}
			}
			for i := 0; i < len(text); i += step {
				b := []byte(text)
				b[i] ^= 1 << (i % 8)
				if got, err := openBytes(t, path, b); err == nil && got != len(rows) {
					t.Errorf("byte %d: %d rows and no error", i, got)
				}
			}
		})
	}
}

// TestParquetMemory has files that ask for memory.
func TestParquetMemory(t *testing.T) { //nolint:paralleltest // it measures the memory of the process
	frame := func(footer []byte) []byte {
		b := append([]byte("PAR1"), footer...)
		return append(binary.LittleEndian.AppendUint32(b, uint32(len(footer))), "PAR1"...)
	}
	list := func(n uint64, kind byte) []byte { return binary.AppendUvarint([]byte{0x29, 0xF0 | kind}, n) } // field 2
	deep := bytes.Repeat([]byte{0x2C}, 1000)                                                               // structs in structs
	for name, tc := range map[string]struct {
		file []byte
		want string
	}{
		"many columns":    {frame(list(1<<31-1, thriftStruct)), "its metadata is cut short"},
		"empty columns":   {frame(append(list(2<<20, thriftStruct), make([]byte, 2<<20)...)), "describes more than"},
		"many texts":      {frame(list(1<<40, thriftBinary)), "cut short"},
		"long text":       {frame(binary.AppendUvarint([]byte{0x68}, 1<<31)), "cut short"},
		"deep":            {frame(deep), "nested more than 32 deep"},
		"deep lists":      {frame(append([]byte{0x29}, bytes.Repeat([]byte{0x19}, 1000)...)), "cut short"},
		"map":             {frame(append(binary.AppendUvarint([]byte{0x2B}, 1<<30), 0x88)), "cut short"},
		"long footer":     {binary.LittleEndian.AppendUint32([]byte("PAR1PAR1"), 1<<31), "not that of a Parquet file"},
		"longer than all": {append(binary.LittleEndian.AppendUint32([]byte("PAR1...."), 1<<31), "PAR1"...), "its metadata is longer than the file"},
		"other magic":     {[]byte("PK34.......................PAR1"), "it is no Parquet file"},
		"encrypted":       {[]byte("PARE.......................PARE"), "it is encrypted"},
		"short":           {[]byte("PAR1"), "it is too short"},
		"empty":           {nil, "it is too short"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := openBytes(t, filepath.Join(t.TempDir(), "a.parquet"), tc.file)
		runtime.ReadMemStats(&after)
		check(t, err, tc.want)
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
			t.Errorf("%s: %d MiB", name, n>>20)
		}
	}
}

// TestPageBounds gives pages that claim more than they have to the decoders.
func TestPageBounds(t *testing.T) {
	t.Parallel()
	text := &leaf{name: "x", physical: format.ByteArray, kind: kindText}
	number := &leaf{name: "x", physical: format.Int64, width: 8, kind: kindInteger, maxDef: 1, levels: 1}
	flag := &leaf{name: "x", physical: format.Boolean, width: 1, kind: kindBoolean}
	prefixes := (&delta.BinaryPackedEncoding{})
	ints := func(n ...int32) []byte {
		b, err := prefixes.EncodeInt32(nil, n)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	bomb := append(ints(slices.Repeat([]int32{1 << 20}, 200)...), ints(append([]int32{1 << 20}, make([]int32, 199)...)...)...)
	for name, tc := range map[string]struct {
		leaf   *leaf
		n      int
		levels []byte
		body   []byte
		e      format.Encoding
		want   string
	}{
		"negative":           {text, -1, nil, nil, format.Plain, "a page has -1 values"},
		"too many":           {text, maxPageValues + 1, nil, nil, format.Plain, "values, where"},
		"no texts":           {text, maxPageValues, nil, make([]byte, 8), format.Plain, "fewer values"},
		"text too long":      {text, 1, nil, []byte{255, 255, 255, 255, 1}, format.Plain, "fewer values"},
		"no numbers":         {number, 5, []byte{10, 1}, make([]byte, 39), format.Plain, "fewer values"},
		"no levels":          {number, 5, []byte{8, 1}, make([]byte, 40), format.Plain, "fewer values"},
		"groups":             {number, 8, binary.AppendUvarint(nil, 1<<63|1), nil, format.Plain, "fewer values"},
		"no dictionary":      {text, 1, nil, []byte{1, 2, 0}, format.RLEDictionary, "a dictionary that is not there"},
		"wide numbers":       {number, 3, []byte{6, 1}, []byte{33, 6, 1}, format.RLEDictionary, "dictionary"},
		"number of deltas":   {number, 3, []byte{6, 1}, ints(1, 2), format.DeltaBinaryPacked, "has 2 values, where there should be 3"},
		"blocks":             {number, 3, []byte{6, 1}, []byte{5, 1, 3, 0}, format.DeltaBinaryPacked, "blocks of 5 values"},
		"lengths":            {text, 2, nil, append(ints(1, -1), "x"...), format.DeltaLengthByteArray, "fewer values"},
		"lengths too long":   {text, 2, nil, append(ints(1, 1), "x"...), format.DeltaLengthByteArray, "fewer values"},
		"prefix of nothing":  {text, 2, nil, append(append(ints(1, 0), ints(1, 1)...), "xy"...), format.DeltaByteArray, "begins like more"},
		"many long prefixes": {text, 200, nil, append(slices.Clip(bomb), make([]byte, 1<<20)...), format.DeltaByteArray, "begins like more"},
		"flags":              {flag, 9, nil, []byte{1}, format.Plain, "fewer values"},
		"runs of flags":      {flag, 9, nil, []byte{9, 0, 0, 0, 1}, format.RLE, "fewer values"},
		"streams":            {number, 1, []byte{2, 1}, make([]byte, 9), format.ByteStreamSplit, "9 bytes for 1 values"},
		"wrong encoding":     {number, 1, []byte{2, 1}, make([]byte, 9), format.DeltaByteArray, "is not read"},
	} {
		c := &cursor{leaf: tc.leaf, chunk: &format.ColumnMetaData{}}
		err := c.setPage(tc.n, tc.levels, tc.body, tc.e)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		check(t, err, tc.want)
	}
	// Texts that each begin like the one before, and so take much more than the page.
	lengths := slices.Repeat([]int32{0}, 200)
	lengths[0] = 1 << 20
	shared := slices.Repeat([]int32{1 << 20}, 200)
	shared[0] = 0
	body := append(append(ints(shared...), ints(lengths...)...), make([]byte, 1<<20)...)
	c := &cursor{leaf: text, chunk: &format.ColumnMetaData{}}
	check(t, c.setPage(200, nil, body, format.DeltaByteArray), "take more than 128 MiB")
}

// TestParquetPages has pages that fit one by one, and not together.
func TestParquetPages(t *testing.T) {
	t.Parallel()
	p := &parquetFile{cursors: []*cursor{{bytes: maxParquetMemory / 2}, {bytes: maxParquetMemory / 2}}}
	if err := p.bound(); err != nil {
		t.Error(err)
	}
	p.cursors = append(p.cursors, &cursor{bytes: 1})
	check(t, p.bound(), "its pages take more than 1024 MiB at a time")
}

// FuzzParquet reads whatever there is: it gives rows or an error.
func FuzzParquet(f *testing.F) {
	rows := manyEncodings(5)
	for version := 1; version <= 2; version++ {
		f.Add([]byte(makeParquet(f, rows, parquet.DataPageVersion(version))))
		f.Add([]byte(makeParquet(f, rows, parquet.DataPageVersion(version), parquet.Compression(&parquet.Snappy))))
	}
	f.Add([]byte(makeParquet(f, []kinds{{}, {F64: 1}})))
	path := filepath.Join(f.TempDir(), "a.parquet")
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = openBytes(t, path, b)
	})
}

// FuzzEncodings holds the decoders to the library's encoders.
func FuzzEncodings(f *testing.F) {
	f.Add([]byte("some bytes that become numbers"), uint8(5))
	f.Add(bytes.Repeat([]byte{0, 0, 0, 0, 0, 0, 0, 0x80, 255}, 200), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, width uint8) {
		var wide []int64
		var narrow []int32
		var texts [][]byte
		for len(b) >= 8 && len(wide) < 5000 {
			x := binary.LittleEndian.Uint64(b)
			wide, narrow = append(wide, int64(x)), append(narrow, int32(x))
			texts = append(texts, b[:x%8])
			b = b[8-x%7:]
		}
		packed, err := (&delta.BinaryPackedEncoding{}).EncodeInt64(nil, wide)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := deltas(packed, len(wide)); err != nil || !slices.Equal(got, wide) {
			t.Errorf("deltas of 64 bits: %v", err)
		}
		if packed, err = (&delta.BinaryPackedEncoding{}).EncodeInt32(nil, narrow); err != nil {
			t.Fatal(err)
		}
		v, err := deltaIntegers(packed, 4, len(narrow))
		if err != nil {
			t.Fatalf("deltas of 32 bits: %v", err)
		}
		for i, x := range narrow {
			if int32(binary.LittleEndian.Uint32(v.at(i))) != x {
				t.Errorf("delta %d of 32 bits", i)
			}
		}
		fuzzTexts(t, texts)
		fuzzHybrid(t, narrow, int(width%32)+1)
	})
}

func fuzzTexts(t *testing.T, texts [][]byte) {
	t.Helper()
	var data []byte
	offsets := []uint32{0}
	for _, text := range texts {
		data = append(data, text...)
		offsets = append(offsets, uint32(len(data)))
	}
	for name, encode := range map[string]func([]byte, []byte, []uint32) ([]byte, error){
		"lengths": (&delta.LengthByteArrayEncoding{}).EncodeByteArray, "texts": (&delta.ByteArrayEncoding{}).EncodeByteArray,
	} {
		if len(texts) == 0 {
			return
		}
		packed, err := encode(nil, data, offsets)
		if err != nil {
			t.Fatal(err)
		}
		v, err := deltaLengths(packed, len(texts))
		if name == "texts" {
			v, err = deltaTexts(packed, 0, len(texts), 1<<20)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, text := range texts {
			if !bytes.Equal(v.at(i), text) {
				t.Errorf("%s: text %d", name, i)
			}
		}
	}
}

func fuzzHybrid(t *testing.T, numbers []int32, width int) {
	t.Helper()
	want := make([]uint32, len(numbers))
	for i, x := range numbers {
		if i%50 > 20 { // runs
			x = numbers[i-i%50]
		}
		want[i] = uint32(uint64(uint32(x)) & (1<<width - 1))
	}
	ints := make([]int32, len(want))
	for i, x := range want {
		ints[i] = int32(x)
	}
	packed, err := (&rle.Encoding{BitWidth: width}).EncodeInt32(nil, ints)
	if err != nil {
		t.Fatal(fmt.Errorf("width %d: %w", width, err))
	}
	got, err := hybrid(nil, packed, width, len(want))
	if diff := cmp.Diff(want, append(make([]uint32, 0, len(want)), got...)); err != nil || diff != "" {
		t.Errorf("width %d: %v %s", width, err, diff)
	}
}
