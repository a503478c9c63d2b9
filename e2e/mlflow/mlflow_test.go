//go:build unix

package mlflow

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace.dev/e2e/leash"
	"millrace.dev/e2e/pypi"
	"millrace.dev/internal/house"
	"millrace.dev/internal/testenv"
)

const how = "make mlflow"

const pipelineFile = `version: 1
name: house-prices
kafka: {brokers: 127.0.0.1:1}
schema:
  time: [date]
  numeric: [price, bedrooms, bathrooms, sqft_living, sqft_lot, floors, sqft_above, sqft_basement, yr_built, yr_renovated]
  enum: [waterfront, view, condition, city, statezip]
  string: [street, country]
source: {topic: housing}
train:
  data: sales.csv
  where: price > 0
  label: price
  ignore: [date, street, country, waterfront, view, condition, city, statezip]
  gbm: {ntrees: 10, max_depth: 4, min_rows: 10}
sink: {topic: predictions, field: predicted_price}
dead_letter: {topic: housing.dlq}
`

const history = 2000 // sales

// project is a folder with a pipeline file, sales and the binary.
type project struct {
	t        *testing.T
	dir, bin string
	env      []string
}

func newProject(t *testing.T) *project {
	t.Helper()
	p := &project{t: t, dir: t.TempDir(), env: append(os.Environ(), "MILLRACE_USER=e2e", "PYTHONDONTWRITEBYTECODE=1", "NO_COLOR=1")}
	p.bin = filepath.Join(p.dir, "millrace")
	g, err := house.New(house.Options{Seed: 8, History: history})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"pipeline.yaml": []byte(pipelineFile), "sales.csv": g.CSV(history)} {
		if err := os.WriteFile(filepath.Join(p.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.run("go", "build", "-C", testenv.Root(t), "-o", p.bin, "./cmd/millrace")
	return p
}

// try runs a command, and returns what it wrote and whether it succeeded.
func (p *project) try(name string, args ...string) (out, log string, ok bool) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), name, args...)
	var stdout, stderr strings.Builder
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env, &stdout, &stderr
	err := cmd.Run()
	return stdout.String(), stderr.String(), err == nil
}

// run runs a command that has to succeed, and returns its standard output.
func (p *project) run(name string, args ...string) string {
	p.t.Helper()
	out, log, ok := p.try(name, args...)
	if !ok {
		p.t.Fatalf("%s %s:\n%s%s", name, strings.Join(args, " "), out, log)
	}
	return out
}

func (p *project) millrace(args ...string) string {
	p.t.Helper()
	return p.run(p.bin, args...)
}

// start starts a server, and returns what its log says that matches, and how to end it.
func (p *project) start(ready *regexp.Regexp, args ...string) (said string, end func()) {
	p.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	server, err := leash.Start(leash.Command{Args: args, Dir: p.dir, Env: p.env, Stdout: w, Stderr: w})
	_ = w.Close()
	if err != nil {
		p.t.Fatal(err)
	}
	found, done := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(done)
		var log strings.Builder
		for lines := bufio.NewScanner(r); lines.Scan(); {
			log.WriteString(lines.Text() + "\n")
			if m := ready.FindStringSubmatch(lines.Text()); m != nil && len(found) == 0 {
				found <- m[1]
			}
		}
		_ = os.WriteFile(filepath.Join(p.t.ArtifactDir(), filepath.Base(args[0])+".log"), []byte(log.String()), 0o600)
		close(found)
	}()
	end = func() {
		_ = server.End(p.t.Context(), syscall.SIGTERM)
		<-done
		_ = r.Close()
	}
	p.t.Cleanup(func() {
		_ = server.Signal(syscall.SIGKILL)
		<-server.Done()
		<-done
	})
	select {
	case said = <-found:
	case <-time.After(3 * time.Minute):
	}
	if said == "" {
		p.t.Fatalf("%s does not start: its log is in %s", args[0], p.t.ArtifactDir())
	}
	return said, end
}

func (p *project) serve(flags ...string) (url string, end func()) {
	p.t.Helper()
	args := append([]string{p.bin, "serve", "--http", "127.0.0.1:0", "pipeline.yaml"}, flags...)
	return p.start(regexp.MustCompile(` at (http://127\.0\.0\.1:\d+)`), args...)
}

// same wants a model to predict the sales as the lines of want say, bit for bit.
func (p *project) same(ref, want string) {
	p.t.Helper()
	rows, err := csv.NewReader(strings.NewReader(p.millrace("predict", "--model", ref, "--data", "sales.csv"))).ReadAll()
	if err != nil {
		p.t.Fatal(err)
	}
	wanted := strings.Fields(want)
	if len(rows) != 1+history || len(wanted) != history {
		p.t.Fatalf("%d and %d lines, want %d", len(rows), len(wanted), history)
	}
	for i, w := range wanted {
		row := rows[1+i]
		want, err1 := strconv.ParseFloat(w, 64)
		got, err2 := strconv.ParseFloat(row[len(row)-1], 64)
		if err := errors.Join(err1, err2); err != nil || got != want {
			p.t.Fatalf("sale %d: %v, Python says %v: %v", i, got, want, err)
		}
	}
}

