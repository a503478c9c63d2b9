package batch

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"millrace.dev/gbm"
	"millrace.dev/internal/source"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// writeNumbers writes rows of a key, a number, a level and a time, of which some are missing and some broken.
func writeNumbers(t *testing.T, n int, rng *rand.Rand) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("id,x,level,at\n")
	for i := range n {
		x := strconv.Itoa(rng.IntN(100_000))
		switch rng.IntN(50) {
		case 0:
			x = ""
		case 1:
			x = "broken"
		}
		fmt.Fprintf(&b, "%d,%s,%s,2014-05-%02d\n", i-i%7%2, x, []string{"a", "b", ""}[rng.IntN(3)], 1+rng.IntN(28))
	}
	path := filepath.Join(t.TempDir(), "data.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func profileOptions(t *testing.T, path string) ProfileOptions {
	t.Helper()
	s, err := record.NewSchema(
		record.Field{Name: "id", Type: record.String}, record.Field{Name: "x", Type: record.Numeric},
		record.Field{Name: "level", Type: record.Enum}, record.Field{Name: "at", Type: record.Time},
	)
	if err != nil {
		t.Fatal(err)
	}
	data, err := source.Open(t.Context(), path, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return ProfileOptions{Data: data, Schema: s, Key: "id"}
}

func TestMakeProfile(t *testing.T) {
	t.Parallel()
	const rows = 40_000
	seed := rand.Uint64()
	o := profileOptions(t, writeNumbers(t, rows, rand.New(rand.NewPCG(seed, 1))))
	var first string
	for threads := 1; threads <= 5; threads += 2 {
		o.Threads = threads
		p, err := MakeProfile(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Profile.Validate(); err != nil {
			t.Error(err)
		}
		bad := p.Rejected[Rejection{"invalid_number", "x"}]
		if !p.Sampled || p.Read != rows || bad == 0 || p.Profile.Rows != rows-bad {
			t.Errorf("sampled %t, %d read, %d bad, %d rows", p.Sampled, p.Read, bad, p.Profile.Rows)
		}
		b, err := json.Marshal(p.Profile)
		if first == "" {
			first = string(b)
		}
		if err != nil || string(b) != first {
			t.Errorf("seed %d: with %d threads it is another profile", seed, threads)
		}
	}
	o.Exact = true
	exact, err := MakeProfile(t.Context(), o)
	if err != nil || exact.Sampled {
		t.Fatal(err)
	}
	counter := o
	counter.Reference = exact.Profile
	again, err := MakeProfile(t.Context(), counter)
	if err != nil {
		t.Fatal(err)
	}
	for i := range exact.Profile.Columns {
		want, got := exact.Profile.Columns[i].Counts, again.Counted.Columns[i].Counts
		if fmt.Sprint(want) != fmt.Sprint(got) {
			t.Errorf("seed %d: %s: the counts of all rows differ from those of a counter", seed, exact.Profile.Columns[i].Name)
		}
	}
	for _, out := range again.Outside {
		if out.Below+out.Above > 0 {
			t.Errorf("%+v is outside of its own range", out)
		}
	}
}

func TestKeysAreCounted(t *testing.T) {
	t.Parallel()
	o := profileOptions(t, writeNumbers(t, 700, rand.New(rand.NewPCG(1, 1))))
	o.Threads = 2
	p, err := MakeProfile(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	seen, rows := map[string]bool{}, uint64(0)
	r := o.Data.Read(t.Context())
	defer r.Close() //nolint:errcheck // it was only read
	b := record.NewBatch(o.Schema, nil)
	for more, err := r.Fill(b); more; more, err = r.Fill(b) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Len() {
			cells := strings.Split(string(b.Raw(i).Value), ",")
			if cells[1] != "broken" {
				seen[cells[0]] = true
				rows++
			}
		}
	}
	if k := p.Keys; !k.Exact || k.Rows != rows || k.Distinct != uint64(len(seen)) || k.Repeated() != rows-uint64(len(seen)) {
		t.Errorf("%+v, want %d different in %d rows", k, len(seen), rows)
	}
}

// TestTooManyKeys goes beyond what is counted one by one.
func TestTooManyKeys(t *testing.T) {
	t.Parallel()
	all := &keys{}
	w := &keyWorker{all: all}
	for i := range uint64(8) { // hashes of one shard
		all.shards[0].add(i << 10)
		all.shards[0].add(i << 10)
		w.rows += 2
		w.distinct.AddHash(i * 0x9e3779b97f4a7c15)
	}
	if k := all.counted("id", []*keyWorker{w}); !k.Exact || k.Distinct != 8 || k.Repeated() != 8 {
		t.Errorf("%+v", k)
	}
	for i := range uint64(keysPerShard + 10) {
		all.shards[0].add(i << 10)
	}
	if k := all.counted("id", []*keyWorker{w}); k.Exact || k.Distinct != 8 || all.shards[0].slots != nil {
		t.Errorf("%+v", k)
	}
}

func TestNothingToProfile(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"id,x\n":              "it has no records",
		"id,x\n1,a\n2,b\n,\n": "none of its 3 records can be decoded (2: invalid_number in x; 1: no_fields)",
	} {
		path := filepath.Join(t.TempDir(), "data.csv")
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := MakeProfile(t.Context(), profileOptions(t, path))
		e, ok := errors.AsType[*source.DataError](err)
		if !ok || e.Err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestProfileOfAModelsData holds the features and the predictions that are counted beside a model to those of training.
func TestProfileOfAModelsData(t *testing.T) {
	t.Parallel()
	o := houses(t)
	o.Where, o.Params.NTrees, o.Params.LabelTransform = "", 5, gbm.TransformNone
	b, err := TrainModel(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	data, err := source.Open(t.Context(), o.Data, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := MakeProfile(t.Context(), ProfileOptions{Data: data, Schema: b.Schema, Label: "price", Bundle: b, Reference: b.Profile})
	if err != nil {
		t.Fatal(err)
	}
	for i := range b.Profile.Columns {
		want, got := &b.Profile.Columns[i], &p.Counted.Columns[i]
		if want.Role != profile.Prediction && (fmt.Sprint(want.Counts) != fmt.Sprint(got.Counts) || want.Missing != got.Missing || want.Mean != got.Mean && want.Mean == want.Mean) {
			t.Errorf("%s is counted otherwise than in training", want.Name)
		}
		if want.Role == profile.Prediction && (got.Rows != 4600 || got.Present() != 4600) {
			t.Errorf("%d predictions", got.Present())
		}
	}
}

// TestHugeField holds a field that is beyond the bound of a record to cost its record alone.
func TestHugeField(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data.csv")
	text := "id,x,level,at\n1,2,a,2014-05-01\n2,3," + strings.Repeat("y", 2<<20) + ",2014-05-01\n3,4,b,2014-05-02\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := MakeProfile(t.Context(), profileOptions(t, path))
	if err != nil || p.Read != 3 || p.Profile.Rows != 2 || p.Rejected[Rejection{"too_large", ""}] != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}
