package feature

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"millrace.dev/internal/testenv"
	"millrace.dev/record"
)

// featranCase is a test case of Featran's transformers. What a case is made of is said in the file's meta data.
type featranCase struct {
	ID          string
	Transformer string
	Name        string
	Params      map[string]any
	Fit         json.RawMessage
	Spec        json.RawMessage
	Crossings   []struct{ Function string }
	Apply       []any           `json:"apply_with_settings"`
	Defect      string          `json:"featran_defect"`
	Recommended json.RawMessage `json:"recommended_for_us"`
	Error       string
	Expect      struct {
		Names           json.RawMessage
		FitRows         []any `json:"fit_rows"`
		FitRejections   []any `json:"fit_rejections"`
		ApplyRows       []any `json:"apply_rows"`
		ApplyRejections []any `json:"apply_rejections"`
		NullRow         any   `json:"null_row"`
		Thresholds      []any
		Error           string
	}
	Tolerance float64
}

// featranMeant says where millrace is to give another result than Featran, and why. The rows are what it gives; nil rows
// stand for those of the case. A row of nil is one of missing values.
type featranMeant struct {
	reason string
	fit    []any
	apply  []any
	null   any
	cuts   []any // thresholds
	counts bool  // what counts as not seen is not what Featran rejects
}

// missingRow stands for a row of which every input is missing.
const missingRow = "missing"

const keepsMissing = "null: a missing value stays missing, and is counted; x ?? 0 gives Featran's value"

func featranMeantFor(c *featranCase) *featranMeant {
	switch c.ID {
	case "binarizer-nan":
		return &featranMeant{reason: "NaN and infinite numbers are missing, and counted (recommended)", fit: []any{missingRow, missingRow, missingRow}}
	case "iqr-1":
		return &featranMeant{reason: "the flag is the feature; the upper bound is Q3 + 1.5 IQR (recommended); " + keepsMissing, fit: ones(21, 20), apply: []any{0., 1.}, null: missingRow}
	case "maxabs-zero", "minmax-const", "standard-const":
		return &featranMeant{reason: "a constant column gives 0, not NaN (recommended)", fit: []any{0., 0.}}
	case "normalizer-zero":
		return &featranMeant{reason: "a vector of zeros stays one (recommended)", fit: []any{[]any{0., 0.}}}
	case "mdl-thresholdfinder":
		return &featranMeant{reason: "the case gives the finder ends of bins; of values, a cut lies half way between two", cuts: []any{"-Infinity", 3.75, "Infinity"}}
	case "heavyhitters-1":
		return &featranMeant{reason: "a text that is no heavy hitter gets zeros, as in Featran, and is counted", counts: true}
	case "normalizer-len":
		return &featranMeant{reason: "a vector has as many elements as it is written with: a column that is not there is an error of the declaration"}
	case "spec-dup-name":
		return &featranMeant{}
	case "position-1":
		return &featranMeant{reason: "unseen and null do not collide with the first label: missing, and counted (recommended)", counts: true, apply: []any{missingRow, missingRow, missingRow}, null: missingRow}
	case "vonmises-err":
		return &featranMeant{reason: "a value outside of the circle is missing, and counted (recommended)", fit: []any{missingRow}}
	case "normalizer-p2", "poly-3":
		return &featranMeant{reason: "a vector has as many elements as it is written with: WrongDimension cannot happen; " + keepsMissing, apply: []any{}, null: missingRow}
	case "spec-optional":
		return &featranMeant{reason: keepsMissing, fit: []any{1.5, missingRow, -2.}}
	}
	switch c.Transformer {
	case "MaxAbsScaler", "MinMaxScaler", "StandardScaler", "VonMisesEvaluator":
		return &featranMeant{reason: keepsMissing, null: missingRow}
	}
	return &featranMeant{}
}

func ones(n int, at ...int) []any {
	rows := make([]any, n)
	for i := range rows {
		rows[i] = 0.
		if slices.Contains(at, i) {
			rows[i] = 1.
		}
	}
	return rows
}

