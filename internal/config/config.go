package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/internal/registry/objects"
	"millrace.dev/internal/secret"
	datasource "millrace.dev/internal/source"
	"millrace.dev/record"
)

// Pipeline is a pipeline file that was found to be right: every default is filled in, every path is absolute or
// relative to the working directory, never to the file.
type Pipeline struct {
	File string // as it was given to Load

	Version int
	Name    string
	Kafka   Kafka

	// Schema holds the fields of a record by type: time, numeric, enum, string, each in the order of the file. The
	// label is one of them where it is declared, and is never Required: streaming records do not have it.
	Schema   *record.Schema
	Source   Source
	Features []feature.Spec // in the order of the file
	// Inputs names what the model sees, in this order: the numeric fields, the enum fields, the features; without the
	// label and what train.ignore names.
	Inputs []string

	Tables  []Table          // in the order of the file
	Windows []feature.Window // in the order of the file

	Train      Train
	Model      Model
	Schedule   *Schedule // nil: none
	AB         *AB       // nil: none
	Canary     Canary
	Outcomes   *Outcomes // nil: none
	Sink       Sink
	DeadLetter DeadLetter
	Checks     Checks
	Samples    Samples
	State      State
	Shadow     Shadow
	Serve      Serve
	Query      Query
	Tests      []Test // in the order of the file

	Guarantee      Guarantee
	Group          string // the consumer group
	CommitInterval time.Duration
}

// Guarantee is how often a record's prediction is committed.
type Guarantee string

// The guarantees.
const (
	ExactlyOnce Guarantee = "exactly_once"
	AtLeastOnce Guarantee = "at_least_once"
)

// Kafka says how to reach the cluster.
type Kafka struct {
	Brokers []string // host:port, at least one
	TLS     TLS
	SASL    SASL
}

// TLS says how connections are encrypted. The files are empty where the file names none.
type TLS struct {
	Enabled                   bool
	CAFile, CertFile, KeyFile string
}

// SASL says how the client authenticates. Mechanism "" is not at all.
type SASL struct {
	Mechanism    string // plain, scram-sha-256 or scram-sha-512
	Username     string
	Password     secret.Text
	PasswordFile string // Password is empty where there is one
}

// Secret returns the password, which it reads from PasswordFile where there is one: at each call, since a mounted
// secret can change.
func (s *SASL) Secret() (secret.Text, error) {
	if s.PasswordFile == "" {
		return s.Password, nil
	}
	p, err := readSecret(s.PasswordFile)
	if err != nil {
		return secret.Text{}, fmt.Errorf("config: kafka.sasl.password_file: %w", err)
	}
	return p, nil
}

// Source is the topic that is read.
type Source struct {
	Topic          string
	Format         string // json
	MaxRecordBytes int    // of a record's value
	Start          string // where a new group begins: earliest or latest
	Key            string // the field whose text is the records' key; "" is not known
	EventTime      string // the time field that is the event time; "" is the records' timestamp
}

// Train says how a model is made.
type Train struct {
	Data   string // a path, a pattern of paths, or topic://NAME?from=A&to=B
	Labels Labels
	Where  string // the expression that keeps a row; "" keeps all
	Label  string // a numeric field
	// LabelUnit is the unit of the label, for people. Default: "", none.
	LabelUnit string
	Ignore    []string
	Split     Split
	GBM       gbm.Params
}

// Labels say where the label comes from. Data is "" where the training data has it.
type Labels struct {
	Data  string // as Train.Data
	Key   string // an enum or string field of the schema; "" is the key of the messages
	Field string // of that data; "" is the label's name
}

// Split is the random division of the training data. The fractions are above 0 and sum to 1.
type Split struct {
	Train, Validation, Test float64
	Seed                    uint64
}

// Model says where models are kept, which are taken, and how they are replaced.
type Model struct {
	Registry string // a folder
	Root     string // the file of the root document that is trusted; "" is none
	Update   Update
	Accept   *Accept      // nil: training has no gates
	Serve    *RemoteModel // nil: the model in the bundle predicts
}

// Update is how instances that run go over to another model.
type Update string

// The updates.
const (
	HotSwap       Update = "hot_swap"
	Rolling       Update = "rolling"
	RestartUpdate Update = "restart"
)

