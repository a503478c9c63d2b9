package batch

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"millrace.dev/internal/source"
	"millrace.dev/model"
	"millrace.dev/record"
)

// flatRow is a flat in a Parquet file.
type flatRow struct {
	Size  *int64  `parquet:"size,optional"`
	City  string  `parquet:"city,dict"`
	Since int32   `parquet:"since,date"`
	Rent  float64 `parquet:"rent"`
}

// TestSources trains on the same flats in all forms: it is the same model, but for the data's name and digest.
func TestSources(t *testing.T) {
	t.Parallel()
	text := flatRows(600)
	header, rest, _ := strings.Cut(text, "\n")
	lines := strings.Split(strings.TrimSpace(rest), "\n")
	dir := t.TempDir()
	put := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rows := make([]flatRow, len(lines))
	for i, line := range lines {
		c := strings.Split(line, ",")
		size, errSize := strconv.ParseInt(c[0], 10, 64)
		day, errDay := strconv.Atoi(c[2][8:])
		rent, errRent := strconv.ParseFloat(c[3], 64)
		if err := errors.Join(errSize, errDay, errRent); err != nil {
			t.Fatal(err)
		}
		const january = 18262 // the days to 2020-01-01
		rows[i] = flatRow{&size, c[1], january + int32(day) - 1, rent}
	}
	for i := range 3 {
		var packed, columns bytes.Buffer
		w := gzip.NewWriter(&packed)
		if _, err := fmt.Fprintf(w, "%s\n%s\n", header, strings.Join(lines[200*i:200*(i+1)], "\n")); err != nil {
			t.Fatal(err)
		}
		p := parquet.NewGenericWriter[flatRow](&columns, parquet.MaxRowsPerRowGroup(70))
		if _, err := p.Write(rows[200*i : 200*(i+1)]); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Close(), p.Close()); err != nil {
			t.Fatal(err)
		}
		put(fmt.Sprintf("flats-%d.csv.gz", i), packed.Bytes())
		put(fmt.Sprintf("flats-%d.parquet", i), columns.Bytes())
	}
	o := flats(t, text)
	o.Features[0].Expr = "size > 60 and year(since) == 2020"
	want, err := TrainModel(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"flats-*.csv.gz", "flats-?.parquet"} {
		o.Data = filepath.Join(dir, name)
		got, err := TrainModel(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Metrics, got.Metrics); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		a, errA := want.Forest.MarshalBinary()
		b, errB := got.Forest.MarshalBinary()
		if errA != nil || errB != nil || !bytes.Equal(a, b) || want.Plan.Digest() != got.Plan.Digest() || got.Lineage.DataName != name {
			t.Errorf("%s: another forest, plan or name: %s", name, got.Lineage.DataName)
		}
	}
	var out bytes.Buffer
	sum, err := Predict(t.Context(), want, PredictOptions{Data: filepath.Join(dir, "flats-0.parquet"), Out: &out})
	if err != nil || sum.Predictions != 200 || !strings.HasPrefix(out.String(), `{"size":20,"city":"Ulm","since":"2020-01-01","rent":160,"prediction":`) {
		t.Errorf("%+v, %v, %.100s", sum, err, out.String())
	}
}

// apart returns options for flats whose rents are in another file, and the rows of that.
func apart(t *testing.T, rents string) TrainOptions {
	t.Helper()
	var b strings.Builder
	b.WriteString("id,size,city,since\n")
	for i, line := range strings.Split(strings.TrimSpace(flatRows(300)), "\n")[1:] {
		c := strings.Split(line, ",")
		fmt.Fprintf(&b, "f%d,%s,%s,%s\n", i, c[0], c[1], c[2])
	}
	o := flats(t, b.String())
	fields := []record.Field{{Name: "id", Type: record.String}}
	for i := range o.Schema.Len() {
		fields = append(fields, o.Schema.Field(i))
	}
	o.Schema, o.Where = mustSchema(t, fields...), "size < 500"
	o.Labels = Labels{Data: write(t, "rents.jsonl", rents), Key: "id"}
	return o
}

// rentLines are the labels of the first n flats, as JSON lines.
func rentLines(n int, field string) string {
	var b strings.Builder
	for i := range n {
		size := 20 + i*37%120
		fmt.Fprintf(&b, "{\"id\":\"f%d\",\"%s\":%d}\n", i, field, 8*size+100*(i%3))
	}
	return b.String()
}

// TestLabels trains with labels from another file: what has one is used as if it had always had it.
func TestLabels(t *testing.T) {
	t.Parallel()
	all, err := TrainModel(t.Context(), flats(t, flatRows(300)))
	if err != nil {
		t.Fatal(err)
	}
	// The last label counts, and a record without one is none.
	noise := `{"id":"f3","rent":1}` + "\n" + `{"id":"f4","rent":2}` + "\n{\"id\":\"f299\"}\n"
	o := apart(t, noise+rentLines(300, "rent")+`{"id":"f0","rent":null}`+"\n{\"rent\":3}\nbroken\n")
	o.Where = "rent > 0 and size < 500"
	got, err := TrainModel(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all.Metrics, got.Metrics); diff != "" {
		t.Error(diff)
	}
	l := got.Lineage.Labels
	if l == nil || l.DataName != "rents.jsonl" || l.Key != "id" || l.Field != "rent" || l.DataDigest == got.Lineage.DataDigest {
		t.Errorf("lineage %+v", l)
	}
	if _, _, err := got.Encode(); err != nil {
		t.Error(err)
	}

	o = apart(t, rentLines(200, "price"))
	o.Labels.Field = "price"
	if got, err = TrainModel(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]model.Exclusion{{Reason: "no label", Rows: 100}}, got.Lineage.Rows.Reasons); diff != "" {
		t.Error(diff)
	}
}

func TestLabelsFail(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		labels string
		change func(*TrainOptions)
		want   string
		unfit  bool
	}{
		"no keys":       {rentLines(300, "rent"), func(o *TrainOptions) { o.Labels.Key = "" }, "without a key field", false},
		"key a number":  {rentLines(300, "rent"), func(o *TrainOptions) { o.Labels.Key = "size" }, "want an enum or string field", false},
		"no file":       {"", func(o *TrainOptions) { o.Labels.Data = "no/such.jsonl" }, "no such file", false},
		"no field":      {rentLines(300, "price"), nil, "0 records with labels for 0 keys, and 300 without a key or a label", false},
		"no key there":  {"", func(o *TrainOptions) { o.Labels.Data = o.Data }, `it has no column "rent"`, false},
		"others' keys":  {strings.ReplaceAll(rentLines(300, "rent"), `"f`, `"g`), nil, "rents.jsonl has 300 records with labels for 300 keys", false},
		"broken":        {strings.Repeat("{\n", 4) + rentLines(3, "rent"), nil, "4 of 7 records cannot be read as labels (4: invalid_json)", true},
		"data has none": {rentLines(300, "rent"), func(o *TrainOptions) { o.Labels.Key = "street" }, `it has no column "street", by which labels are found`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := apart(t, tc.labels)
			if tc.change != nil {
				tc.change(&o)
			}
			_, err := TrainModel(t.Context(), o)
			var text string
			if e, ok := errors.AsType[*source.DataError](err); ok {
				text = e.Hint
				if e.Unfit != tc.unfit {
					t.Errorf("unfit %v", e.Unfit)
				}
			}
			if err == nil || !strings.Contains(err.Error()+text, tc.want) {
				t.Errorf("error %v, hint %s: want %q", err, text, tc.want)
			}
		})
	}
}