// TestClient has the client of PyPI list, search, fetch, tag and alias the models of millrace serve.
func TestClient(t *testing.T) {
	python := pypi.Environment(t, "mlflow-client", "requirements-client.txt", how)
	p := newProject(t)
	for _, trees := range []string{"10", "11", "12"} {
		p.millrace("train", "--set", "train.gbm.ntrees="+trees)
	}
	p.millrace("model", "approve", "@1", "--by", "anna", "--reason", "looked at")
	p.millrace("model", "reject", "@2", "--by", "anna", "--reason", "too few trees")
	script, err := filepath.Abs("client.py")
	if err != nil {
		t.Fatal(err)
	}
	check := func(phase string, flags ...string) {
		t.Helper()
		url, end := p.serve(flags...)
		defer end()
		out, log, ok := p.try(python, script, url, phase)
		t.Logf("%s: %s", phase, out)
		if !ok {
			t.Errorf("not all checks have passed: %s", log)
		}
	}
	check("first")
	var events []struct {
		Action string `json:"action"`
		Actor  string `json:"actor"`
	}
	if err := json.Unmarshal([]byte(p.millrace("model", "log", "--json")), &events); err != nil {
		t.Fatal(err)
	}
	notes := 0
	for _, e := range events {
		if e.Action == "note" && e.Actor != "" {
			notes++
		}
	}
	if notes < 10 {
		t.Errorf("the audit log has %d notes: %v", notes, events)
	}
	if shown := p.millrace("model", "show", "@1"); !strings.Contains(shown, "\n  tags\n    the rows: 3000\n") {
		t.Errorf("model show: %s", shown)
	}
	p.millrace("model", "verify")
	p.millrace("model", "approve", "@3", "--by", "anna", "--reason", "looked at")
	p.millrace("model", "promote", "@3", "--by", "anna", "--reason", "better", "--set", "model.update=restart")
	check("again")

	var token struct {
		Token string `json:"token"`
		Line  string `json:"line"`
	}
	if err := json.Unmarshal([]byte(p.millrace("token", "new", "vera", "--roles", "viewer", "--json")), &token); err != nil {
		t.Fatal(err)
	}
	tokens := filepath.Join(p.dir, "tokens")
	if err := os.WriteFile(tokens, []byte(token.Line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("stranger", "--set", "serve.auth.tokens_file="+tokens)
	p.env = append(p.env, "MLFLOW_TRACKING_TOKEN="+token.Token)
	check("viewer", "--set", "serve.auth.tokens_file="+tokens)
}

// TestImport imports from a real MLflow server what a Python script has logged there.
func TestImport(t *testing.T) {
	python := pypi.Environment(t, "mlflow-server", "requirements-server.txt", how)
	p := newProject(t)
	p.millrace("train")
	p.millrace("model", "export", "@1", "--bundle", "house-prices.millrace")
	script, err := filepath.Abs("log_models.py")
	if err != nil {
		t.Fatal(err)
	}
	url, end := p.start(regexp.MustCompile(`Uvicorn running on (http://127\.0\.0\.1:\d+)`), filepath.Join(filepath.Dir(python), "mlflow"), "server",
		"--host", "127.0.0.1", "--port", "0", "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "artifacts")
	defer end()
	p.run(python, script, url, "sales.csv", "house-prices.millrace")
	at := "mlflow://" + strings.TrimPrefix(url, "http://")

	if err := os.Rename(filepath.Join(p.dir, "models"), filepath.Join(p.dir, "elsewhere")); err != nil { // the bundle is to come from there
		t.Fatal(err)
	}
	var v struct {
		Model  string `json:"model"`
		State  string `json:"state"`
		Digest string `json:"digest"`
		Log    []struct {
			Reason string `json:"reason"`
		} `json:"log"`
	}
	p.millrace("model", "import", at+"/bundles@good", "--by", "anna")
	if err := json.Unmarshal([]byte(p.millrace("model", "show", "house-prices@1", "--json")), &v); err != nil {
		t.Fatal(err)
	}
	if v.State != "candidate" || len(v.Log) != 1 || !strings.HasPrefix(v.Log[0].Reason, "imported from "+at+"/bundles/1, run ") {
		t.Errorf("%+v", v)
	}
	p.env = append(p.env, "MLFLOW_TRACKING_URI="+url)
	for i, format := range []string{"lightgbm", "xgboost"} {
		ref := fmt.Sprint("house-prices@", 2+i)
		p.millrace("model", "import", "models:/"+format+"/1", "--by", "anna")
		var forest struct {
			Lineage struct {
				Imported struct {
					Format string `json:"format"`
					Name   string `json:"name"`
				} `json:"imported"`
			} `json:"lineage"`
		}
		if err := json.Unmarshal([]byte(p.millrace("model", "show", ref, "--json")), &forest); err != nil {
			t.Fatal(err)
		}
		if i := forest.Lineage.Imported; i.Format != format || !strings.HasPrefix(i.Name, at+"/"+format+"/1, run ") {
			t.Errorf("%+v", forest)
		}
		p.same(ref, p.run(python, script, url, format, "sales.csv"))
	}

	for name, parts := range map[string][]string{
		"models:/pickled/1":  {"it has the flavors python_function, sklearn", "mlflow models serve", "model.serve"},
		"models:/wrapped/1":  {"saved as", "mlflow.lightgbm.log_model(model.booster_"},
		"models:/nothing/1":  {"404"},
		"models:/bundles@eu": {"eu"},
	} {
		_, log, ok := p.try(p.bin, "model", "import", name, "--by", "anna")
		for _, part := range parts {
			if ok || !strings.Contains(log, part) {
				t.Errorf("%s: want %q: %s", name, part, log)
			}
		}
	}
}
