package source

import (
	"math"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
	"millrace.dev/record"
)

// readParquet returns the rows of the bytes of a file.
func readParquet(tb testing.TB, text string, o Options) ([]string, error) {
	tb.Helper()
	path := filepath.Join(write(tb, map[string]string{"a.parquet": text}), "a.parquet")
	rows, _, err := readAll(tb.Context(), path, o)
	return valuesOf(rows), err
}

// kinds has a column of each kind.
type kinds struct {
	Bool  bool             `parquet:"bool"`
	I8    int8             `parquet:"i8"`
	I32   int32            `parquet:"i32"`
	I64   int64            `parquet:"i64"`
	U32   uint32           `parquet:"u32"`
	U64   uint64           `parquet:"u64"`
	F32   float32          `parquet:"f32"`
	F64   float64          `parquet:"f64"`
	Text  string           `parquet:"text"`
	Maybe *string          `parquet:"maybe,optional"`
	Bytes []byte           `parquet:"bytes"`
	JSON  string           `parquet:"json,json"`
	Enum  string           `parquet:"enum,enum"`
	UUID  [16]byte         `parquet:"uuid,uuid"`
	Dec32 int32            `parquet:"dec32,decimal(2:9)"`
	Dec64 int64            `parquet:"dec64,decimal(3:18)"`
	Date  int32            `parquet:"date,date"`
	Milli int64            `parquet:"milli,timestamp(millisecond)"`
	Micro int64            `parquet:"micro,timestamp(microsecond:local)"`
	Nano  int64            `parquet:"nano,timestamp(nanosecond)"`
	Clock int64            `parquet:"clock,time(microsecond)"`
	Spark deprecated.Int96 `parquet:"spark"`
	Group *kindsGroup      `parquet:"group,optional"`
	List  []int64          `parquet:"list,list"`
	Map   map[string]int64 `parquet:"map"`
	Rep   []int64          `parquet:"rep"`
}

type kindsGroup struct {
	A int64  `parquet:"a"`
	B *int64 `parquet:"b,optional"`
}

