package config

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"millrace.dev/codec"
	"millrace.dev/internal/testenv"
	"millrace.dev/record"
	"pgregory.net/rapid"
)

// houses makes a CSV file that has every kind of column, from a seed.
func houses(rows int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	b.WriteString("id,sold at,price,bedrooms,bathrooms,waterfront,condition,agent_id,age,City,street,note,country,currency,empty\n")
	cities := []string{"Bellevue", "Kent", "Redmond", "Renton", "Seattle", "NA"}
	for i := range rows {
		price := math.Round(math.Exp(13+rng.NormFloat64()*0.8)/100) * 100
		if rng.IntN(50) == 0 {
			price = 0
		}
		age := strconv.Itoa(rng.IntN(110))
		if rng.IntN(20) == 0 {
			age = []string{"", "NA"}[rng.IntN(2)]
		}
		waterfront := 0
		if rng.IntN(30) == 0 {
			waterfront = 1
		}
		fmt.Fprintf(&b, "%d,2014-%02d-%02d 00:00:00,%s,%d.0,%.2f,%d,%d,%d,%s,%s,\"%d %s St, #%d\",%s,USA,1,\n",
			1000+i, 5+i*3/rows, 1+rng.IntN(28), strconv.FormatFloat(price, 'f', 1, 64), 1+rng.IntN(5), float64(1+rng.IntN(16))/4,
			waterfront, 1+rng.IntN(5), 7000+rng.IntN(12), age, cities[rng.IntN(len(cities))],
			rng.IntN(9999), []string{"Main", "Oak"}[rng.IntN(2)], rng.IntN(99), []string{"", "", "sold as is"}[rng.IntN(3)])
	}
	b.WriteString("1,too,few\n")
	return b.Bytes()
}

// written returns the pipeline file for a CSV file, which must lint clean, and decode every row that was read.
func written(t interface {
	Helper()
	Fatalf(string, ...any)
}, data []byte, label, name string,
) (string, *Inferred) {
	t.Helper()
	in, err := Infer(bytes.NewReader(data), InferOptions{Label: label})
	if err != nil {
		t.Fatalf("%v", err)
	}
	var b strings.Builder
	if err := in.WritePipeline(&b, FileOptions{Name: name, Data: "data/" + name + ".csv"}); err != nil {
		t.Fatalf("%v", err)
	}
	p, err := Parse("pipeline.yaml", []byte(b.String()), Options{Env: lookup(nil)})
	if err != nil {
		t.Fatalf("it does not lint:\n%s\n%v", b.String(), err)
	}
	if rejected := reject(t, p.Schema, data); rejected != in.Skipped {
		t.Fatalf("%d rows were left out, and with the schema that was found %d are rejected:\n%s", in.Skipped, rejected, b.String())
	}
	if p.Train.Label != label || p.Train.Data != filepath.Join("data", name+".csv") {
		t.Fatalf("label %q, data %q", p.Train.Label, p.Train.Data)
	}
	return b.String(), in
}

func reject(t interface{ Fatalf(string, ...any) }, s *record.Schema, data []byte) int {
	r, err := codec.NewCSVReader(bytes.NewReader(data), codec.CSVReaderOptions{})
	if err != nil {
		t.Fatalf("%v", err)
	}
	d, err := codec.NewCSV(s, r.Header(), codec.CSVOptions{})
	if err != nil {
		t.Fatalf("%v", err)
	}
	b := record.NewBatch(s, nil)
	for raw, err := r.Next(); err == nil; raw, err = r.Next() {
		b.Append(record.Raw{Value: raw})
	}
	d.Decode(b)
	return b.Rejected()
}

func TestInit(t *testing.T) {
	t.Parallel()
	data := houses(600)
	got, in := written(t, data, "price", "Sample Houses")
	golden(t, "testdata/init/houses.yaml", got)
	if in.Rows != 600 || in.Skipped != 1 || !in.All {
		t.Errorf("%d rows, %d skipped, all %t", in.Rows, in.Skipped, in.All)
	}
	some, err := Infer(bytes.NewReader(data), InferOptions{Label: "price", MaxRows: 300})
	if err != nil || some.Rows != 300 || some.All {
		t.Errorf("%+v, %v", some, err)
	}
}

