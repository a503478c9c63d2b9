package config

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/secret"
	"millrace.dev/record"
)

var update = flag.Bool("update", false, "write the golden files and the reference") //nolint:gochecknoglobals // a flag of the test binary

// asProblems returns the problems that err holds, or nil.
func asProblems(err error) Problems {
	ps, _ := errors.AsType[Problems](err)
	return ps
}

// golden compares got with the file at path, which it writes under -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); if this is intended, run the test with -update:\n%s", path, diff)
	}
}

// directives reads the options of a test file from its comments: "#set key=value" and "#env NAME=value".
func directives(text string) Options {
	env := map[string]string{}
	var o Options
	for line := range strings.Lines(text) {
		if set, ok := strings.CutPrefix(line, "#set "); ok {
			o.Set = append(o.Set, strings.TrimSuffix(set, "\n"))
		}
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "#env "); ok {
			name, value, _ := strings.Cut(v, "=")
			env[name] = value
		}
	}
	o.Env = lookup(env)
	return o
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}
}

// TestBad holds the messages for bad files: all of them, sorted, with carets and hints.
func TestBad(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), text, directives(string(text)))
			ps := asProblems(err)
			if len(ps) == 0 {
				t.Fatalf("no problems: %v", err)
			}
			var b strings.Builder
			if err := ps.WriteText(&b, false); err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", b.String())
		})
	}
}

const house = `
version: 1
name: house-prices
kafka:
  brokers: ${KAFKA_BROKERS:-localhost:9092}
  tls: {enabled: true, ca_file: ca.pem}
  sasl: {mechanism: scram-sha-512, username: millrace, password: "${PW}"}
schema:
  string: [street]
  enum: [city, statezip]
  numeric: [price, sqft_living, {name: sqft_lot, quoted: true}]
  time:
    - {name: date, layouts: [2006-01-02], zone: America/Los_Angeles}
  required: [sqft_lot]
source:
  topic: housing
features:
  zip: statezip[3:]
  share: sqft_living / sqft_lot
train:
  data: data/houses.csv
  where: price > 0
  label: price
  ignore: [date, street, zip]
  gbm: {ntrees: 120, label_transform: log, learn_rate: 0.05}
sink: {topic: predictions, field: price}
dead_letter: {topic: housing.dlq}
commit_interval: 250ms
`

