package model

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// SmallBundle trains a small model on made-up houses and returns its bundle, with golden rows that have missing
// values, an unseen level, a null and a record that is not JSON among them.
func SmallBundle() (*Bundle, error) {
	s, err := record.NewSchema(
		record.Field{Name: "sqft", Type: record.Numeric, Required: true},
		record.Field{Name: "city", Type: record.Enum},
		record.Field{Name: "sold", Type: record.Time},
	)
	if err != nil {
		return nil, err
	}
	plan, err := feature.Compile(feature.Declaration{Schema: s, Inputs: []string{"sqft", "city"}})
	if err != nil {
		return nil, err
	}
	history := houses(s, nil)
	fitter := plan.NewFitter()
	keep := make([]bool, history.Len())
	for i := range keep {
		keep[i] = true
	}
	fitter.Add(history, keep, feature.Enrichment{})
	if plan, err = fitter.Plan(); err != nil {
		return nil, err
	}
	params := gbm.DefaultParams()
	params.NTrees, params.MaxDepth, params.MinRows = 3, 2, 2
	prices := make([]float64, history.Len())
	for i := range prices {
		prices[i] = 100_000 + 1000*float64(i)
	}
	frame := plan.NewEvaluator().Eval(history, feature.Enrichment{})
	forest, course, err := gbm.Train(context.Background(), params, gbm.Dataset{Frame: frame, Label: prices}, nil, gbm.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	inputs, err := NewInputs(plan, forest)
	if err != nil {
		return nil, err
	}
	b := &Bundle{
		Manifest: Manifest{
			Name: "house-prices", Label: "price", LabelUnit: "$", SinkField: "price", Millrace: "0.1.0",
			Created: time.Date(2014, 7, 10, 2, 0, 0, 0, time.FixedZone("", 2*3600)),
		},
		Schema: s, Plan: plan, Forest: forest, Inputs: inputs,
		Metrics: Metrics{
			Train: Scores{RMSE: 1.5, MAE: 1, R2: 0.75, LabelMean: 119_500, Rows: 40},
			Test:  Scores{RMSE: math.NaN(), MAE: math.NaN(), R2: math.NaN(), LabelMean: math.NaN()},
		},
		History: NewHistory(course),
	}
	if b.Lineage.Params, err = json.Marshal(params); err != nil {
		return nil, err
	}
	b.Lineage.DataName, b.Lineage.DataDigest = "houses.csv", Digest([]byte("houses"))
	b.Lineage.Where = `price > 0 and city != "<none>"`
	b.Lineage.Rows = Rows{Read: 43, Excluded: 3, Train: 40, Reasons: []Exclusion{{"price is not above 0", 2}, {"not JSON", 1}}}
	b.Lineage.Split = Split{Train: 0.7, Validation: 0.2, Test: 0.1, Seed: math.MinInt64}
	b.Lineage.Features = []FeatureSource{{"age", `2014 - "a\b" <> é`}}
	b.Golden = goldenRows(b)
	b.Profile = profileOf(b)
	return b, nil
}

func profileOf(b *Bundle) *profile.Profile {
	batch := houses(b.Schema, b.Plan.Levels())
	s := profile.NewSurvey(profile.NewLayout(b.Schema, b.Plan.Inputs(), b.Manifest.Label))
	s.Add(0, &profile.Rows{Batch: batch, Frame: b.Plan.NewEvaluator().Eval(batch, feature.Enrichment{})})
	return s.Profile()
}

func houses(s *record.Schema, levels map[string][]string) *record.Batch {
	b := record.NewBatch(s, levels)
	cities := []string{"Seattle", "Kent", "Bellevue"}
	for i := range 40 {
		r := b.Append(record.Raw{Value: fmt.Appendf(nil, `{"sqft":%d,"city":%q}`, 1000+i, cities[i%3])})
		b.Numbers(0)[r] = float64(1000 + i)
		b.Codes(1)[r] = b.Dict(1).Code([]byte(cities[i%3]))
	}
	return b
}

func goldenRows(b *Bundle) []GoldenRow {
	batch := houses(b.Schema, b.Plan.Levels())
	batch.Append(record.Raw{Value: []byte(`{}`)})
	r := batch.Append(record.Raw{Value: []byte("{\"sqft\":0.1,\"city\":\"Zürich\"}\n")})
	batch.Numbers(0)[r] = 0.1
	batch.Codes(1)[r] = batch.Dict(1).Code([]byte("Zürich"))
	batch.Append(record.Raw{Value: []byte("\xff\x00")})
	batch.Append(record.Raw{})
	batch.Append(record.Raw{Value: []byte{}})
	for i, class := range []string{"invalid_json", "null_value", "missing_field"} {
		batch.Reject(42+i, record.Problem{Stage: record.StageDecode, Class: class, Reason: "not kept"})
	}
	frame := b.Plan.NewEvaluator().Eval(batch, feature.Enrichment{})
	out := make([]float64, batch.Len())
	b.Forest.Score(frame, out)
	var rows []GoldenRow
	for i := 36; i < batch.Len(); i++ {
		if p := batch.Problem(i); p != nil {
			rows = append(rows, NewRejectedRow(batch.Raw(i).Value, p))
		} else {
			rows = append(rows, NewGoldenRow(batch.Raw(i).Value, frame, i, out[i]))
		}
	}
	return rows
}

func small(t testing.TB) *Bundle {
	t.Helper()
	b, err := SmallBundle()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func encode(t testing.TB, b *Bundle) []byte {
	t.Helper()
	data, digest, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if digest != Digest(data) {
		t.Fatalf("digest %s of bytes with digest %s", digest, Digest(data))
	}
	return data
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	b := small(t)
	data := encode(t, b)
	if again := encode(t, small(t)); !bytes.Equal(data, again) {
		t.Fatal("the same training gives other bytes")
	}
	back, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encode(t, back), data) {
		t.Fatal("what was read is written as something else")
	}
	b.Manifest.Format, b.Manifest.Created = 1, b.Manifest.Created.UTC()
	ignore := cmpopts.IgnoreFields(Bundle{}, "Schema", "Plan", "Forest", "extra")
	if diff := cmp.Diff(b, back, ignore, cmpopts.EquateNaNs()); diff != "" {
		t.Error(diff)
	}
	if back.Plan.Digest() != b.Plan.Digest() {
		t.Error("another plan came back")
	}
	if got := goldenRows(back); len(got) != len(b.Golden) {
		t.Errorf("%d golden rows", len(got))
	} else {
		for i := range got {
			if err := back.CheckGolden(i, got[i]); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestEmptyListsHaveOneForm(t *testing.T) {
	t.Parallel()
	b, c := small(t), small(t)
	b.Golden, b.History.Rounds, b.Lineage.Features = nil, nil, nil
	c.Golden, c.History.Rounds, c.Lineage.Features = []GoldenRow{}, []Round{}, []FeatureSource{}
	b.Lineage.Rows, c.Lineage.Rows = Rows{}, Rows{Reasons: []Exclusion{}}
	if !bytes.Equal(encode(t, b), encode(t, c)) {
		t.Error("nil and empty lists give different bytes")
	}
}

func TestDecodeKeepsNothingOfItsArgument(t *testing.T) {
	t.Parallel()
	want := encode(t, small(t))
	data := bytes.Clone(want)
	b, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] = 0xaa
	}
	if !bytes.Equal(encode(t, b), want) {
		t.Error("the bundle changed with the bytes it was read from")
	}
}

func TestEveryFlippedByteIsRefused(t *testing.T) {
	t.Parallel()
	data := encode(t, small(t))
	for i := range data {
		for _, mask := range []byte{1 << (i % 8), 0xff} {
			data[i] ^= mask
			if _, err := Decode(data); !errors.Is(err, ErrCorrupt) && (i >= len(magic) || !errors.Is(err, ErrNotBundle)) {
				t.Fatalf("byte %d of %d, xor %#02x: %v", i, len(data), mask, err)
			}
			data[i] ^= mask
		}
	}
	if _, err := Decode(data); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedSectionIsNamed(t *testing.T) {
	t.Parallel()
	data := encode(t, small(t))
	sections, err := unpack(data, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sections {
		for _, i := range []int{0, len(s.data) / 2, len(s.data) - 1} {
			s.data[i] ^= 1 // it shares the memory of data
			want := "section " + s.name + ": its checksum does not match its content"
			if _, err := Decode(data); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), want) {
				t.Errorf("byte %d of %s: %v", i, s.name, err)
			}
			s.data[i] ^= 1
		}
	}
}

func TestEveryTruncationIsRefused(t *testing.T) {
	t.Parallel()
	data := encode(t, small(t))
	for n := range data {
		if _, err := Decode(data[:n]); !errors.Is(err, ErrCorrupt) && (n >= len(magic) || !errors.Is(err, ErrNotBundle)) {
			t.Fatalf("%d of %d bytes: %v", n, len(data), err)
		}
	}
	for _, more := range []string{"\n", "\x00", seal(data), firstLine} {
		if _, err := Decode(append(bytes.Clone(data), more...)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("with %q after its end: %v", more, err)
		}
	}
}

func TestSizeLimit(t *testing.T) {
	t.Parallel()
	data := encode(t, small(t))
	if _, err := Decode(data, WithMaxBytes(int64(len(data)))); err != nil {
		t.Error(err)
	}
	if _, err := Decode(data, WithMaxBytes(int64(len(data))-1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte over the limit: %v", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*Bundle)
		want   string
	}{
		"no plan":            {func(b *Bundle) { b.Plan = nil }, "needs a schema"},
		"name":               {func(b *Bundle) { b.Manifest.Name = "House" }, "lower-case"},
		"plan not fitted":    {func(b *Bundle) { b.Plan = unfitted(t, b.Schema) }, "not fitted"},
		"no label":           {func(b *Bundle) { b.Manifest.Label = "" }, "label"},
		"not utf-8":          {func(b *Bundle) { b.Manifest.LabelUnit = "\xff" }, "UTF-8"},
		"created":            {func(b *Bundle) { b.Manifest.Created = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC) }, "12000"},
		"infinite metric":    {func(b *Bundle) { b.Metrics.Test.RMSE = math.Inf(1) }, "metrics"},
		"other schema":       {func(b *Bundle) { b.Schema, _ = record.NewSchema(record.Field{Name: "x", Type: record.Enum}) }, "another schema"},
		"inputs":             {func(b *Bundle) { b.Inputs = b.Inputs[:1] }, "1 are described"},
		"input name":         {func(b *Bundle) { b.Inputs[1].Name = "town" }, "town"},
		"input levels":       {func(b *Bundle) { b.Inputs[1].Levels++ }, "4 levels"},
		"importance":         {func(b *Bundle) { b.Inputs[1].Importance = math.NaN() }, "NaN"},
		"infinite":           {func(b *Bundle) { b.Inputs[1].Importance = math.Inf(1) }, "inputs"},
		"no data digest":     {func(b *Bundle) { b.Lineage.DataDigest = "sha256:12" }, "digest"},
		"rows":               {func(b *Bundle) { b.Lineage.Rows.Test++ }, "43 rows"},
		"negative rows":      {func(b *Bundle) { b.Lineage.Rows.Test, b.Lineage.Rows.Train = -1, 41 }, "43 rows"},
		"reasons":            {func(b *Bundle) { b.Lineage.Rows.Reasons[0].Rows = 1 }, "add up to 2"},
		"no reason":          {func(b *Bundle) { b.Lineage.Rows.Reasons[0].Reason = "" }, "without a reason"},
		"no parameters":      {func(b *Bundle) { b.Lineage.Params = nil }, "JSON object"},
		"parameters":         {func(b *Bundle) { b.Lineage.Params = json.RawMessage(`[]`) }, "JSON object"},
		"feature":            {func(b *Bundle) { b.Lineage.Features[0].Expr = "\xff" }, "UTF-8"},
		"order of rounds":    {func(b *Bundle) { b.History.Rounds[1].Trees = 0 }, "order"},
		"infinite round":     {func(b *Bundle) { b.History.Rounds[1].Loss = math.Inf(1) }, "infinite"},
		"best":               {func(b *Bundle) { b.History.Best = -1 }, "-1 trees"},
		"other forest":       {func(b *Bundle) { b.Forest = oneInput(t) }, "not one for the plan"},
		"too many golden":    {func(b *Bundle) { b.Golden = make([]GoldenRow, MaxGolden+1) }, "1025"},
		"golden inputs":      {func(b *Bundle) { b.Golden[0].Features = nil }, "want 2"},
		"golden kind":        {func(b *Bundle) { b.Golden[0].Features[0] = Value{Kind: Level, Level: "a"} }, `input "sqft"`},
		"golden number":      {func(b *Bundle) { b.Golden[0].Features[1] = Value{Kind: Number} }, `input "city"`},
		"golden NaN":         {func(b *Bundle) { b.Golden[0].Features[0].Bits = math.Float64bits(math.NaN()) }, `input "sqft"`},
		"golden missing":     {func(b *Bundle) { b.Golden[0].Features[0] = Value{Bits: 1} }, "missing"},
		"golden level":       {func(b *Bundle) { b.Golden[0].Features[1].Level = "\xff" }, "UTF-8"},
		"golden no kind":     {func(b *Bundle) { b.Golden[0].Features[1].Kind = 9 }, "kind"},
		"golden prediction":  {func(b *Bundle) { b.Golden[0].Prediction = math.NaN() }, "not a number"},
		"golden both":        {func(b *Bundle) { b.Golden[0].Rejected = &Rejection{Stage: "decode", Class: "x"} }, "no prediction"},
		"golden no class":    {func(b *Bundle) { b.Golden[0] = GoldenRow{Rejected: &Rejection{Stage: "decode"}} }, "class"},
		"too large manifest": {func(b *Bundle) { b.Manifest.LabelUnit = strings.Repeat("$", 64<<10) }, "the limit is 65536"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := small(t)
			tc.change(b)
			if _, _, err := b.Encode(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func unfitted(t *testing.T, s *record.Schema) *feature.Plan {
	t.Helper()
	p, err := feature.Compile(feature.Declaration{Schema: s, Inputs: []string{"sqft", "city"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// oneInput returns a forest that fits no plan of this file.
func oneInput(t *testing.T) *gbm.Forest {
	t.Helper()
	x := []float64{1, 2, 3, 4}
	frame := &record.Frame{Rows: 4, Columns: []record.Column{{Name: "x", Type: record.Numeric, Numbers: x}}}
	p := gbm.DefaultParams()
	p.NTrees, p.MinRows = 1, 1
	f, _, err := gbm.Train(t.Context(), p, gbm.Dataset{Frame: frame, Label: x}, nil, gbm.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "0", "house-prices", "a-", strings.Repeat("x", 63)} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "-a", "A", "a_b", "a.b", "a/b", "..", "a@1", "é", "a\n", strings.Repeat("x", 64)} {
		if CheckName(name) == nil {
			t.Errorf("%q is taken for a name", name)
		}
	}
}

// sections takes a good bundle apart.
func sections(t testing.TB, data []byte) []section {
	t.Helper()
	s, err := unpack(data, DefaultMaxBytes)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDecodeRefusesWhatIsWellSealed(t *testing.T) {
	t.Parallel()
	good := encode(t, small(t))
	edit := func(name, from, to string) func([]section) []section {
		return func(s []section) []section {
			for i := range s {
				if s[i].name == name {
					if !bytes.Contains(s[i].data, []byte(from)) {
						t.Errorf("section %s holds no %q: %.300s", name, from, s[i].data)
					}
					s[i].data = bytes.Replace(s[i].data, []byte(from), []byte(to), 1)
				}
			}
			return s
		}
	}
	for name, tc := range map[string]struct {
		edit func([]section) []section
		want error
		text string
	}{
		"as it is":           {func(s []section) []section { return s }, nil, ""},
		"optional unknown":   {func(s []section) []section { return append(s, section{name: "zebra", data: []byte("x")}) }, nil, ""},
		"critical unknown":   {func(s []section) []section { return append(s, section{name: "zebra", critical: true}) }, ErrNewer, `section zebra is not known here: use millrace "0.1.0" or later`},
		"section missing":    {func(s []section) []section { return append(s[:2], s[3:]...) }, ErrCorrupt, "section golden is missing"},
		"section optional":   {func(s []section) []section { s[2].critical = false; return s }, ErrCorrupt, "it is optional"},
		"section too large":  {func(s []section) []section { s[0].data = make([]byte, 64<<10+1); return s }, ErrCorrupt, "65536"},
		"white space":        {edit("manifest", `"name":`, `"name": `), ErrCorrupt, "form"},
		"field twice":        {edit("manifest", `"name":`, `"name":"x","name":`), ErrCorrupt, "form"},
		"other case":         {edit("manifest", `"name":`, `"Name":`), ErrCorrupt, "form"},
		"unknown field":      {edit("manifest", `"name":`, `"size":1,"name":`), ErrCorrupt, "size"},
		"other format":       {edit("manifest", `"format":1`, `"format":2`), ErrCorrupt, "form"},
		"zone":               {edit("manifest", `00Z`, `00+00:00`), ErrCorrupt, "form"},
		"text after":         {edit("manifest", "}\n", "}\n{}"), ErrCorrupt, "form"},
		"cut off":            {edit("manifest", "}\n", ""), ErrCorrupt, "cut off"},
		"number form":        {edit("metrics", `1.5`, `1.50`), ErrCorrupt, "form"},
		"null list":          {func(s []section) []section { s[2].data = []byte("null\n"); return s }, ErrCorrupt, "not a list"},
		"list does not end":  {func(s []section) []section { s[2].data = []byte("[\n"); return s }, ErrCorrupt, "golden"},
		"too many golden":    {func(s []section) []section { s[2].data = []byte("[" + strings.Repeat("{},", 2000) + "{}]\n"); return s }, ErrCorrupt, "more than 1024"},
		"golden bits":        {edit("golden", `"bits":"4`, `"bits":"04`), ErrCorrupt, "16 hexadecimal digits"},
		"golden null record": {edit("golden", `,{"rejected"`, `,{}`), ErrCorrupt, "golden"},
		"golden empty value": {edit("golden", `null`, `{}`), ErrCorrupt, "bits or a level"},
		"golden wrong kind":  {edit("golden", `{"level":"`, `{"bits":"4000000000000000","level":"`), ErrCorrupt, "form"},
		"escape":             {edit("lineage", `houses.csv`, `\u0068ouses.csv`), ErrCorrupt, "form"},
		"parameters":         {edit("lineage", `"ntrees":`, `"ntrees": `), ErrCorrupt, "form"},
		"schema":             {edit("schema", `numeric`, `bignum`), ErrCorrupt, "no such type"},
		"contradiction":      {edit("schema", `,"required":true`, ``), ErrCorrupt, "another schema"},
		"no plan":            {func(s []section) []section { s[7].data = nil; return s }, ErrCorrupt, "section plan"},
		"no forest":          {func(s []section) []section { s[1].data = nil; return s }, ErrCorrupt, "section forest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := pack(tc.edit(sections(t, good)))
			b, err := Decode(data)
			if tc.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(encode(t, b), data) {
					t.Error("what was read is written as something else")
				}
				return
			}
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
}

func TestUnknownOptionalSectionsKeepTheirPlace(t *testing.T) {
	t.Parallel()
	s := sections(t, encode(t, small(t)))
	for _, at := range []struct {
		i    int
		name string
	}{{1, "aa"}, {2, "ab"}, {7, "kk"}, {len(s) + 3, "zz"}} {
		s = append(s[:at.i], append([]section{{name: at.name, data: []byte(at.name)}}, s[at.i:]...)...)
	}
	data := pack(s)
	b, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encode(t, b), data) {
		t.Error("what was read is written as something else")
	}
}

// TestBundleOfFunctions wants the functions that its features call.
func TestBundleOfFunctions(t *testing.T) {
	t.Parallel()
	b := small(t)
	twice := feature.Function{Name: "twice", Version: "1", Args: []feature.Type{feature.TypeNumber}, Result: feature.TypeNumber, Call: func(args []feature.Column, out *feature.Column) {
		for i, x := range args[0].Numbers {
			out.Numbers[i] = 2 * x
		}
	}}
	d := feature.Declaration{Schema: b.Schema, Features: b.Plan.Source(), Functions: []feature.Function{twice}}
	for _, in := range b.Plan.Inputs() {
		d.Inputs = append(d.Inputs, in.Name)
	}
	for i, in := range d.Inputs { // one number is now made by the function, of itself
		f, ok := b.Schema.Index(in)
		if ok && b.Schema.Field(f).Type == record.Numeric {
			d.Features = append(d.Features, feature.Spec{Name: "doubled", Expr: "twice(" + in + ")"})
			d.Inputs[i] = "doubled"
			break
		}
	}
	plan, err := feature.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	f := plan.NewFitter()
	if plan, err = f.Plan(); err != nil {
		t.Fatal(err)
	}
	stored, err := plan.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range parts(twice) {
		if p.name != partPlan {
			continue
		}
		got := &Bundle{}
		if err := p.read(got, stored); err != nil || got.Plan.Digest() != plan.Digest() {
			t.Errorf("part %d: %v", i, err)
		}
		if err := parts()[i].read(got, stored); !errors.Is(err, feature.ErrFunction) {
			t.Errorf("without the function: %v", err)
		}
	}
	if got := readOptions([]DecodeOption{WithFunctions(twice)}).functions; len(got) != 1 || got[0].Name != "twice" {
		t.Errorf("%v", got)
	}
}