// TestInitHouseSales makes the pipeline file of the real house sales.
func TestInitHouseSales(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(testenv.Data(t), "housedata.csv"))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := written(t, data, "price", "housedata")
	golden(t, "testdata/init/housedata.yaml", got)
}

func TestInferColumns(t *testing.T) {
	t.Parallel()
	repeat := func(n int, values ...string) []string {
		var out []string
		for i := range n {
			out = append(out, values[i%len(values)])
		}
		return out
	}
	count := func(n int, format string) []string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf(format, i))
		}
		return out
	}
	for _, c := range []struct {
		name    string
		column  string
		values  []string
		want    record.Type
		ignored bool
	}{
		{"codes", "x", repeat(100, "0", "1", "2", "3", "4"), record.Enum, false},
		{"codes, few rows", "x", repeat(99, "0", "1", "2", "3", "4"), record.Numeric, false},
		{"six codes", "x", repeat(500, "0", "1", "2", "3", "4", "5"), record.Numeric, false},
		{"codes above 9", "x", repeat(500, "1", "10"), record.Numeric, false},
		{"codes below 0", "x", repeat(500, "1", "-1"), record.Numeric, false},
		{"with a point", "x", repeat(500, "1.0", "2.0"), record.Numeric, false},
		{"with an exponent", "x", repeat(500, "1e0", "2"), record.Numeric, false},
		{"with gaps", "x", repeat(100, "1", "", "2", "NA"), record.Enum, false},
		{"text like a number", "x", repeat(100, "01", "02"), record.Enum, false},
		{"plus", "x", repeat(30, "+1", "2", "3"), record.Enum, false},
		{"large integer", "x", repeat(100, "9007199254740993", "1"), record.Enum, false},
		{"too large", "x", repeat(100, "1e999", "1"), record.Enum, false},
		{"infinity", "x", repeat(100, "Inf", "1"), record.Enum, false},
		{"one value", "x", repeat(100, "17"), record.Numeric, true},
		{"one value and gaps", "x", repeat(100, "17", ""), record.Numeric, false},
		{"empty", "x", repeat(100, ""), record.String, true},
		{"only NA", "x", repeat(100, "NA", ""), record.String, true},
		{"texts with NA", "x", repeat(100, "NA", "b"), record.Enum, false},
		{"row numbers", "x", count(50, "%d"), record.Numeric, true},
		{"numbers", "x", count(50, "2%d"), record.Numeric, false},
		{"named id", "house_id", count(50, "7%d"), record.Numeric, true},
		{"named Id", "houseId", count(50, "7%d"), record.Numeric, true},
		{"not named id", "humid", count(50, "7%d"), record.Numeric, false},
		{"id of few", "agent_id", repeat(100, "70", "80"), record.Enum, false},
		{"id of fractions", "x_id", repeat(100, "7.5", "8.25", "1"), record.Numeric, false},
		{"date", "x", repeat(20, "2014-05-02", "2014-05-03"), record.Time, true},
		{"date and time", "x", repeat(20, "2014-05-02 10:00:00", "2014-05-03T10:00:00Z", "null"), record.Time, true},
		{"no such date", "x", repeat(100, "2014-05-02", "2014-02-30"), record.Enum, false},
		{"hour of one digit", "x", repeat(100, "2014-05-02 1:00:00"), record.Enum, true},
		{"comma in a time", "x", repeat(100, "2014-05-02 01:00:00,5", "2014-05-02 01:00:00,6"), record.Enum, false},
		{"texts", "x", count(50, "a%d"), record.String, true},
		{"levels", "x", repeat(50, "a", "b", "c", "d", "e"), record.Enum, false},
		{"levels, few rows", "x", repeat(49, "a", "b", "c", "d", "e"), record.String, true},
		{"long texts", "x", repeat(500, strings.Repeat("a", 201), "b"), record.String, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			w := csv.NewWriter(&b)
			rows := [][]string{{"y", c.column, "z"}}
			for i, v := range c.values {
				rows = append(rows, []string{strconv.Itoa(i*i + 1), v, strconv.Itoa(i * i)})
			}
			if err := w.WriteAll(rows); err != nil {
				t.Fatal(err)
			}
			_, in := written(t, b.Bytes(), "y", "x")
			got := in.Columns[1]
			if got.Type != c.want || (got.Ignored != "") != c.ignored {
				t.Errorf("%s, ignored %q, want %s, %t", got.Type, got.Ignored, c.want, c.ignored)
			}
		})
	}
}