// TestFeatranVectors holds the fitted functions against cases of Featran. It prints how many pass, and each that is meant
// to differ with the reason.
func TestFeatranVectors(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join(testenv.Vectors(t), "featran.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []featranCase }
	if err := json.Unmarshal(b, &file); err != nil { //nolint:musttag // the names are those of the file
		t.Fatal(err)
	}
	passed := 0
	for i := range file.Vectors {
		c := &file.Vectors[i]
		meant := featranMeantFor(c)
		if err := runFeatran(c, meant, file.Vectors); err != nil {
			t.Errorf("%s: %v", c.ID, err)
			continue
		}
		passed++
		if meant.reason != "" {
			t.Logf("%s passes; differs from Featran: %s", c.ID, meant.reason)
		}
	}
	t.Logf("featran vectors: %d/%d", passed, len(file.Vectors))
}

// featranRun is a case as millrace sees it.
type featranRun struct {
	schema  *record.Schema
	d       Declaration
	fit     []map[string]any // values by column
	apply   []map[string]any
	null    map[string]any
	outlier bool // the flag is the rejection
}

func runFeatran(c *featranCase, meant *featranMeant, all []featranCase) error {
	r, err := newFeatranRun(c, all)
	if err != nil {
		return err
	}
	p, err := Compile(r.d)
	if want := cmpOr(c.Error, c.Expect.Error); want != "" && c.ID != "vonmises-err" {
		if err == nil {
			return errors.New("no error")
		}
		return nil
	}
	if err != nil {
		return err
	}
	for range 5 {
		if p.Fitted() {
			break
		}
		f := p.NewFitter()
		f.Add(r.batch(r.fit, 0), nil, Enrichment{})
		if p, err = f.Plan(); err != nil {
			return err
		}
	}
	stored, err := p.MarshalBinary()
	if err != nil {
		return err
	}
	if p, err = ReadPlan(stored); err != nil { // what was fitted survives
		return err
	}
	if err := r.names(c, p); err != nil {
		return err
	}
	if err := r.thresholds(meantRows(c.Expect.Thresholds, meant.cuts), p); err != nil {
		return err
	}
	if meant.counts || r.outlier {
		c.Expect.FitRejections, c.Expect.ApplyRejections = nil, nil
	}
	return errors.Join(
		r.check("fit", p, r.fit, meantRows(c.Expect.FitRows, meant.fit), c.Expect.FitRejections),
		r.check("apply", p, r.apply, meantRows(c.Expect.ApplyRows, meant.apply), c.Expect.ApplyRejections),
		r.check("null", p, []map[string]any{r.null}, meantNull(c.Expect.NullRow, meant.null), nil),
	)
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func meantRows(rows, meant []any) []any {
	if meant != nil {
		return meant
	}
	return rows
}

func meantNull(row, meant any) []any {
	if meant != nil {
		row = meant
	}
	if row == nil {
		return nil
	}
	return []any{row}
}

// names compares the names of the inputs.
func (r *featranRun) names(c *featranCase, p *Plan) error {
	var want []string
	var nested [][]string
	var pattern string
	switch {
	case json.Unmarshal(c.Expect.Names, &want) == nil:
	case json.Unmarshal(c.Expect.Names, &nested) == nil:
		want = slices.Concat(nested...)
	case json.Unmarshal(c.Expect.Names, &pattern) == nil: // one_hot_0..one_hot_99
		first, last, _ := strings.Cut(pattern, "..")
		base := strings.TrimSuffix(first, "0")
		n, err := strconv.Atoi(strings.TrimPrefix(last, base))
		if err != nil {
			return err
		}
		for i := range n + 1 {
			want = append(want, base+strconv.Itoa(i))
		}
	}
	if want == nil {
		return nil
	}
	var got []string
	for _, in := range p.Inputs() {
		got = append(got, in.Name)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("names %q, want %q", got, want)
	}
	return nil
}

// thresholds compares the cuts of a bucket function.
func (r *featranRun) thresholds(cuts []any, p *Plan) error {
	if cuts == nil {
		return nil
	}
	for i := range p.prog.values {
		v := &p.prog.values[i]
		if v.op != opBucket {
			continue
		}
		if len(v.numbers) != len(cuts) {
			return fmt.Errorf("thresholds %v, want %v", v.numbers, cuts)
		}
		for k, want := range cuts[1 : len(cuts)-1] {
			if got := v.numbers[k+1]; math.Abs(got-featranNumber(want)) > 1e-5 {
				return fmt.Errorf("threshold %d: %v, want %v", k+1, got, want)
			}
		}
		return nil
	}
	return errors.New("no buckets")
}

// check compares rows, one at a time, and whether something of them counts as not seen in training.
func (r *featranRun) check(what string, p *Plan, rows []map[string]any, want, rejections []any) error {
	e := p.NewEvaluator()
	for i, w := range want {
		if i >= len(rows) {
			return fmt.Errorf("%s: %d rows, want %d", what, len(rows), len(want))
		}
		before := e.FittedCounts()
		f := e.Eval(r.batch(rows[i:i+1], i), Enrichment{})
		if err := sameFeatranRow(f, w); err != nil {
			return fmt.Errorf("%s row %d: %w", what, i, err)
		}
		if i < len(rejections) {
			seen := uint64(0)
			for k, n := range e.FittedCounts() {
				seen += n.Unseen - before[k].Unseen
			}
			if (rejections[i] != nil) != (seen > 0) {
				return fmt.Errorf("%s row %d: %d values count as not seen, want %v", what, i, seen, rejections[i])
			}
		}
	}
	return nil
}

// sameFeatranRow compares a row with a list of numbers, a sparse one, a text "n zeros", one number, or missingRow.
func sameFeatranRow(f *record.Frame, want any) error {
	switch w := want.(type) {
	case string:
		if n, zeros := strings.CutSuffix(w, " zeros"); zeros {
			count, err := strconv.Atoi(n)
			if err != nil {
				return err
			}
			return sameFeatranRow(f, slices.Repeat([]any{0.}, count))
		}
		for _, col := range f.Columns {
			if !math.IsNaN(col.Numbers[0]) {
				return fmt.Errorf("%s is %v, want it missing", col.Name, col.Numbers[0])
			}
		}
		return nil
	case float64:
		return sameFeatranRow(f, []any{w})
	case map[string]any:
		list := slices.Repeat([]any{0.}, int(featranNumber(w["dimension"])))
		list[int(featranNumber(w["index"]))] = w["value"]
		return sameFeatranRow(f, list)
	}
	list, ok := want.([]any)
	if !ok {
		return fmt.Errorf("a row %v", want)
	}
	if len(list) > 0 {
		if _, nested := list[0].([]any); nested {
			var flat []any
			for _, l := range list {
				flat = append(flat, l.([]any)...) //nolint:errcheck,forcetypeassert // as the first
			}
			list = flat
		}
	}
	if len(list) != len(f.Columns) {
		return fmt.Errorf("%d inputs, want %d", len(f.Columns), len(list))
	}
	for k, col := range f.Columns {
		got, w := col.Numbers[0], featranNumber(list[k])
		if !(math.Abs(got-w) <= 1e-6*max(1, math.Abs(w))) {
			return fmt.Errorf("%s is %v, want %v", col.Name, got, w)
		}
	}
	return nil
}

func featranNumber(v any) float64 {
	switch x := v.(type) {
	case float64:
		return x
	case string:
		n, err := strconv.ParseFloat(x, 64)
		if err == nil {
			return n
		}
	}
	return math.NaN()
}

// batch makes a batch of rows, whose numbers begin with first.
func (r *featranRun) batch(rows []map[string]any, first int) *record.Batch {
	b := record.NewBatch(r.schema, nil)
	for i, row := range rows {
		b.Append(record.Raw{Offset: int64(first + i)})
		for f := range r.schema.Len() {
			v, ok := row[r.schema.Field(f).Name]
			if !ok || v == nil {
				continue
			}
			switch r.schema.Field(f).Type {
			case record.Numeric:
				b.Numbers(f)[i] = featranNumber(v)
			case record.Enum:
				b.Codes(f)[i] = b.Dict(f).Code([]byte(fmt.Sprint(v)))
			default:
				b.Texts(f).Set(i, []byte(fmt.Sprint(v)))
			}
		}
	}
	return b
}

// newFeatranRun translates a case.
func newFeatranRun(c *featranCase, all []featranCase) (*featranRun, error) {
	if c.Transformer == "" {
		return newFeatranSpec(c)
	}
	fit := c.Fit
	if string(fit) == `"same as mdl-cars-10"` {
		i := slices.IndexFunc(all, func(o featranCase) bool { return o.ID == "mdl-cars-10" })
		fit = all[i].Fit
	}
	var rows []any
	if err := json.Unmarshal(fit, &rows); err != nil {
		return nil, err
	}
	return featranOf(c.Transformer, c.Name, c.Params, rows, c.Apply)
}

// featranOf translates a transformer of one field.
func featranOf(transformer, name string, params map[string]any, fit, apply []any) (*featranRun, error) {
	if name == "-" {
		name = "f"
	}
	r := &featranRun{null: map[string]any{}}
	expr, fields, row := featranExpr(transformer, params, fit)
	if expr == "" {
		return nil, fmt.Errorf("no translation of %s", transformer)
	}
	var err error
	if r.schema, err = record.NewSchema(fields...); err != nil {
		return nil, err
	}
	for _, v := range fit {
		r.fit = append(r.fit, row(v)...)
	}
	for _, v := range apply {
		r.apply = append(r.apply, row(v)...)
	}
	r.outlier = transformer == "IQROutlierRejector"
	r.d = Declaration{Schema: r.schema, Features: []Spec{{name, expr}}, Inputs: []string{name}}
	return r, nil
}

// featranExpr returns the expression of a transformer, the columns that it needs, and what makes rows of a value.
func featranExpr(transformer string, p map[string]any, fit []any) (string, []record.Field, func(any) []map[string]any) {
	number := []record.Field{{Name: "x", Type: record.Numeric}}
	enum := []record.Field{{Name: "t", Type: record.Enum}}
	str := []record.Field{{Name: "t", Type: record.String}}
	one := func(column string) func(any) []map[string]any {
		return func(v any) []map[string]any { return []map[string]any{{column: v}} }
	}
	list := func(sep string) func(any) []map[string]any {
		return func(v any) []map[string]any { return []map[string]any{{"t": joinFeatran(v, sep)}} }
	}
	missing := strconv.FormatBool(p["encodeMissingValue"] == true)
	switch transformer {
	case "Binarizer":
		return fmt.Sprintf("binarize(x, threshold: %v)", p["threshold"]), number, one("x")
	case "Identity":
		return "identity(x)", number, one("x")
	case "Bucketizer":
		return "bucketize(x, splits: " + featranList(p["splits"]) + ")", number, one("x")
	case "HashOneHotEncoder":
		return fmt.Sprintf("hash_one_hot(t, size: %v)", p["hashBucketSize"]), enum, one("t")
	case "HashNHotEncoder":
		return fmt.Sprintf("hash_n_hot(t, sep: '|', size: %v)", p["hashBucketSize"]), str, list("|")
	case "HeavyHitters":
		return fmt.Sprintf("heavy_hitters(t, top: %v)", p["heavyHittersCount"]), enum, one("t")
	case "TopNOneHotEncoder":
		return fmt.Sprintf("one_hot(t, top: %v, missing: %s)", p["n"], missing), enum, one("t")
	case "OneHotEncoder":
		return "one_hot(t, missing: " + missing + ")", enum, one("t")
	case "PositionEncoder":
		return "position(t)", enum, one("t")
	case "NHotEncoder":
		return "n_hot(t, sep: '|')", str, list("|")
	case "NHotWeightedEncoder":
		return "n_hot_weighted(t, sep: '|', weight: ':')", str, list("|")
	case "NGrams":
		return fmt.Sprintf("ngrams(t, low: %v, high: %v, sep: ' ')", p["low"], p["high"]), str, list(" ")
	case "IQROutlierRejector":
		return fmt.Sprintf("iqr_outlier(x, lower: %v, upper: %v, factor: %v)", p["rejectLower"], p["rejectUpper"], p["factor"]), number, one("x")
	case "QuantileDiscretizer":
		return fmt.Sprintf("quantile_bucket(x, buckets: %v)", p["numBuckets"]), number, one("x")
	case "MaxAbsScaler":
		return "max_abs(x)", number, one("x")
	case "MinMaxScaler":
		return fmt.Sprintf("min_max(x, low: %v, high: %v)", param(p["min"], 0), param(p["max"], 1)), number, one("x")
	case "StandardScaler":
		return fmt.Sprintf("standard(x, center: %v, scale: %v)", p["withMean"], p["withStd"]), number, one("x")
	case "VonMisesEvaluator":
		return fmt.Sprintf("von_mises_points(x, kappa: %v, scale: %v, points: %s)", p["kappa"], p["scale"], featranList(p["points"])), number, one("x")
	case "MDL", "ThresholdFinder":
		return featranMDL(transformer, p)
	case "Normalizer", "PolynomialExpansion", "VectorIdentity":
		return featranVector(transformer, p, fit)
	}
	return "", nil, nil
}

func param(v, def any) any {
	if v == nil {
		return def
	}
	return v
}

func featranMDL(transformer string, p map[string]any) (string, []record.Field, func(any) []map[string]any) {
	fields := []record.Field{{Name: "x", Type: record.Numeric}, {Name: "t", Type: record.Enum}}
	share := 0.0
	if transformer == "ThresholdFinder" {
		share = 0.011 // so that each side of a cut has more than one of 98 values, its minBinWeight
	}
	expr := fmt.Sprintf("mdl_bucket(x, t, bins: %v, min_share: %v)", p["maxBins"], share)
	return expr, fields, func(v any) []map[string]any {
		l, pair := v.([]any)
		if !pair {
			return []map[string]any{{"x": v}}
		}
		counts, tallied := l[1].([]any)
		if !tallied {
			return []map[string]any{{"t": l[0], "x": l[1]}}
		}
		var rows []map[string]any
		for class, n := range counts {
			for range int(featranNumber(n)) {
				rows = append(rows, map[string]any{"x": l[0], "t": class})
			}
		}
		return rows
	}
}

func featranVector(transformer string, p map[string]any, fit []any) (string, []record.Field, func(any) []map[string]any) {
	var fields []record.Field
	var names []string
	for i := range fit[0].([]any) { //nolint:errcheck,forcetypeassert // vectors are lists
		name := "x" + strconv.Itoa(i)
		names = append(names, name)
		fields = append(fields, record.Field{Name: name, Type: record.Numeric})
	}
	vector := "vector(" + strings.Join(names, ", ") + ")"
	row := func(v any) []map[string]any {
		r := map[string]any{}
		for i, x := range v.([]any) { //nolint:errcheck,forcetypeassert // vectors are lists
			r["x"+strconv.Itoa(i)] = x
		}
		return []map[string]any{r}
	}
	switch transformer {
	case "Normalizer":
		expr := fmt.Sprintf("normalize(%s, p: %v)", vector, p["p"])
		if n := int(featranNumber(p["expectedLength"])); n > len(names) { // a vector that names a column that is not there
			expr = strings.Replace(expr, "vector(", "vector(not_there, ", 1)
		}
		return expr, fields, row
	case "PolynomialExpansion":
		return fmt.Sprintf("polynomial(%s, degree: %v)", vector, p["degree"]), fields, row
	default:
		return vector, fields, row
	}
}

func featranList(v any) string {
	var out []string
	for _, x := range v.([]any) { //nolint:errcheck,forcetypeassert // the case has a list
		n := max(min(featranNumber(x), math.MaxFloat64), -math.MaxFloat64)
		out = append(out, strconv.FormatFloat(n, 'g', -1, 64))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func joinFeatran(v any, sep string) any {
	l, ok := v.([]any)
	if !ok {
		return v
	}
	var out []string
	for _, e := range l {
		if pair, ok := e.([]any); ok {
			e = fmt.Sprintf("%v:%v", pair[0], pair[1])
		}
		out = append(out, fmt.Sprint(e))
	}
	return strings.Join(out, sep)
}

// newFeatranSpec translates a case of several transformers.
func newFeatranSpec(c *featranCase) (*featranRun, error) {
	var fit []map[string]any
	if err := json.Unmarshal(c.Fit, &fit); err != nil {
		return nil, err
	}
	type item struct{ Field, Transformer, Name string }
	var spec []item
	if json.Unmarshal(c.Spec, &spec) != nil { //nolint:musttag // inferred from types
		spec = []item{{"num", "Identity", "num"}, {"str", "OneHotEncoder", "str"}, {"d", "Identity", "d"}, {"l", "Identity", "l"}, {"s", "NHotEncoder", "s"}, {"b", "Bool", "b"}}
	}
	r := &featranRun{null: map[string]any{}}
	var fields []record.Field
	rows := make([]map[string]any, len(fit))
	for i := range rows {
		rows[i] = map[string]any{}
	}
	for n, it := range spec {
		prefix := fmt.Sprintf("c%d_", n)
		var expr string
		var own []record.Field
		row := func(v any) []map[string]any { return []map[string]any{{"t": v}} }
		if it.Transformer == "Bool" {
			expr, own = "t == 'true'", []record.Field{{Name: "t", Type: record.Enum}}
		} else {
			example := []any{nil}
			if len(fit) > 0 {
				example = []any{fit[0][it.Field]}
			}
			expr, own, row = featranExpr(it.Transformer, nil, example)
		}
		for _, f := range own {
			expr = renameColumn(expr, f.Name, prefix+f.Name)
			fields = append(fields, record.Field{Name: prefix + f.Name, Type: f.Type})
		}
		for i := range fit {
			for k, v := range row(fit[i][it.Field])[0] {
				rows[i][prefix+k] = v
			}
		}
		r.d.Features = append(r.d.Features, Spec{it.Name, expr})
		r.d.Inputs = append(r.d.Inputs, it.Name)
	}
	for _, x := range c.Crossings {
		by := map[string]string{"add": "add", "mul": "multiply"}[x.Function]
		r.d.Features = append(r.d.Features, Spec{"cross", fmt.Sprintf("cross(a, b, by: '%s')", by)})
		r.d.Inputs = append(r.d.Inputs, "cross")
	}
	var err error
	if r.schema, err = record.NewSchema(fields...); err != nil {
		return nil, err
	}
	r.d.Schema, r.fit = r.schema, rows
	return r, nil
}

// renameColumn renames a column where it stands as a whole word.
func renameColumn(expr, from, to string) string {
	var out strings.Builder
	for i := 0; i < len(expr); {
		j := i
		for j < len(expr) && (expr[j] == '_' || expr[j] >= '0' && expr[j] <= '9' || expr[j]|0x20 >= 'a' && expr[j]|0x20 <= 'z') {
			j++
		}
		if word := expr[i:j]; word == from {
			out.WriteString(to)
		} else {
			out.WriteString(word)
		}
		if j < len(expr) {
			out.WriteByte(expr[j])
		}
		i = j + 1
	}
	return out.String()
}