// ControlTopic returns the topic that says what the instances of the pipeline are to do, and StatusTopic the one in which they say
// how far they are.
func (p *Pipeline) ControlTopic() string { return cmp.Or(p.Group, p.Name) + "-control" }

// StatusTopic is described at ControlTopic.
func (p *Pipeline) StatusTopic() string { return cmp.Or(p.Group, p.Name) + "-status" }

// Controlled tells whether the pipeline does what its control topic says.
func (p *Pipeline) Controlled() bool {
	return p.Model.Update != RestartUpdate || p.Checks.Window != nil && p.Checks.Window.OnFail == OnFailPause
}

// Sink is the topic that predictions are written to.
type Sink struct {
	Topic  string
	Format string // json
	Field  string // that the prediction is added as
}

// Samples is the topic of what a stream knew of some of its records: see docs/skew.md.
type Samples struct {
	Topic string
	Rate  float64 // the share of the records, from 0, which is none, to 1
}

// Options says how a pipeline file is read.
type Options struct {
	// Set holds overrides of single keys, "train.gbm.ntrees=200", applied in order. The values are typed by the key and
	// taken as they are: no quotes, no variables. A list is given with commas. An empty value takes the key out, so that
	// its default holds.
	Set []string
	// Env looks up an environment variable. Default: os.LookupEnv.
	Env func(name string) (value string, set bool)
}

// Load reads the pipeline file at path. The error is [Problems] where the file, or an override, is wrong, or one of
// package os where it cannot be read.
func Load(path string, o Options) (*Pipeline, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return Parse(path, text, o)
}

func readFile(path string) ([]byte, error) {
	// Opening a named pipe waits for a writer, and no signal ends that.
	if i, err := os.Stat(path); err == nil && i.Mode()&os.ModeNamedPipe != 0 {
		return nil, fmt.Errorf("read %s: it is a named pipe: want a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return io.ReadAll(io.LimitReader(f, MaxFileSize+1))
}

// Parse is Load for a text that was read already. path is what problems name, and what relative paths start from; the
// file is not touched.
func Parse(path string, text []byte, o Options) (*Pipeline, error) {
	d := decoder{p: &Pipeline{File: path}, env: o.Env, dir: filepath.Dir(path), ps: &problemList{}, at: map[string]*node{}, keys: map[string]*node{}, failed: map[string]bool{}}
	if d.env == nil {
		d.env = os.LookupEnv
	}
	src := newSource(path, 0, string(text[:min(len(text), MaxFileSize)]))
	root := d.parse(src, len(text))
	if root == nil {
		return nil, d.ps.problems()
	}
	d.override(root, o.Set)
	d.root = root
	d.lint(d.fields(root, "", pipelineFields()))
	if err := d.ps.problems(); err != nil {
		return nil, err
	}
	return d.p, nil
}

func (d *decoder) parse(src *source, size int) *node {
	if size > MaxFileSize {
		d.ps.add(src, 0, 0, fmt.Sprintf("the file is larger than %d KiB", MaxFileSize>>10), "a pipeline file holds no data: is this the right file?")
		return nil
	}
	src.checkText(d.ps)
	if len(d.ps.list) > 0 {
		return nil
	}
	return parseYAML(src, d.ps)
}

// data returns where a name of data leads: a path or a pattern is relative to the file, a topic is none.
func (d *decoder) data(name string) string {
	if datasource.IsTopic(name) {
		return name
	}
	return d.path(name)
}

// registry decodes where a registry is. An address may have credentials in it by mistake: a wrong one is not shown.
func (d *decoder) registry(n *node, path string, v value) (value, bool) {
	if !objects.IsAddress(v.text) {
		v.text = d.path(v.text)
		return v, true
	}
	_, err := objects.ParseAddress(v.text)
	if err == nil {
		return v, true
	}
	message, hint := err.Error(), ""
	if e, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		hint = e.Hint()
		message = strings.TrimPrefix(strings.TrimSuffix(message, ": "+hint), objects.ErrSetup.Error()+": ")
	}
	n.src.mask(n.start)
	d.report(n, path+": "+message, hint)
	return v, false
}

// path returns where a path of the file leads.
func (d *decoder) path(p string) string {
	if p == "" || filepath.IsAbs(p) || d.dir == "." {
		return filepath.Clean(p)
	}
	return filepath.Join(d.dir, p)
}