func TestInferLabel(t *testing.T) {
	t.Parallel()
	data := func(label func(i int) string) []byte {
		var b bytes.Buffer
		b.WriteString("y,a\n")
		for i := range 200 {
			fmt.Fprintf(&b, "%s,%d\n", label(i), i*7%31)
		}
		return b.Bytes()
	}
	for _, c := range []struct {
		name  string
		data  []byte
		where string
		log   bool
		bad   int
	}{
		{"even", data(func(i int) string { return strconv.Itoa(i + 1) }), "", false, 0},
		{"skewed", data(func(i int) string { return strconv.Itoa(1 << (i % 20)) }), "", true, 0},
		{"skewed, a few zeros", data(func(i int) string { return strconv.Itoa((1 << (i % 20)) * min(1, i%40)) }), "y > 0", true, 5},
		{"a few gaps", data(func(i int) string { return strings.TrimPrefix(strconv.Itoa(i*i), "0") }), "", false, 0},
		{"many negative", data(func(i int) string { return strconv.Itoa((i%2*2 - 1) * (1 << (i % 20))) }), "", false, 100},
	} {
		_, in := written(t, c.data, "y", c.name)
		if in.Where != c.where || in.Log != c.log || in.Bad != c.bad {
			t.Errorf("%s: where %q, log %t, bad %d, skewness %g", c.name, in.Where, in.Log, in.Bad, in.Skew)
		}
	}
}

// TestInferTimeOfAnotherLayout checks that a text that looks like a time is named, with all layouts that it may have.
func TestInferTimeOfAnotherLayout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ first, second, want string }{
		{"13/01/2024", "02/03/2024", `layouts: ["02/01/2006"]}`},
		{"01/02/2024", "02/03/2024", `layouts: ["02/01/2006"]}, or "01/02/2006"`},
		{"2024-01-02T10:00:00", "2024-01-02T11:00:00", `layouts: ["2006-01-02T15:04:05"]}`},
		{"13/01/2024", "soon", ""},
		{"1/2/2024", "3/2/2024", ""}, // codec wants two digits
	} {
		_, in := written(t, []byte("y,when,a\n1,"+c.first+",1\n2,"+c.second+",2\n"), "y", "x")
		seen := in.Columns[1].Seen
		if _, hint, _ := strings.Cut(seen, "{name: when, "); hint != c.want {
			t.Errorf("%s and %s: %s", c.first, c.second, seen)
		}
	}
}

func TestInferRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ data, want string }{
		{"", "empty: it needs a header"},
		{"y,a\n", "the file has a header and no row"},
		{"y,a\n1\n2\n", "the file has a header of 2 columns, and no row like it"},
		{"y;a\n1,5;2\n", "separated by semicolons"},
		{"y\ta\n1\t2\n", "separated by tabs"},
		{"y,a\n" + strings.Repeat("yes,2\nno,3\n", 20), "write its two levels as 0 and 1"},
		{"y,a,a\n1,2,3\n", `"a" comes twice`},
		{"y,,a\n1,2,3\n", "column 2 has no name"},
		{"x,Y,price\n1,2,3\n", `the file has no column "y": did you mean "Y"?`},
		{"x,b\n1,2\n", `the file has no column "y": its columns are x, b`},
		{"y,a\n,2\n,3\n", `the label "y" has no value`},
		{"y,a\n1,2\nmuch,3\n2,2\n", `the label "y" is not numeric: row 2`},
		{"y,a\n1,2\n1,3\n", `the label "y" has the same value in every row`},
		{"y,a\xff\n1,2\n", "UTF-8"},
		{"y,a\n1,2\n2,2\n", "no column that could be an input"},
	} {
		_, err := Infer(strings.NewReader(c.data), InferOptions{Label: "y"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.data, err, c.want)
		}
	}
	broken := errors.New("broken")
	if _, err := Infer(iotest.ErrReader(broken), InferOptions{Label: "y"}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// TestInitOfAnything checks that whatever the columns are called and hold, the file that is written lints clean and its
// schema reads every row.
func TestInitOfAnything(t *testing.T) {
	t.Parallel()
	cell := rapid.OneOf(
		rapid.Just(""), rapid.SampledFrom([]string{"NA", "1", "0", "2.5", "-3", "1e5", "2014-05-02", "2014-05-02 10:11:12", "2014-05-02T10:11:12.5+02:00", "a", "b", "true", "null"}),
		rapid.StringN(0, 8, 20), rapid.Map(rapid.Float64(), func(x float64) string { return fmt.Sprint(x) }), rapid.Map(rapid.Int64(), func(x int64) string { return strconv.FormatInt(x, 10) }),
	)
	name := rapid.OneOf(rapid.SampledFrom([]string{"a", "no", "true", "1", "x y", "${A}", "$$", "#", "a: b", "- a", "prediction", "Prediction", "in", "not", "nil", "é", "'", `"`, "name", "time", "{a}", "*x", "id"}), rapid.StringN(1, 8, 20))
	rapid.Check(t, func(t *rapid.T) {
		header := rapid.SliceOfNDistinct(name.Filter(oneLine), 2, 6, strings.ToLower).Draw(t, "header")
		pools := rapid.SliceOfN(rapid.SliceOfN(cell.Filter(oneLine), 1, 4), len(header), len(header)).Draw(t, "pools")
		rows := rapid.SampledFrom([]int{2, 30, 300}).Draw(t, "rows")
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		all := [][]string{header}
		for i := range rows {
			row := []string{strconv.Itoa(i*i - 3)}
			for c := 1; c < len(header); c++ {
				row = append(row, pools[c][i%len(pools[c])])
			}
			all = append(all, row)
		}
		if err := w.WriteAll(all); err != nil {
			t.Fatal(err)
		}
		if _, err := Infer(bytes.NewReader(b.Bytes()), InferOptions{Label: header[0]}); errors.Is(err, ErrNoInput) {
			t.Skip("nothing to learn from")
		}
		written(t, b.Bytes(), header[0], name.Draw(t, "name of the pipeline"))
	})
}

func oneLine(s string) bool { return !strings.ContainsAny(s, "\r\n\ufeff") }

func BenchmarkInfer(b *testing.B) {
	data := houses(2000)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Infer(bytes.NewReader(data), InferOptions{Label: "price"}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestInferHugeNumbers counts numbers of hundreds of digits as they are, and says of what differs neither that it is the same nor that
// there are more than a thousand.
func TestInferHugeNumbers(t *testing.T) {
	t.Parallel()
	in, err := Infer(strings.NewReader("y,x,a,b\n1,1,1e308,1e308\n2,3,-1e308,1e400\n3,1,1,NaN\n4,1,Infinity,2\n5,2,-inf,3\n6,2,5,6\n"), InferOptions{Label: "y"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range in.Columns[2:] {
		if c.Seen != "6 different texts in 6 rows" || c.Ignored != "a text is no input as it is" {
			t.Errorf("%s: %s; %s", c.Name, c.Seen, c.Ignored)
		}
	}
}
