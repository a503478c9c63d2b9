package api_test

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/api"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/house"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/serve"
	"millrace.dev/internal/server"
	"millrace.dev/model"
	"millrace.dev/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world has models of made-up house prices: house-prices, of which versions 1 to 3 are approved and 2 is promoted, and busy-streets, which uses
// a window.
type world struct {
	houses, streets *pipeline.Path
	records         [][]byte // houses that can be predicted
}

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
	dir, err := os.MkdirTemp("", "api")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is a temporary folder
	g, err := house.New(house.Options{Seed: 11, History: 700})
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "sales.csv")
	if err := os.WriteFile(data, g.CSV(700), 0o600); err != nil {
		return nil, err
	}
	w := &world{}
	if w.houses, err = newPath(data, feature.Declaration{
		Features: []feature.Spec{{Name: "age", Expr: "year(date) - yr_built"}},
		Inputs:   strings.Fields("bedrooms bathrooms sqft_living floors condition city age"),
	}); err != nil {
		return nil, err
	}
	if w.streets, err = newPath(data, feature.Declaration{
		Windows:  []feature.Window{{Name: "city30", Key: "city", Size: 30 * 24 * time.Hour, Aggregates: []feature.Spec{{Name: "sold", Expr: "count()"}}}},
		Features: []feature.Spec{{Name: "sold", Expr: "city30.sold"}},
		Inputs:   strings.Fields("bedrooms bathrooms sqft_living sold"),
	}); err != nil {
		return nil, err
	}
	for i := range int64(40) {
		sale := g.Sale(700 + i)
		w.records = append(w.records, sale.AppendJSON(nil))
	}
	return w, nil
}

func newPath(data string, d feature.Declaration) (*pipeline.Path, error) {
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
	var err error
	if d.Schema, err = record.NewSchema(fields...); err != nil {
		return nil, err
	}
	d.Label = "price"
	params := gbm.DefaultParams()
	params.NTrees, params.LabelTransform = 15, gbm.TransformLog
	b, err := batch.TrainModel(context.Background(), batch.TrainOptions{
		Name: "house-prices", Data: data, Field: "predicted_price", Declaration: d, EventTime: "date",
		Split: batch.Split{Train: 0.7, Validation: 0.2, Test: 0.1, Seed: 1}, Params: params, Threads: 2, CodeVersion: "test",
	})
	if err != nil {
		return nil, err
	}
	file, _, err := b.Encode()
	if err != nil {
		return nil, err
	}
	m, err := model.Load(file, "")
	if err != nil {
		return nil, err
	}
	return pipeline.New(m.Bundle, pipeline.Options{MaxBytes: 10_000, Checks: []pipeline.Check{
		{Name: "large", Rule: "sqft_living < 3000"},
		{Name: "bare", Rule: "bedrooms > 0", Otherwise: pipeline.Reject},
	}})
}

// source is a registry with one path for all versions.
type source struct {
	path  *pipeline.Path
	state serve.State
}

func (s source) State(context.Context) (serve.State, error) { return s.state, nil }

func (s source) Load(context.Context, int) (*serve.Loaded, error) {
	return &serve.Loaded{Digest: "sha256:0123", Path: s.path}, nil
}

// site is the routes at work behind a server.
type site struct {
	t      testing.TB
	models *serve.Models
	api    *api.API
	server http.Handler
}

// newSite returns the routes of the world.
func newSite(t testing.TB, w *world, o server.Options) *site {
	t.Helper()
	m, err := serve.New(serve.Options{
		Models: []serve.ModelOptions{
			{Name: "house-prices", Source: source{w.houses, serve.State{Promoted: 2, Approved: []int{1, 2, 3}}}},
			{Name: "busy-streets", Source: source{w.streets, serve.State{Promoted: 1, Approved: []int{1}}}},
		},
		Refresh: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, err := api.New(api.Options{Models: m, Metrics: http.NotFoundHandler(), Version: "test", Now: func() time.Time { return time.Unix(1_500_000_000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	r := server.NewRouter()
	if err := r.Add(a.Routes()...); err != nil {
		t.Fatal(err)
	}
	s, err := server.New(r, o)
	if err != nil {
		t.Fatal(err)
	}
	return &site{t, m, a, s}
}

// answer is what a request was answered with.
type answer struct {
	status int
	header http.Header
	body   string
}

// send sends a request; headers are names and values in turns.
func (s *site) send(method, target, body string, headers ...string) answer {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), method, "http://localhost"+target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, r)
	res := w.Result()
	defer res.Body.Close() //nolint:errcheck // it is in memory
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// keys returns the keys of a map, sorted.
func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
