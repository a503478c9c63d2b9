package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/durable"
	"millrace.dev/internal/registry/objects"
	"millrace.dev/model"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// trained returns a small bundle.
func trained() (*model.Bundle, error) {
	s, err := record.NewSchema(record.Field{Name: "sqft", Type: record.Numeric})
	if err != nil {
		return nil, err
	}
	plan, err := feature.Compile(feature.Declaration{Schema: s, Inputs: []string{"sqft"}})
	if err != nil {
		return nil, err
	}
	batch := record.NewBatch(s, nil)
	var prices []float64
	var keep []bool
	for i := range 20 {
		row := batch.Append(record.Raw{})
		batch.Numbers(0)[row] = float64(1000 + i)
		prices, keep = append(prices, float64(100*i)), append(keep, true)
	}
	fitter := plan.NewFitter()
	fitter.Add(batch, keep, feature.Enrichment{})
	if plan, err = fitter.Plan(); err != nil {
		return nil, err
	}
	params := gbm.DefaultParams()
	params.NTrees, params.MinRows = 1, 5
	frame := plan.NewEvaluator().Eval(batch, feature.Enrichment{})
	forest, history, err := gbm.Train(context.Background(), params, gbm.Dataset{Frame: frame, Label: prices}, nil, gbm.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	b := &model.Bundle{
		Profile:  &profile.Profile{},
		Manifest: model.Manifest{Name: "house-prices", Label: "price", SinkField: "price", Millrace: "0.1.0"},
		Schema:   s, Plan: plan, Forest: forest, History: model.NewHistory(history),
		Lineage: model.Lineage{
			DataName: "houses.csv", DataDigest: model.Digest(nil), Rows: model.Rows{Read: 20, Train: 20},
			Split: model.Split{Train: 1},
		},
	}
	if b.Inputs, err = model.NewInputs(plan, forest); err != nil {
		return nil, err
	}
	b.Lineage.Params, err = json.Marshal(params)
	return b, err
}

// variant returns the bytes of a bundle that differs from b in its name and the run that made it.
func variant(b *model.Bundle, name, run string) ([]byte, error) {
	v := *b
	v.Manifest.Name, v.Lineage.RunID = name, run
	data, _, err := v.Encode()
	return data, err
}

// factory makes bundles that differ.
type factory struct {
	t testing.TB
	b *model.Bundle
}

func newFactory(t testing.TB) factory {
	t.Helper()
	b, err := trained()
	if err != nil {
		t.Fatal(err)
	}
	return factory{t, b}
}

func (f factory) named(name, run string) []byte {
	f.t.Helper()
	data, err := variant(f.b, name, run)
	if err != nil {
		f.t.Fatal(err)
	}
	return data
}

// make returns the bytes of bundle i of the model house-prices.
func (f factory) make(i int) []byte { return f.named("house-prices", fmt.Sprint("run-", i)) }

// clock returns a clock that gains a second each time it is read.
func clock() func() time.Time {
	now := time.Date(2014, 7, 10, 12, 0, 0, 0, time.FixedZone("", -7*3600))
	return func() time.Time {
		now = now.Add(time.Second)
		return now
	}
}

// folder is a registry on disk, for tests that look at its files.
type folder struct{ dir string }

func (f folder) tmp() string          { return filepath.Join(f.dir, "tmp") }
func (f folder) events() string       { return filepath.Join(f.dir, eventsDir) }
func (f folder) event(seq int) string { return filepath.Join(f.dir, eventName(seq)) }
func (f folder) blob(digest string) string {
	return filepath.Join(f.dir, blobID{digest: digest}.name())
}

// open opens the registry in a folder that is written to through fsys.
func open(dir string, o Options, fsys durable.FS) (*Registry, error) {
	return openStore(objects.NewFolder(dir, fsys), o)
}

// quickFS does not wait for the disk, for tests of rules, which write much.
type quickFS struct{ durable.FS }

func (f quickFS) CreateTemp(dir string, perm fs.FileMode) (durable.File, error) {
	file, err := f.FS.CreateTemp(dir, perm)
	return quickFile{file}, err
}

func (quickFS) SyncDir(string) error { return nil }

type quickFile struct{ durable.File }

func (quickFile) Sync() error { return nil }

// openQuick opens the registry at a location; a folder without waiting for the disk.
func openQuick(location string, o Options) (*Registry, error) {
	if objects.IsAddress(location) {
		return Open(location, o)
	}
	return open(location, o, quickFS{durable.OS()})
}

func openDir(t testing.TB, dir string) *Registry {
	t.Helper()
	r, err := openQuick(dir, Options{Now: clock()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustRegister(t testing.TB, r *Registry, data []byte) Version {
	t.Helper()
	v, err := r.Register(t.Context(), data, "train")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustApprove(t testing.TB, r *Registry, ref string) Version {
	t.Helper()
	v, err := r.Approve(t.Context(), ref, "house-prices", Decision{By: "anna", Reason: "good"})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustPromote(t *testing.T, r *Registry, ref string) Version {
	t.Helper()
	v, err := r.Promote(t.Context(), ref, "house-prices", Decision{By: "anna", Reason: "better"})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustReject(t testing.TB, r *Registry, ref string) Version {
	t.Helper()
	v, err := r.Reject(t.Context(), ref, "house-prices", Decision{By: "bob", Reason: "bad"})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustVerify(t testing.TB, r *Registry) Report {
	t.Helper()
	report, err := r.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// SmallBundle returns the bytes of a bundle, for the examples.
func SmallBundle() ([]byte, error) {
	b, err := trained()
	if err != nil {
		return nil, err
	}
	return variant(b, "house-prices", "")
}

// flip returns data with one bit changed.
func flip(data []byte, at int) []byte {
	bad := bytes.Clone(data)
	bad[at] ^= 1
	return bad
}

func containsAll(text string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, p) })
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