func TestParse(t *testing.T) {
	t.Parallel()
	p, err := Parse("dir/pipeline.yaml", []byte(house), Options{Env: lookup(map[string]string{"PW": "hunter2", "KAFKA_BROKERS": "a:1, [::1], c"})})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := record.NewSchema(
		record.Field{Name: "date", Type: record.Time, Layouts: []string{"2006-01-02"}, Zone: "America/Los_Angeles"},
		record.Field{Name: "price", Type: record.Numeric},
		record.Field{Name: "sqft_living", Type: record.Numeric},
		record.Field{Name: "sqft_lot", Type: record.Numeric, Quoted: true, Required: true},
		record.Field{Name: "city", Type: record.Enum},
		record.Field{Name: "statezip", Type: record.Enum},
		record.Field{Name: "street", Type: record.String},
	)
	if err != nil {
		t.Fatal(err)
	}
	params := gbmDefaults()
	params.NTrees, params.LabelTransform, params.LearnRate = 120, gbm.TransformLog, 0.05
	want := &Pipeline{
		File: "dir/pipeline.yaml", Version: 1, Name: "house-prices",
		Kafka: Kafka{
			Brokers: []string{"a:1", "[::1]:9092", "c:9092"},
			TLS:     TLS{Enabled: true, CAFile: "dir/ca.pem"},
			SASL:    SASL{Mechanism: "scram-sha-512", Username: "millrace", Password: secret.New("hunter2")},
		},
		Schema:   schema,
		Source:   Source{Topic: "housing", Format: "json", MaxRecordBytes: 1 << 20, Start: "earliest"},
		Features: []feature.Spec{{Name: "zip", Expr: "statezip[3:]"}, {Name: "share", Expr: "sqft_living / sqft_lot"}},
		Inputs:   []string{"sqft_living", "sqft_lot", "city", "statezip", "share"},
		Train: Train{
			Data: "dir/data/houses.csv", Where: "price > 0", Label: "price", Ignore: []string{"date", "street", "zip"},
			Split: Split{0.7, 0.2, 0.1, 42}, GBM: params,
		},
		Model: Model{Registry: "dir/models", Update: HotSwap},
		Sink:  Sink{Topic: "predictions", Format: "json", Field: "price"},
		Serve: defaultServe(), Query: Query{Limits: defaultServe().Limits},
		Canary: Canary{
			Steps: []float64{0.01, 0.1, 0.5, 1}, Hold: 10 * time.Minute, MinRecords: 200, Timeout: 24 * time.Hour, Lease: 2 * time.Minute, Alpha: 0.05,
			Guards: Guards{Without: []string{}, Errors: 0.005, Latency: 2, Drift: 0.1, DriftChange: 0.5, Loss: 0.02, LossMetric: MetricRMSE},
		},
		DeadLetter: DeadLetter{
			Topic: "housing.dlq", Compat: "none",
			Breaker: Breaker{Rate: 0.05, Records: 200, Over: time.Minute, Consecutive: 50, Retry: time.Minute},
		},
		Samples: Samples{Topic: "house-prices.features"},
		State:   State{Dir: "dir/state/house-prices"},
		Shadow: Shadow{
			Topic: "house-prices.shadow", DeadLetter: "house-prices.shadow.dlq", Group: "house-prices-shadow", StateDir: "dir/state/house-prices-shadow",
		},
		Guarantee: ExactlyOnce, Group: "house-prices", CommitInterval: 250 * time.Millisecond,
	}
	sameSchema := cmp.Comparer(func(a, b *record.Schema) bool {
		x, errX := json.Marshal(a)
		y, errY := json.Marshal(b)
		return errX == nil && errY == nil && string(x) == string(y)
	})
	if diff := cmp.Diff(want, p, sameSchema, cmp.AllowUnexported(secret.Text{}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "pipeline.yaml")
	if _, err := Load(path, Options{}); !errors.Is(err, fs.ErrNotExist) || asProblems(err) != nil {
		t.Errorf("missing file: %v", err)
	}
	text := strings.ReplaceAll(house, `password: "${PW}"`, "password_file: secrets/kafka")
	if err := Create(path, []byte(text), false); err != nil {
		t.Fatal(err)
	}
	p, err := Load(path, Options{Set: []string{"model.registry=/var/lib/models"}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Train.Data != filepath.Join(dir, "data/houses.csv") || p.Model.Registry != "/var/lib/models" {
		t.Errorf("paths: %s, %s", p.Train.Data, p.Model.Registry)
	}
	span, labels := "topic://housing?from=2014-05-01T00:00:00+02:00&to=offset:0=7,1=9", "old/2014-*.csv.gz"
	q, err := Load(path, Options{Set: []string{"train.data=" + span, "train.labels.data=" + labels, "train.labels.key=street"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Labels{Data: filepath.Join(dir, labels), Key: "street"}); q.Train.Data != span || q.Train.Labels != want {
		t.Errorf("data %s, labels %+v", q.Train.Data, q.Train.Labels)
	}
	if _, err := p.Kafka.SASL.Secret(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "password_file") {
		t.Errorf("no secret: %v", err)
	}
	if err := Create(p.Kafka.SASL.PasswordFile, []byte("hunter2\n"), false); err != nil {
		t.Fatal(err)
	}
	if s, err := p.Kafka.SASL.Secret(); err != nil || s.Reveal() != "hunter2" {
		t.Errorf("secret: %v, %v", s.Reveal(), err)
	}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "pipeline.yaml")
	for _, step := range []struct {
		text      string
		overwrite bool
		want      string
		err       error
	}{
		{"one", false, "one", nil},
		{"two", false, "one", fs.ErrExist},
		{"three", true, "three", nil},
	} {
		if err := Create(path, []byte(step.text), step.overwrite); !errors.Is(err, step.err) {
			t.Errorf("%s: %v", step.text, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != step.want {
			t.Errorf("%s: the file holds %q, %v", step.text, got, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
}

func TestFileTooLarge(t *testing.T) {
	t.Parallel()
	ps := asProblems(func() error {
		_, err := Parse("p.yaml", []byte(house+strings.Repeat("#\n", MaxFileSize/2)), Options{})
		return err
	}())
	if len(ps) != 1 || !strings.Contains(ps[0].Message, "larger than 1024 KiB") {
		t.Errorf("%v", ps)
	}
}

func TestTooManyProblems(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(house)
	for i := range 2 * maxProblems {
		b.WriteString("k" + strings.Repeat("x", i) + ": 1\n")
	}
	_, err := Parse("p.yaml", []byte(b.String()), Options{Env: lookup(map[string]string{"PW": "x"})})
	ps := asProblems(err)
	if len(ps) != maxProblems+1 || !strings.HasPrefix(ps[maxProblems].Message, "too many problems") {
		t.Errorf("%d problems, the last: %s", len(ps), ps[len(ps)-1].Message)
	}
}

func BenchmarkParse(b *testing.B) {
	env := lookup(map[string]string{"PW": "x"})
	b.SetBytes(int64(len(house)))
	for b.Loop() {
		if _, err := Parse("p.yaml", []byte(house), Options{Env: env}); err != nil {
			b.Fatal(err)
		}
	}
}