func TestParquetKinds(t *testing.T) {
	t.Parallel()
	text, seven := "é\"\\\x01\n", int64(7)
	rows := []kinds{
		{
			Bool: true, I8: -8, I32: math.MinInt32, I64: math.MaxInt64, U32: math.MaxUint32, U64: math.MaxUint64, F32: 0.1, F64: 5e-324,
			Text: text, Maybe: &text, Bytes: []byte("plain"), JSON: `{"a":1}`, Enum: "RED", UUID: [16]byte{0, 1, 2, 15: 0xFF}, Dec32: -12345, Dec64: 7,
			Date: 16192, Milli: -1, Micro: 1398988800_500000, Nano: 1398988800_000000001, Clock: 3723_000001, Spark: deprecated.Int96{1, 0, 2456780},
			Group: &kindsGroup{A: 1, B: &seven}, List: []int64{1, 2}, Map: map[string]int64{"a": 1}, Rep: []int64{3},
		},
		{F64: math.NaN(), F32: float32(math.Inf(-1)), Bytes: []byte{0xFF}, Dec64: -7, Group: &kindsGroup{}, Spark: deprecated.Int96{0, 0, 2440588}},
		{F64: math.Inf(1), Dec32: 5, Date: -1},
	}
	got, err := readParquet(t, makeParquet(t, rows), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"bool":true,"i8":-8,"i32":-2147483648,"i64":9223372036854775807,"u32":4294967295,"u64":18446744073709551615,"f32":0.10000000149011612,"f64":5e-324,` +
			`"text":"é\"\\\u0001\u000a","maybe":"é\"\\\u0001\u000a","bytes":"plain","json":"{\"a\":1}","enum":"RED","uuid":"00010200-0000-0000-0000-0000000000ff",` +
			`"dec32":-123.45,"dec64":0.007,"date":"2014-05-02","milli":"1969-12-31T23:59:59.999Z","micro":"2014-05-02T00:00:00.5","nano":"2014-05-02T00:00:00.000000001Z",` +
			`"clock":"01:02:03.000001","spark":"2014-05-02T00:00:00.000000001Z","group.a":1,"group.b":7}`,
		`{"bool":false,"i8":0,"i32":0,"i64":0,"u32":0,"u64":0,"f32":"-Infinity","text":"","json":"","enum":"","uuid":"00000000-0000-0000-0000-000000000000",` +
			`"dec32":0.00,"dec64":-0.007,"date":"1970-01-01","milli":"1970-01-01T00:00:00Z","micro":"1970-01-01T00:00:00","nano":"1970-01-01T00:00:00Z",` +
			`"clock":"00:00:00","spark":"1970-01-01T00:00:00Z","group.a":0}`,
		`{"bool":false,"i8":0,"i32":0,"i64":0,"u32":0,"u64":0,"f32":0,"f64":"Infinity","text":"","bytes":"","json":"","enum":"","uuid":"00000000-0000-0000-0000-000000000000",` +
			`"dec32":0.05,"dec64":0.000,"date":"1969-12-31","milli":"1970-01-01T00:00:00Z","micro":"1970-01-01T00:00:00","nano":"1970-01-01T00:00:00Z",` +
			`"clock":"00:00:00","spark":"-4713-11-24T00:00:00Z"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestParquetColumns reads some columns, and says which cannot be read.
func TestParquetColumns(t *testing.T) {
	t.Parallel()
	text := makeParquet(t, []kinds{{I32: 3, Enum: "RED", Bytes: []byte{0xFF}, List: []int64{1}}})
	for name, tc := range map[string]struct{ want, err string }{
		"i32":      {want: `{"i32":3}`},
		"I32":      {want: `{"i32":3}`}, // for the decoder to tell that the case differs
		"bytes":    {want: "{\"bytes\":\"\xff\"}"},
		"enum":     {want: `{"enum":"RED"}`},
		"nothing":  {want: `{}`},
		"group.b":  {want: `{}`},
		"group":    {err: `the column "group", which the schema declares, is a group`},
		"list":     {err: `the column "list", which the schema declares, is a group, a list or a map`},
		"map":      {err: `the column "map", which the schema declares, is a group, a list or a map`},
		"rep":      {err: `the column "rep", which the schema declares, is a list or a map`},
		"map.key":  {want: `{}`},
		"group.no": {want: `{}`},
	} {
		schema, err := record.NewSchema(record.Field{Name: name, Type: record.Enum})
		if err != nil {
			t.Fatal(err)
		}
		got, err := readParquet(t, text, Options{Schema: schema, Declared: true})
		check(t, err, tc.err)
		if err == nil && (len(got) != 1 || got[0] != tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	type twice struct {
		A struct {
			B int64 `parquet:"b"`
		} `parquet:"a"`
		C int64 `parquet:"a.b"`
	}
	_, err := readParquet(t, makeParquet(t, []twice{{}}), Options{})
	check(t, err, `it has the column "a.b" twice`)
}

// TestDecimals holds decimals in bytes to what math/big says of them.
func TestDecimals(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0", "1", "-1", "255", "-256", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "-170141183460469231731687303715884105728", "99999999999999999999999999999999999999"} {
		n, ok := new(big.Int).SetString(text, 10)
		if !ok {
			t.Fatal(text)
		}
		for _, width := range []int{8, 9, 16, 40} {
			b := new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*width))).Bytes()
			if len(b) > width {
				b = b[len(b)-width:]
			}
			if n.BitLen() > 8*width-1 && text != "-9223372036854775808" {
				continue
			}
			l := leaf{kind: kindDecimal, physical: format.FixedLenByteArray, width: width}
			if got := string(l.append(nil, b)); got != text {
				t.Errorf("%s in %d bytes: %s", text, width, got)
			}
			l.scale = 3
			got, ok := new(big.Rat).SetString(string(l.append(nil, b)))
			if want := new(big.Rat).SetFrac(n, big.NewInt(1000)); !ok || got.Cmp(want) != 0 {
				t.Errorf("%s thousandths in %d bytes: %s", text, width, l.append(nil, b))
			}
		}
	}
}

func TestFloat16(t *testing.T) {
	t.Parallel()
	for bits, want := range map[uint16]float64{
		0: 0, 0x3C00: 1, 0xC000: -2, 0x7BFF: 65504, 1: math.Ldexp(1, -24), 0x3555: 0.333251953125, 0x7C00: math.Inf(1), 0xFC00: math.Inf(-1), 0x0400: math.Ldexp(1, -14),
	} {
		if got := float16(bits); got != want {
			t.Errorf("%#x: %v, want %v", bits, got, want)
		}
	}
	if !math.IsNaN(float16(0x7E00)) {
		t.Error("NaN is a number")
	}
}

