//go:build unix

package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"millrace.dev/e2e/leash"
	"millrace.dev/e2e/pypi"
	"millrace.dev/internal/devbroker"
	"millrace.dev/internal/house"
	"millrace.dev/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const pipelineFile = `version: 1
name: house-prices
kafka: {brokers: "${KAFKA_BROKERS}"}
schema:
  time: [date]
  numeric: [price, bedrooms, bathrooms, sqft_living, sqft_lot, floors, sqft_above, sqft_basement, yr_built, yr_renovated]
  enum: [waterfront, view, condition, city, statezip]
  string: [street, country]
  required: [sqft_living]
source: {topic: housing}
features:
  age: year(date) - yr_built
  living_share: sqft_living / sqft_lot
train:
  data: sales.csv
  label: price
  ignore: [date, street, country]
  gbm: {ntrees: 10, max_depth: 4}
sink: {topic: predictions, field: predicted_price}
dead_letter: {topic: housing.dlq}
`

const (
	sales   = 3000 // that the models are trained on
	records = 2000 // of the stream
)

// project is a folder with a model of scikit-learn that was trained on what millrace wrote, and what it predicts.
type project struct {
	t              *testing.T
	dir, bin       string
	python         string
	broker         *devbroker.Broker
	want           []float64 // of the stream's records, as Python has it
	gaps, unknowns int
}

// TestStream has records predicted by a model of scikit-learn behind the Open Inference Protocol, over HTTP and gRPC, and behind
// MLflow's, and compares each prediction with that of Python for the same rows: they are equal to the bit. A server that is killed
// meanwhile, and comes back, changes nothing.
func TestStream(t *testing.T) {
	python := pypi.Environment(t, "remote", "../../examples/remote/requirements.txt", "make remote")
	p := newProject(t, python)
	free := ports(t, 4)
	httpPort, grpcPort, metricsPort, mlflowPort := free[0], free[1], free[2], free[3]
	mlserver := p.server("mlserver", map[string]string{
		"MLSERVER_HOST": "127.0.0.1", "MLSERVER_HTTP_PORT": httpPort, "MLSERVER_GRPC_PORT": grpcPort, "MLSERVER_METRICS_PORT": metricsPort, "MLSERVER_PARALLEL_WORKERS": "0",
	}, "/v2/models/house-prices/ready", httpPort, filepath.Join(filepath.Dir(python), "mlserver"), "start", "model")
	mlflow := p.server("mlflow", nil, "/ping", mlflowPort, python, "-m", "mlflow", "models", "serve", "-m", "model/mlflow", "-h", "127.0.0.1", "-p", mlflowPort, "--env-manager", "local")
	mlserver.start()
	mlflow.start()
	for _, c := range []struct {
		protocol, url string
		server        *server
	}{
		{"oip", "http://127.0.0.1:" + httpPort, mlserver},
		{"oip-grpc", "http://127.0.0.1:" + grpcPort, mlserver},
		{"mlflow", "http://127.0.0.1:" + mlflowPort, mlflow},
	} {
		t.Run(c.protocol, func(t *testing.T) {
			p.stream(t, c.protocol, c.url, c.server)
		})
	}
}

// newProject trains, writes the features, and has Python train and predict.
func newProject(t *testing.T, python string) *project {
	t.Helper()
	g, err := house.New(house.Options{Seed: 7, History: sales})
	must(t, err)
	p := &project{t: t, dir: t.TempDir(), python: python}
	p.bin = filepath.Join(p.dir, "millrace")
	p.broker, err = devbroker.Start(t.Context(), devbroker.Options{Dir: filepath.Join(p.dir, "broker"), Addr: "127.0.0.1:0", Partitions: 1})
	must(t, err)
	t.Cleanup(func() { _ = p.broker.Close() })
	p.write("sales.csv", g.CSV(sales))
	p.write("pipeline.yaml", []byte(pipelineFile))
	var stream []byte
	for i := range int64(records) {
		sale := g.Sale(sales + i)
		line := sale.AppendListing(nil)
		switch i % 10 { // gaps, and levels that training has not seen
		case 3:
			line = bytes.Replace(line, fmt.Appendf(nil, `"sqft_lot": %d`, sale.SqftLot), []byte(`"sqft_lot": null`), 1)
		case 6:
			line = bytes.Replace(line, fmt.Appendf(nil, `"city": %q`, sale.City), []byte(`"city": "Atlantis"`), 1)
		}
		stream = append(append(stream, line...), '\n')
	}
	p.write("new.jsonl", stream)
	p.gaps, p.unknowns = bytes.Count(stream, []byte(`"sqft_lot": null`)), bytes.Count(stream, []byte("Atlantis"))
	if p.gaps == 0 || p.unknowns == 0 {
		t.Fatal("the records have no gaps: they are written in another way than was thought")
	}

	root := testenv.Root(t)
	p.ok("go", "build", "-C", root, "-o", p.bin, "./cmd/millrace")
	p.ok(p.bin, "train", "--by", "e2e")
	p.ok(p.bin, "model", "approve", "@candidate", "--by", "e2e", "--reason", "it is a test")
	p.ok(p.bin, "features", "--model", "@champion", "--out", "features.csv")
	p.ok(python, filepath.Join(root, "examples", "remote", "train.py"), "features.csv", "model")
	p.ok(p.bin, "features", "--model", "@champion", "--data", "new.jsonl", "--out", "new.csv")
	out := p.ok(python, filepath.Join(root, "e2e", "remote", "predict.py"), filepath.Join(root, "examples", "remote"), "model", "new.csv")
	must(t, json.Unmarshal(out, &p.want))
	if len(p.want) != records {
		t.Fatalf("Python has %d predictions for %d records", len(p.want), records)
	}
	must(t, p.broker.CreateTopic("housing", 1, nil))
	p.ok(p.bin, "produce", "housing", "--file", "new.jsonl", "--key", "id")
	return p
}

// stream runs the pipeline with a model on a server, kills the server, and compares.
func (p *project) stream(t *testing.T, protocol, url string, s *server) {
	t.Helper()
	topic, letters := "predictions."+protocol, "housing.dlq."+protocol
	for _, name := range []string{topic, letters} {
		must(t, p.broker.CreateTopic(name, 1, nil))
	}
	log, err := os.Create(filepath.Join(p.dir, protocol+".log"))
	must(t, err)
	run, err := leash.Start(leash.Command{
		Args: []string{
			p.bin, "run", "--set", "group=" + protocol, "--set", "sink.topic=" + topic, "--set", "dead_letter.topic=" + letters,
			"--set", "model.serve.url=" + url, "--set", "model.serve.protocol=" + protocol, "--set", "model.serve.batch=20", "--set", "model.serve.concurrency=2",
			"--set", "model.serve.timeout=5s",
		},
		Dir: p.dir, Env: p.env(), Stdout: log, Stderr: log,
	})
	must(t, err)
	must(t, log.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	defer func() {
		_ = run.End(context.Background(), syscall.SIGTERM) // it is on a leash
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s", text)
		}
	}()
	p.await(ctx, t, topic, 1)
	s.kill()
	s.start()
	got := p.await(ctx, t, topic, records)
	must(t, run.End(ctx, syscall.SIGTERM))
	if n := len(p.tap(letters)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	p.compare(t, got, url)
}

// prediction is a record as millrace tap prints it.
type prediction struct {
	Headers [][2]string `json:"headers"`
	Value   struct {
		Price *float64 `json:"predicted_price"`
	} `json:"value"`
}

func (r *prediction) header(key string) string {
	for _, h := range r.Headers {
		if h[0] == key {
			return h[1]
		}
	}
	return ""
}

// compare tells whether every record was predicted once, in its order, as Python does.
func (p *project) compare(t *testing.T, got []prediction, url string) {
	t.Helper()
	if len(got) != records {
		t.Fatalf("%d predictions for %d records", len(got), records)
	}
	wrong := 0
	for i, r := range got {
		if source := "housing/0/" + strconv.Itoa(i); r.header("millrace.source") != source || r.header("millrace.remote") != url {
			t.Fatalf("prediction %d has the headers %v: want that it is of %s by %s", i, r.Headers, source, url)
		}
		if r.Value.Price == nil || math.Float64bits(*r.Value.Price) != math.Float64bits(p.want[i]) {
			if wrong++; wrong < 4 {
				t.Errorf("record %d: got %v, want %v", i, r.Value.Price, p.want[i])
			}
		}
	}
	t.Logf("%d of %d predictions are Python's to the bit; %d records have a gap, %d a level of which the model knows nothing", records-wrong, records, p.gaps, p.unknowns)
}

// await returns the records of a topic once there are so many.
func (p *project) await(ctx context.Context, t *testing.T, topic string, n int) []prediction {
	t.Helper()
	for {
		got := p.tap(topic)
		if len(got) >= n {
			return got
		}
		if pause(ctx) != nil {
			t.Fatalf("%s has %d records, want %d", topic, len(got), n)
		}
	}
}

func (p *project) tap(topic string) []prediction {
	p.t.Helper()
	out := p.ok(p.bin, "tap", topic, "--until-end", "--json")
	var all []prediction
	for line := range bytes.Lines(out) {
		var r prediction
		must(p.t, json.Unmarshal(line, &r))
		all = append(all, r)
	}
	return all
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(200 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *project) env() []string {
	return append(os.Environ(), "KAFKA_BROKERS="+p.broker.Addr(), "PATH="+filepath.Dir(p.python)+":"+os.Getenv("PATH"), "CGO_ENABLED=0")
}

func (p *project) write(name string, data []byte) {
	p.t.Helper()
	must(p.t, os.WriteFile(filepath.Join(p.dir, name), data, 0o644))
}

// ok runs a command in the project's folder that has to succeed, and returns what it writes.
func (p *project) ok(args ...string) []byte {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env(), &out, &errs
	if err := cmd.Run(); err != nil {
		p.t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, &out, &errs)
	}
	return out.Bytes()
}

// server is a model server that can be killed and started again.
type server struct {
	p           *project
	name, ready string
	args, env   []string
	process     *leash.Process
}

// server returns a server that is well when it answers a path on a port.
func (p *project) server(name string, env map[string]string, path, port string, args ...string) *server {
	s := &server{p: p, name: name, ready: "http://127.0.0.1:" + port + path, args: args, env: p.env()}
	for key, value := range env {
		s.env = append(s.env, key+"="+value)
	}
	p.t.Cleanup(func() {
		if s.process != nil {
			s.kill()
		}
	})
	return s
}

// start starts the server and waits until it is well.
func (s *server) start() {
	t := s.p.t
	t.Helper()
	log, err := os.OpenFile(filepath.Join(s.p.dir, s.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(t, err)
	s.process, err = leash.Start(leash.Command{Args: s.args, Dir: s.p.dir, Env: s.env, Stdout: log, Stderr: log})
	must(t, err)
	must(t, log.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for !answers(ctx, s.ready) {
		if s.process.Ended() || pause(ctx) != nil {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("%s is not well:\n%s", s.name, text)
		}
	}
}

// kill kills the server, and what it has started.
func (s *server) kill() {
	_ = syscall.Kill(-s.process.Pid(), syscall.SIGKILL) // the group: MLflow's server is a child
	<-s.process.Done()
	s.process = nil
}

func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// ports returns ports that are free now.
func ports(t *testing.T, n int) []string {
	t.Helper()
	var free []string
	for range n {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		must(t, err)
		defer func() { must(t, l.Close()) }() // when all are found, so that none is found twice
		_, port, err := net.SplitHostPort(l.Addr().String())
		must(t, err)
		free = append(free, port)
	}
	return free
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
