//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"millrace.dev/e2e/kafkatest"
	"millrace.dev/e2e/leash"
	"millrace.dev/e2e/torture"
	"millrace.dev/internal/house"
)

const pipelineFile = `version: 1
name: house-prices
kafka:
  brokers: ${KAFKA_BROKERS}
schema:
  time: [date]
  numeric: [price, bedrooms, bathrooms, sqft_living, sqft_lot, floors, sqft_above, sqft_basement, yr_built, yr_renovated]
  enum: [waterfront, view, condition, city, statezip]
  string: [street, country]
  required: [sqft_living]
source: {topic: housing}
features:
  age: year(date) - yr_built
  renovated: yr_renovated > 0
  living_share: sqft_living / sqft_lot
train:
  data: sales.csv
  where: price > 0 and price < 5000000
  label: price
  ignore: [date, street, country]
  gbm: {ntrees: 40, max_depth: 5, learn_rate: 0.1, min_rows: 10, label_transform: log}
sink: {topic: predictions, field: predicted_price}
dead_letter: {topic: housing.dlq}
`

// The sales that the model is trained on; the records of the stream are other ones.
const history = 3000

const (
	group    = "house-prices"
	letterID = "housing.dlq"
)

// project is a folder with a pipeline file and an approved model, whose pipeline runs on a cluster.
type project struct {
	binary, dir, logs string
	cluster           *kafkatest.Cluster
	topics            torture.Topics
	generator         *house.Generator
	started           int // instances
}

// newProject makes a project: the binary trains on generated sales, and its model is approved.
func newProject(t *testing.T, c *kafkatest.Cluster, seed uint64) *project {
	t.Helper()
	g, err := house.New(house.Options{Seed: seed, History: history})
	must(t, err)
	logs := filepath.Join(t.ArtifactDir(), "instances")
	must(t, os.Mkdir(logs, 0o755))
	p := &project{
		binary: binary(t), dir: t.TempDir(), logs: logs, cluster: c, generator: g,
		topics: torture.Topics{Source: "housing", Predictions: "predictions", DeadLetters: letterID},
	}
	must(t, os.WriteFile(p.path("sales.csv"), g.CSV(history), 0o644))
	must(t, os.WriteFile(p.path("pipeline.yaml"), []byte(pipelineFile), 0o644))
	p.ok(t, "train", "--json", "--by", "e2e")
	p.ok(t, "model", "approve", "@candidate", "--by", "e2e", "--reason", "it is a test")
	return p
}

func (p *project) path(name string) string { return filepath.Join(p.dir, name) }

func (p *project) env() []string {
	return append(os.Environ(), "KAFKA_BROKERS="+strings.Join(p.cluster.Bootstrap(), ","))
}

