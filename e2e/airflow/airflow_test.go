//go:build unix

package airflow

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"millrace.dev/internal/house"
	"millrace.dev/internal/testenv"
)

// gates are what the projects of the test add to the file that init writes.
const gates = `
model:
  accept:
    metrics: [{metric: mae, max: %d}]
    champion: {metric: rmse}
    profile: compatible
`

// interval selects the sales of the data interval.
const interval = `days_since(date, time("${DATA_INTERVAL_START:-1970-01-01}")) >= 0 and days_since(date, time("${DATA_INTERVAL_END:-2100-01-01}")) < 0`

// machine is where Airflow and millrace run.
type machine struct {
	t            *testing.T
	root         string // of the repository
	dir          string
	airflow, bin string
	env          []string
}

// TestDAG runs the example's DAG for a week with sales, for one without any, and with a gate that refuses.
func TestDAG(t *testing.T) {
	testenv.Asked(t, "airflow", "make airflow")
	m := newMachine(t)
	good, strict := m.project("good", 1_000_000), m.project("strict", 1)

	log, ok := m.dag(good, "2014-06-10T00:00:00Z") // a Tuesday
	m.want(ok, log, "running task <TaskInstance: millrace_train.report", "Returned value was: houses@1", "reports/houses@1.html", "task_id=report", "state=success, run_type=manual, data_interval_start=2014-06-02 01:00:00+00:00, data_interval_end=2014-06-09 01:00:00+00:00")
	var shown struct {
		State   string `json:"state"`
		Lineage struct {
			RunID string `json:"run_id"`
			From  string `json:"data_from"`
			To    string `json:"data_to"`
		} `json:"lineage"`
		Gates []struct {
			Gate   string `json:"gate"`
			Passed bool   `json:"passed"`
		} `json:"gates"`
	}
	m.show(good, "houses@1", &shown)
	if l := shown.Lineage; shown.State != "candidate" || !strings.HasPrefix(l.RunID, "manual__") || l.From != "2014-06-02T01:00:00Z" || l.To != "2014-06-09T01:00:00Z" || len(shown.Gates) != 4 {
		t.Errorf("%+v", shown)
	}
	if text, err := os.ReadFile(filepath.Join(good, "reports", "houses@1.html")); err != nil || !strings.Contains(string(text), "houses@1") {
		t.Errorf("the report: %v", err)
	}

	log, ok = m.dag(good, "2015-06-09T00:00:00Z")
	m.want(ok, log, "Command exited with return code 99", "new_state=skipped", "state=success, run_type=manual, data_interval_start=2015-06-01 01:00:00+00:00")
	m.notRun(log)

	log, ok = m.dag(strict, "2014-06-10T00:00:00Z")
	m.want(!ok, log, "houses@1: refused: gate metrics.mae: mae is", "and has to be at most 1", "AirflowFailException", "new_state=failed")
	m.notRun(log)
	m.show(strict, "houses@1", &shown)
	if shown.State != "rejected" {
		t.Errorf("%+v", shown)
	}
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, root: root, dir: t.TempDir(), airflow: filepath.Join(root, "bin", "airflow")}
	m.bin = filepath.Join(m.dir, "millrace")
	m.env = append(os.Environ(),
		"PATH="+m.dir+string(os.PathListSeparator)+os.Getenv("PATH"), "AIRFLOW_HOME="+filepath.Join(m.dir, "home"), "AIRFLOW__CORE__LOAD_EXAMPLES=False",
		"AIRFLOW__CORE__DAGS_FOLDER="+filepath.Join(root, "examples", "airflow", "dags"), "NO_COLOR=1", "MILLRACE_USER=airflow",
	)
	m.run(root, "go", "build", "-o", m.bin, "./cmd/millrace")
	m.run(root, filepath.Join(root, "examples", "airflow", "setup"), m.airflow)
	m.run(m.dir, m.command(), "db", "migrate")
	return m
}

func (m *machine) command() string { return filepath.Join(m.airflow, "bin", "airflow") }

// run runs a command that has to succeed, and returns its standard output.
func (m *machine) run(dir, name string, args ...string) string {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), name, args...)
	var out, log strings.Builder
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, m.env, &out, &log
	if err := cmd.Run(); err != nil {
		m.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.String(), log.String())
	}
	return out.String()
}

// project makes a project with sales, whose models may have an mae of most.
func (m *machine) project(name string, most int) string {
	m.t.Helper()
	g, err := house.New(house.Options{Seed: 1})
	if err != nil {
		m.t.Fatal(err)
	}
	text := []byte(house.CSVHeader)
	for i := range int64(6000) {
		s := g.Sale(i)
		text = s.AppendCSV(text)
	}
	data, dir := filepath.Join(m.dir, name+".csv"), filepath.Join(m.dir, name)
	if err := os.WriteFile(data, text, 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.run(m.dir, m.bin, "init", dir, "--from", data, "--label", "price", "--name", "houses")
	file := filepath.Join(dir, "pipeline.yaml")
	text, err = os.ReadFile(file)
	if err != nil {
		m.t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "  label:") {
			lines = append(lines, "  where: "+interval+"\n")
		}
		lines = append(lines, strings.ReplaceAll(line, "ntrees: 120", "ntrees: 15"))
	}
	if err := os.WriteFile(file, []byte(strings.Join(lines, "")+fmt.Sprintf(gates, most)), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return dir
}

// dag runs the DAG for the time, and returns what Airflow says and whether the run succeeded.
func (m *machine) dag(project, at string) (log string, ok bool) {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), m.command(), "dags", "test", "millrace_train", at)
	cmd.Dir, cmd.Env = m.dir, slices.Concat(m.env, []string{"MILLRACE_PROJECT=" + project})
	text, err := cmd.CombinedOutput()
	m.t.Logf("airflow dags test millrace_train %s: %v\n%s", at, err, told(string(text)))
	return string(text), err == nil && strings.Contains(string(text), "state=success, run_type=manual")
}

// told returns the lines of Airflow's log that say what came of a run.
func told(log string) string {
	var lines []string
	for line := range strings.Lines(log) {
		for _, what := range []string{"SubprocessHook", "Returned value", "AirflowFailException", "DagRun Finished"} {
			if strings.Contains(line, what) {
				lines = append(lines, line[:min(len(line), 400)])
				break
			}
		}
	}
	return strings.Join(lines, "\n")
}

func (m *machine) want(ok bool, log string, texts ...string) {
	m.t.Helper()
	if !ok {
		m.t.Errorf("the run came to another end:\n%s", log)
	}
	for _, x := range texts {
		if !strings.Contains(log, x) {
			m.t.Errorf("the log does not hold %q:\n%s", x, log)
		}
	}
}

// notRun wants that no report was made.
func (m *machine) notRun(log string) {
	m.t.Helper()
	if strings.Contains(log, "running task <TaskInstance: millrace_train.report") {
		m.t.Errorf("a report was made:\n%s", log)
	}
}

// show reads what is known of a model.
func (m *machine) show(project, ref string, into any) {
	m.t.Helper()
	if err := json.Unmarshal([]byte(m.run(project, m.bin, "model", "show", ref, "--json")), into); err != nil {
		m.t.Fatal(err)
	}
}
