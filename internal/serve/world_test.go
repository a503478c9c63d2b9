package serve_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/house"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/serve"
	"millrace.dev/model"
	"millrace.dev/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sinkField = "predicted_price"

// world has two models of made-up house prices, versions 1 and 2, and what each makes of some records.
type world struct {
	paths   map[int]*pipeline.Path
	records [][]byte
	want    map[int][]serve.Row // by version, of each record
	inputs  *record.Frame       // of the records
}

// theWorld is made once: training takes longer than most tests.
func theWorld(t testing.TB) *world {
	t.Helper()
	w, err := worldOnce()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

var worldOnce = sync.OnceValues(newWorld) //nolint:gochecknoglobals // it is made once for all tests

func newWorld() (*world, error) {
	dir, err := os.MkdirTemp("", "serve")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is a temporary folder
	w := &world{paths: map[int]*pipeline.Path{}, want: map[int][]serve.Row{}}
	g, err := house.New(house.Options{Seed: 7, History: 900})
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "sales.csv")
	if err := os.WriteFile(data, g.CSV(900), 0o600); err != nil {
		return nil, err
	}
	for version, trees := range map[int]int{1: 12, 2: 25} {
		if w.paths[version], err = newPath(data, trees); err != nil {
			return nil, err
		}
	}
	w.records = records(g)
	for version, path := range w.paths {
		if err := w.predict(version, path); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func newPath(data string, trees int) (*pipeline.Path, error) {
	schema, err := houseSchema()
	if err != nil {
		return nil, err
	}
	params := gbm.DefaultParams()
	params.NTrees, params.LabelTransform = trees, gbm.TransformLog
	b, err := batch.TrainModel(context.Background(), batch.TrainOptions{
		Name: "house-prices", Data: data, Field: sinkField,
		Declaration: feature.Declaration{
			Schema: schema, Label: "price",
			Features: []feature.Spec{
				{Name: "zip", Expr: "statezip[3:]"},
				{Name: "age", Expr: "year(date) - yr_built"},
			},
			Inputs: strings.Fields("bedrooms bathrooms sqft_living sqft_lot floors view condition city zip age"),
		},
		Split: batch.Split{Train: 0.7, Validation: 0.2, Test: 0.1, Seed: 1}, Params: params, Threads: 2, CodeVersion: "test",
	})
	if err != nil {
		return nil, err
	}
	data2, _, err := b.Encode() // as a registry keeps it
	if err != nil {
		return nil, err
	}
	loaded, err := model.Load(data2, "")
	if err != nil {
		return nil, err
	}
	return pipeline.New(loaded.Bundle, pipeline.Options{Checks: []pipeline.Check{
		{Name: "large", Rule: "sqft_living < 3500"},
		{Name: "high", Rule: "floors < 2.5"},
		{Name: "bare", Rule: "bedrooms > 0", Otherwise: pipeline.Reject},
	}})
}

func houseSchema() (*record.Schema, error) {
	types := map[string]record.Type{
		"date": record.Time, "street": record.String, "country": record.String,
		"waterfront": record.Enum, "view": record.Enum, "condition": record.Enum, "city": record.Enum, "statezip": record.Enum,
	}
	var fields []record.Field
	for name := range strings.SplitSeq(strings.TrimSpace(house.CSVHeader), ",") {
		f := record.Field{Name: name, Type: record.Numeric, Required: name == house.RequiredField}
		if typ, ok := types[name]; ok {
			f.Type = typ
		}
		fields = append(fields, f)
	}
	return record.NewSchema(fields...)
}

// records returns houses, some of which cannot be predicted, or break rules.
func records(g *house.Generator) [][]byte {
	var all [][]byte
	for i := range int64(300) {
		sale := g.Sale(900 + i)
		value := sale.AppendJSON(nil)
		switch i % 50 {
		case 7:
			value = []byte(`{"bedrooms":`)
		case 17:
			value = []byte(`{"bedrooms":"three"}`)
		case 27:
			value = []byte(`{"sqft_living":0,"bedrooms":0}`)
		case 37:
			value = append([]byte(" \n"), value...)
		}
		all = append(all, value)
	}
	return all
}

// predict has a worker of the path itself say what becomes of each record, one by one, and of all for the inputs.
func (w *world) predict(version int, path *pipeline.Path) error {
	worker, err := path.NewWorker()
	if err != nil {
		return err
	}
	apart, err := pipeline.NewAttributor(path.Bundle(), path.Bundle().Golden)
	if err != nil {
		return err
	}
	b := worker.NewBatch()
	for _, value := range w.records {
		b.Reset()
		b.Append(record.Raw{Value: value, Timestamp: -1})
		worker.Process(b)
		var row serve.Row
		if p := b.Problem(0); p != nil {
			own := *p
			row.Problem = &own
		} else {
			row.Output, row.Prediction = bytes.Clone(worker.Output(0)), worker.Prediction(0)
			for _, m := range worker.Marks() {
				row.Checks = m.Rules
			}
			a := apart.Attribute(worker.Frame(), 0, row.Prediction)
			row.Explanation = &a
		}
		w.want[version] = append(w.want[version], row)
	}
	b.Reset()
	for _, value := range w.records {
		b.Append(record.Raw{Value: value, Timestamp: -1})
	}
	worker.Process(b)
	fr := worker.Frame()
	w.inputs = &record.Frame{Rows: fr.Rows}
	for _, c := range fr.Columns {
		c.Numbers, c.Codes = append([]float64(nil), c.Numbers...), append([]int32(nil), c.Codes...)
		w.inputs.Columns = append(w.inputs.Columns, c)
	}
	return nil
}

// raw returns records from and below to.
func (w *world) raw(from, to int) []record.Raw {
	all := make([]record.Raw, 0, to-from)
	for _, value := range w.records[from:to] {
		all = append(all, record.Raw{Value: value, Timestamp: -1})
	}
	return all
}

// rows returns rows of inputs from and below to.
func (w *world) rows(from, to int) *record.Frame {
	fr := &record.Frame{Rows: to - from}
	for _, c := range w.inputs.Columns {
		if c.Type == record.Enum {
			c.Codes = c.Codes[from:to]
		} else {
			c.Numbers = c.Numbers[from:to]
		}
		fr.Columns = append(fr.Columns, c)
	}
	return fr
}

// fakeRegistry is a registry in memory, whose versions are those of the world by turns.
type fakeRegistry struct {
	world *world

	mu    sync.Mutex
	state serve.State
	down  bool          // it does not answer
	bad   map[int]error // versions that cannot be loaded
	loads map[int]int   // by version
}

var errDown = errors.New("the registry is down")

func newRegistry(w *world, promoted int, approved ...int) *fakeRegistry {
	return &fakeRegistry{world: w, state: serve.State{Promoted: promoted, Approved: approved}, bad: map[int]error{}, loads: map[int]int{}}
}

func (f *fakeRegistry) State(context.Context) (serve.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return serve.State{}, errDown
	}
	return f.state, nil
}

// path returns the path of a version: of those of the world by turns.
func (f *fakeRegistry) path(number int) int { return 2 - number%2 }

func (f *fakeRegistry) Load(_ context.Context, number int) (*serve.Loaded, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loads[number]++
	if err := f.bad[number]; err != nil {
		return nil, err
	}
	if f.down {
		return nil, errDown
	}
	return &serve.Loaded{Digest: fmt.Sprintf("sha256:%d", number), Path: f.world.paths[f.path(number)]}, nil
}

// change changes the registry.
func (f *fakeRegistry) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

// begin returns models that are started, of one model called house-prices.
func begin(t testing.TB, f *fakeRegistry, o serve.Options) *serve.Models {
	t.Helper()
	m := create(t, f, o)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// create returns models that are not started; they are closed at the end of the test.
func create(t testing.TB, f *fakeRegistry, o serve.Options) *serve.Models {
	t.Helper()
	o.Models = []serve.ModelOptions{{Name: "house-prices", Source: f}}
	m, err := serve.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// open returns a version.
func open(t testing.TB, m *serve.Models, version string) *serve.Version {
	t.Helper()
	v, err := m.Open(t.Context(), "house-prices", version)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
