package codec

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/record"
)

// jsonSeeds are records that reach most of the decoder.
func jsonSeeds() []string {
	return []string{
		`{}`, ` { "n" : 1.5 } `, `{"n":1,"q":"2","e":"a","t":"2014-05-02","u":7,"s":"x"}`, `{"n":null,"e":4.0,"s":"\u00e9\ud83d\ude00"}`,
		`{"n":1,"x":{"a":[1,-0.5e+3,true,false,null,{},[]],"b":{"a":1}}}`, `{"n":1,"\u006e":1}`, `{"PRICE":1}`, `{"Größe":9007199254740993,"s":""}`,
		`{"t":"2014-05-02T01:02:03.5-07:00","u":1398988800123}`, `{"t":"2014-05-02 01:02:03","u":"1.3989888E9","e":true}`, `{"out":1,"n":1}`, `{"e":"-0.0","q":"1e400"}`,
		`{"n":0.30000000000000004,"price":123456789012345678901234567890e-10}`, "\xef\xbb\xbf{}", `{"n":1}{"n":1}`, `[1]`, `{"s":"\ud800"}`, "{\"s\":\"\xc3\xbc\xff\"}",
		`{"n":1,"sqft_basement_and_more":1,"sqft_basement_and_more":2}`,
	}
}

// What a decoder has seen before does not change how it decodes a record.
func FuzzJSONState(f *testing.F) {
	seeds := jsonSeeds()
	for i, s := range seeds {
		f.Add([]byte(s), []byte(seeds[(i+1)%len(seeds)]))
	}
	s := testSchema(f)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		a, b = slices.Clip(a), slices.Clip(b)
		used := newJSON(t, s, JSONOptions{Reserved: "out", MaxBytes: 1 << 16})
		values := [][]byte{a, b, b, a, b}
		together := decode(used, s, values...)
		for i, v := range values {
			alone := decode(newJSON(t, s, JSONOptions{Reserved: "out", MaxBytes: 1 << 16}), s, v)
			if diff := cmp.Diff(alone.Problem(0), together.Problem(i)); diff != "" {
				t.Errorf("row %d: %s", i, diff)
			}
			if diff := cmp.Diff(row(alone, 0), row(together, i)); diff != "" {
				t.Errorf("row %d: %s", i, diff)
			}
			if together.Problem(i) == nil && !json.Valid(v) {
				t.Errorf("row %d is no JSON", i)
			}
		}
	})
}

// Files that encoding/csv reads without an error give the same rows and cells, and others have a fault
// somewhere. The two differ by intent about \r, which encoding/csv drops before every \n and allows in any
// cell.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{
		"a,b\n1,2\n", "a,b\n\"1\",\"x\ny\"\n\n3,\"\"\"\"\n", "a,b\n1,x\"y\n3,4", "a,b\n\"1\"x,\n3,4", "a,b\n1,\"x\n3,4\n5,\"6\"\n", "a,b\n1,\xff\n", "a\n\"\"\n", "\ufeffa;b\n1;2\n", "a,b\n,\n1\n1,2,3\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if bytes.IndexByte(file, '\r') >= 0 || !utf8.Valid(file) || hasByteOrderMark(file) {
			return
		}
		reference := csv.NewReader(bytes.NewReader(file))
		reference.FieldsPerRecord = -1
		want, wantErr := reference.ReadAll()
		got, faults := splitAll(t, file)
		if wantErr == nil && faults == 0 {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
		if (wantErr != nil) != (faults > 0) {
			t.Errorf("%d faults; encoding/csv: %v", faults, wantErr)
		}
	})
}

// splitAll reads a file without a header, and counts the rows that have a fault.
func splitAll(t *testing.T, file []byte) (rows [][]string, faults int) {
	t.Helper()
	// The reader wants a header, which is not to depend on the input.
	r, err := NewCSVReader(io.MultiReader(strings.NewReader("header\n"), iotestChunks(file)), CSVReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := splitter{comma: ','}
	for total := 0; ; {
		raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			return rows, faults
		}
		if err != nil {
			t.Fatal(err)
		}
		if total += len(raw); len(raw) == 0 || total > len(file) {
			t.Fatalf("%d bytes of rows in %d", total, len(file))
		}
		if !s.split(raw) {
			faults++
			continue
		}
		var cells []string
		for _, c := range s.cells {
			cells = append(cells, string(c.text))
		}
		rows = append(rows, cells)
	}
}

// iotestChunks returns a reader that gives a few bytes at a time.
func iotestChunks(b []byte) io.Reader { return &chunks{b} }

type chunks struct{ rest []byte }

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 3)], c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// A CSV row that is accepted gives the same values as the JSON object of its cells, and no row makes the
// decoder fail.
func FuzzCSVRow(f *testing.F) {
	for _, s := range []string{"1.5,a,2014-05-02,7,x", ",,,,", `"1","a""b","2014-05-02T00:00:00Z",1e9,"x,y"`, "NA,NA,NA,NA,NA", "01,4.0,-0.0,1,\"\"", "1,2,3", "9007199254740993,-0,,,", "\"1\n\",,,,"} {
		f.Add([]byte(s))
	}
	s := newSchema(
		f,
		record.Field{Name: "n", Type: record.Numeric, Quoted: true}, record.Field{Name: "e", Type: record.Enum}, record.Field{Name: "t", Type: record.Time},
		record.Field{Name: "u", Type: record.Time, Layouts: []string{"unix_ms", "02/01/2006"}}, record.Field{Name: "s", Type: record.String},
	)
	f.Fuzz(func(t *testing.T, in []byte) {
		d := newCSV(t, s, "n,e,t,u,s", CSVOptions{Missing: []string{}})
		b := decode(d, s, in)
		if p := b.Problem(0); p != nil && (p.Class == ClassInvalidCSV || p.Class == ClassInvalidUTF8 || p.Class == ClassWrongColumns || p.Class == ClassTooLarge) {
			return
		}
		object := []byte{'{'}
		for i, c := range d.cells {
			if len(c.text) > 0 {
				if len(object) > 1 {
					object = append(object, ',')
				}
				object = append(appendQuoted(object, s.Field(i).Name), ':')
				object = appendQuoted(object, string(c.text))
			}
		}
		j := decode(newJSON(t, s, JSONOptions{}), s, append(object, '}'))
		if class(b, 0) != class(j, 0) {
			t.Errorf("%+v, JSON %+v", b.Problem(0), j.Problem(0))
		}
		if diff := cmp.Diff(row(j, 0), row(b, 0)); diff != "" {
			t.Error(diff)
		}
	})
}

// Numbers are what strconv makes of them, to the bit.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"0", "-0.0", "1e22", "9007199254740993", "123456789012345678901234567890.5e-40", "2.4703282292062327e-324", "1.7976931348623159e308", "01", "1.", "1e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < 1000 {
			checkNumber(t, text)
		}
	})
}