// TestTimes reads times as fields with all kinds of layouts; each must come back as the instant that it is.
func TestTimes(t *testing.T) {
	t.Parallel()
	type times struct {
		Date    int32 `parquet:"date,date"`
		Local   int64 `parquet:"local,timestamp(microsecond:local)"`
		Instant int64 `parquet:"instant,timestamp(microsecond)"`
	}
	const at = 1398988800_500000 // 2014-05-02 00:00:00.5 UTC
	text := makeParquet(t, []times{{Date: 16192, Local: at, Instant: at}})
	const iso, day, german = "2006-01-02T15:04:05", time.DateOnly, "02.01.2006 15:04:05"
	for name, tc := range map[string]struct {
		layouts              []string
		zone                 string
		date, local, instant string
	}{
		"default":            {nil, "", `"2014-05-02"`, `"2014-05-02 00:00:00.5"`, `"2014-05-02T00:00:00.5Z"`},
		"default, zone":      {nil, "America/Los_Angeles", `"2014-05-02"`, `"2014-05-02 00:00:00.5"`, `"2014-05-01T17:00:00.5-07:00"`},
		"RFC 3339":           {[]string{time.RFC3339}, "", `"2014-05-02T00:00:00Z"`, `"2014-05-02T00:00:00.5Z"`, `"2014-05-02T00:00:00.5Z"`},
		"RFC 3339, zone":     {[]string{time.RFC3339}, "America/Los_Angeles", `"2014-05-02T00:00:00-07:00"`, `"2014-05-02T00:00:00.5-07:00"`, `"2014-05-01T17:00:00.5-07:00"`},
		"ISO":                {[]string{iso}, "Europe/Berlin", `"2014-05-02T00:00:00"`, `"2014-05-02T00:00:00.5"`, `"2014-05-02T02:00:00.5"`},
		"seconds":            {[]string{record.LayoutUnix}, "", "1398988800", "1398988800.5", "1398988800.5"},
		"milliseconds":       {[]string{record.LayoutUnixMilli}, "America/Los_Angeles", "1399014000000", "1399014000500", "1398988800500"},
		"seconds and a date": {[]string{day, record.LayoutUnix}, "", `"2014-05-02"`, "1398988800.5", "1398988800.5"},
		"of its own":         {[]string{german}, "Europe/Berlin", `"02.05.2014 00:00:00"`, `"02.05.2014 00:00:00"`, `"02.05.2014 02:00:00"`},
	} {
		fields := []record.Field{}
		for _, f := range []string{"date", "local", "instant"} {
			fields = append(fields, record.Field{Name: f, Type: record.Time, Layouts: tc.layouts, Zone: tc.zone})
		}
		schema, err := record.NewSchema(fields...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readParquet(t, text, Options{Schema: schema})
		if err != nil {
			t.Fatal(err)
		}
		want := `{"date":` + tc.date + `,"local":` + tc.local + `,"instant":` + tc.instant + `}`
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}

// encodings has columns of all encodings that there are, most of them twice: with values that are missing, too.
type encodings struct {
	Plain    int64   `parquet:"plain,plain"`
	Delta32  int32   `parquet:"delta32,delta"`
	Delta64  int64   `parquet:"delta64,delta,optional"` // 0 is none
	Lengths  string  `parquet:"lengths,delta"`
	Dict     string  `parquet:"dict,dict"`
	Maybe    *string `parquet:"maybe,dict,optional"`
	Split    float64 `parquet:"split,split"`
	Split32  float32 `parquet:"split32,split,optional"`
	Bool     bool    `parquet:"bool"`
	MaybeNot *bool   `parquet:"maybenot,optional"`
}

func manyEncodings(n int) []encodings {
	rows := make([]encodings, n)
	for i := range rows {
		big, text, x, yes := int64(i)*int64(i)*1e9*int64(1-2*(i%2)), strings.Repeat("ab", i%7), float32(i)/3, i%3 == 0
		rows[i] = encodings{int64(i), int32(i * i), 0, text, text, nil, float64(i) / 7, 0, i%5 < 2, nil}
		if i%4 > 0 {
			rows[i].Delta64, rows[i].Maybe, rows[i].Split32, rows[i].MaybeNot = big, &text, x, &yes
		}
	}
	return rows
}

// TestEncodings writes the same rows in many ways: they have to be read alike.
func TestEncodings(t *testing.T) {
	t.Parallel()
	rows := manyEncodings(3000)
	want, err := readParquet(t, makeParquet(t, rows, parquet.DataPageVersion(1)), Options{})
	if err != nil || len(want) != len(rows) {
		t.Fatalf("%d rows, %v", len(want), err)
	}
	if got, row := want[2998], `{"plain":2998,"delta32":8988004,"delta64":8988004000000000,"lengths":"abab","dict":"abab","maybe":"abab","split":428.2857142857143,"split32":999.3333129882812,"bool":false,"maybenot":false}`; got != row {
		t.Errorf("got  %s\nwant %s", got, row)
	}
	if got, row := want[2996], `{"plain":2996,"delta32":8976016,"lengths":"","dict":"","split":428,"bool":true}`; got != row {
		t.Errorf("got  %s\nwant %s", got, row)
	}
	for _, c := range []parquet.WriterOption{
		parquet.Compression(&parquet.Uncompressed), parquet.Compression(&parquet.Snappy), parquet.Compression(&parquet.Gzip), parquet.Compression(&parquet.Zstd), parquet.Compression(&parquet.Lz4Raw),
	} {
		for version := 1; version <= 2; version++ {
			for _, o := range []parquet.WriterOption{parquet.PageBufferSize(300), parquet.PageBufferSize(1 << 20), parquet.MaxRowsPerRowGroup(100)} {
				got, err := readParquet(t, makeParquet(t, rows, c, o, parquet.DataPageVersion(version)), Options{})
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(want, got) { // a difference takes longer than the reading
					t.Fatal(cmp.Diff(want, got))
				}
			}
		}
	}
	_, err = readParquet(t, makeParquet(t, rows, parquet.Compression(&parquet.Brotli)), Options{})
	check(t, err, "the compression BROTLI is not read")
}