// outcome is how a command ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// run runs a command of the binary to its end.
func (p *project) run(ctx context.Context, t *testing.T, args ...string) outcome {
	t.Helper()
	cmd := exec.CommandContext(ctx, p.binary, args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env(), &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("millrace %s: %v\n%s%s", strings.Join(args, " "), err, &out, &errs)
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// killed runs a command of the binary and kills it when ctx ends, if it has not ended before.
func (p *project) killed(ctx context.Context, t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, p.binary, args...)
	cmd.Dir, cmd.Env = p.dir, p.env()
	if err := cmd.Run(); err != nil && ctx.Err() == nil && cmd.ProcessState.ExitCode() != 99 { // there was nothing left to do
		t.Fatalf("millrace %s: %v", strings.Join(args, " "), err)
	}
}

// ok runs a command of the binary that has to succeed.
func (p *project) ok(t *testing.T, args ...string) {
	t.Helper()
	o := p.run(deadline(t, 2*time.Minute), t, args...)
	if o.code != 0 {
		t.Fatalf("millrace %s: exit status %d\n%s%s", strings.Join(args, " "), o.code, o.stdout, o.stderr)
	}
}

// instance is a process that runs the pipeline.
type instance struct {
	id       string
	proc     *leash.Process
	out, err string // files
}

// start starts an instance; more are arguments of run. It is killed at the end of the test, at the latest.
func (p *project) start(t *testing.T, id string, more ...string) *instance {
	t.Helper()
	return p.startCommand(t, []string{"run"}, id, more...)
}

// startCommand is start for another command of the binary.
func (p *project) startCommand(t *testing.T, command []string, id string, more ...string) *instance {
	t.Helper()
	args := append([]string{p.binary}, command...)
	args = append(args, "--instance-id", id, "--json", "--http", "127.0.0.1:0")
	return p.launch(t, id, append(args, more...)...)
}

// launch is start with all of the command.
func (p *project) launch(t *testing.T, id string, args ...string) *instance {
	t.Helper()
	p.started++
	base := filepath.Join(p.logs, fmt.Sprintf("%02d-%s", p.started, id))
	i := &instance{id: id, out: base + ".out", err: base + ".err"}
	out, err := os.Create(i.out)
	must(t, err)
	defer out.Close() //nolint:errcheck // the child has its own
	errs, err := os.Create(i.err)
	must(t, err)
	defer errs.Close() //nolint:errcheck // the child has its own
	i.proc, err = leash.Start(leash.Command{Args: args, Dir: p.dir, Env: p.env(), Stdout: out, Stderr: errs})
	must(t, err)
	t.Cleanup(func() {
		if err := i.proc.End(context.Background(), syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("--- instance %s, %s\n%s", id, filepath.Base(base), tail(i.log(), 30))
		}
	})
	return i
}

// log returns what the instance has written to its standard error.
func (i *instance) log() string {
	b, err := os.ReadFile(i.err)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// count returns how often the instance has logged a text.
func (i *instance) count(text string) int { return strings.Count(i.log(), text) }

// tail returns the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// says waits until the instance has logged a text n times.
func (i *instance) says(ctx context.Context, text string, n int) error {
	err := poll(ctx, func() (bool, error) {
		if i.count(text) >= n {
			return true, nil
		}
		if i.proc.Ended() {
			return false, fmt.Errorf("it ended: %v", i.proc.State())
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("instance %s does not say %q: %w", i.id, text, err)
	}
	return nil
}

// kill ends the instance at once.
func (i *instance) kill(ctx context.Context) error { return i.proc.End(ctx, syscall.SIGKILL) }

// exit waits until the instance ends by itself, and returns its exit status.
func (i *instance) exit(ctx context.Context) (int, error) {
	select {
	case <-i.proc.Done():
		return i.proc.State().ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("instance %s does not end: %w", i.id, ctx.Err())
	}
}

// terminate ends the instance in good order, and returns how long that took.
func (i *instance) terminate(ctx context.Context) (time.Duration, error) {
	const patience = 30 * time.Second // it takes a fraction of a second when the machine has nothing else to do
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	if err := i.proc.End(ctx, syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("instance %s: %w", i.id, err)
	}
	d := time.Since(began)
	if code := i.proc.State().ExitCode(); code != 143 {
		return d, fmt.Errorf("instance %s: exit status %d after SIGTERM, want 143: %v", i.id, code, i.proc.State())
	}
	return d, nil
}

// summary is what run --json prints at the end.
type summary struct {
	Records     uint64            `json:"records"`
	Predictions uint64            `json:"predictions"`
	DeadLetters map[string]uint64 `json:"dead_letters"` // by stage/class
}

func (i *instance) summary(t *testing.T) summary {
	t.Helper()
	text, err := os.ReadFile(i.out)
	must(t, err)
	var s summary
	if err := json.Unmarshal([]byte(tail(string(text), 1)), &s); err != nil {
		t.Fatalf("instance %s: last line of standard output: %v: %q", i.id, err, text)
	}
	return s
}

// get asks the instance's monitoring address for a path.
func (i *instance) get(ctx context.Context, path string) (int, string, error) {
	m := regexp.MustCompile(`msg=monitoring address=(\S+)`).FindStringSubmatch(i.log())
	if m == nil {
		return 0, "", fmt.Errorf("instance %s has no monitoring address", i.id)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m[1]+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// client returns a client of the cluster that is closed with the test.
func (p *project) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(p.cluster.Bootstrap()...)}, opts...)...)
	must(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// admin returns an administrator of the cluster that is closed with the test.
func (p *project) admin(t *testing.T) *kadm.Client {
	t.Helper()
	return kadm.NewClient(p.client(t))
}

// createTopics creates the topics of the pipeline; settings are those of the source topic.
func (p *project) createTopics(ctx context.Context, t *testing.T, partitions int, settings map[string]string) {
	t.Helper()
	must(t, p.cluster.CreateTopic(ctx, p.topics.Source, partitions, settings))
	for _, topic := range []string{p.topics.Predictions, p.topics.DeadLetters} {
		must(t, p.cluster.CreateTopic(ctx, topic, partitions, nil))
	}
}

// settled waits until the group has n members that have all partitions, and each of them some.
func settled(ctx context.Context, admin *kadm.Client, topic string, partitions, n int) error {
	last := "no answer"
	err := poll(ctx, func() (bool, error) {
		gs, err := admin.DescribeGroups(ctx, group)
		if err != nil {
			last = err.Error()
			return false, nil //nolint:nilerr // it is asked again until ctx is done
		}
		g := gs[group]
		total, empty := 0, 0
		for _, m := range g.Members {
			own := 0
			if a, ok := m.Assigned.AsConsumer(); ok {
				for _, t := range a.Topics {
					if t.Topic == topic {
						own += len(t.Partitions)
					}
				}
			}
			total += own
			if own == 0 {
				empty++
			}
		}
		last = fmt.Sprintf("%s, %d members, %d without partitions, %d partitions", g.State, len(g.Members), empty, total)
		return g.State == "Stable" && len(g.Members) == n && total == partitions && empty == 0, nil
	})
	if err != nil {
		return fmt.Errorf("group %s: %s: %w", group, last, err)
	}
	return nil
}
