package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/remote"
	"millrace.dev/internal/secret"
)

// RemoteModel says where a model is that another server has, and how it is called: see docs/remote_models.md.
type RemoteModel struct {
	URL      string
	Protocol remote.Protocol
	Model    string // as the server calls it
	Version  string // on the server; "" is the one that it chooses, RegistryVersion that of the registry's model
	Output   string // of the model; "" is the only one
	Tensors  remote.Tensors
	Timeout  time.Duration // of a call
	Batch    int           // records of a call, at most
	// Concurrency is how many calls are under way for a partition, at most.
	Concurrency int
	Retries     int // of a call, where OnFailure is not to pause
	OnFailure   OnRemoteFailure
	Fallback    string // the model of the registry that predicts instead; "" is none
	TokenFile   string // "" is none
	TLS         TLS    // the files; Enabled is what the URL says
	Hosts       []string
}

// RegistryVersion asks a server for the version that the registry's model has: for millrace serve.
const RegistryVersion = "registry"

// OnRemoteFailure is what becomes of records when the server of their model does not answer.
type OnRemoteFailure string

// What can become of them.
const (
	PauseOnFailure      OnRemoteFailure = "pause"       // they wait in the topic until it does
	DeadLetterOnFailure OnRemoteFailure = "dead_letter" // they are dead letters
	FallbackOnFailure   OnRemoteFailure = "fallback"    // another model predicts them
)

// Bound tells whether calls name the version of the registry's model, so that its answer is of that model.
func (m *RemoteModel) Bound() bool {
	return m.Protocol == remote.Predict || m.Version == RegistryVersion
}

// Token returns the bearer token, which it reads from TokenFile at each call, since a mounted secret can change.
func (m *RemoteModel) Token() (secret.Text, error) {
	t, err := readSecret(m.TokenFile)
	if err != nil {
		return secret.Text{}, fmt.Errorf("config: model.serve.token_file: %w", err)
	}
	return t, nil
}

// The bounds of a remote model.
const (
	defaultRemoteBatch       = 256
	defaultRemoteConcurrency = 4
)

// setRemote changes the remote model, which it makes where there is none.
func setRemote(set func(*RemoteModel, value)) func(*Pipeline, value) {
	return func(p *Pipeline, v value) {
		if p.Model.Serve == nil {
			p.Model.Serve = &RemoteModel{}
		}
		set(p.Model.Serve, v)
	}
}

// remoteField is model.serve. Defaults are filled in by lintRemote: a default here would make a remote model of none.
func remoteField() field {
	var protocols []string
	for _, p := range remote.Protocols() {
		protocols = append(protocols, string(p))
	}
	return field{
		key: "serve", kind: kindMapping, doc: "A model on another server that predicts instead of the one in the bundle, with the inputs that the bundle's plan computes: see [remote models](../remote_models.md)",
		fields: []field{
			{
				key: "url", kind: kindText, required: true, example: "http://scorer:8080",
				doc: "The server, `http://HOST:PORT` or `https://HOST:PORT`; a path goes before that of the protocol. Credentials have no place in it",
				set: setRemote(func(m *RemoteModel, v value) { m.URL = v.text }),
			},
			{
				key: "protocol", kind: kindText, allowed: protocols, defDoc: "oip",
				doc: "How the server is spoken to: oip, the Open Inference Protocol, of KServe, Triton, MLServer and millrace serve; oip-grpc, the same over gRPC; predict of millrace serve, which gets the records as they came; mlflow, of mlflow models serve; sagemaker",
				set: setRemote(func(m *RemoteModel, v value) { m.Protocol = remote.Protocol(v.text) }),
			},
			{
				key: "model", kind: kindText, defDoc: "the name of the pipeline", example: "house-prices",
				doc: "What the server calls the model",
				set: setRemote(func(m *RemoteModel, v value) { m.Model = v.text }),
			},
			{
				key: "version", kind: kindText, defDoc: "the one that the server chooses; for predict: registry", example: RegistryVersion,
				doc: "The model's version on the server; registry is the number that the model of this pipeline has in its registry, for millrace serve",
				set: setRemote(func(m *RemoteModel, v value) { m.Version = v.text }),
			},
			{
				key: "output", kind: kindText, defDoc: "the only one", example: "predict",
				doc: "The output of the model that is the prediction",
				set: setRemote(func(m *RemoteModel, v value) { m.Output = v.text }),
			},
			{
				key: "tensors", kind: kindText, allowed: []string{string(remote.Columns), string(remote.Matrix)}, defDoc: "columns",
				doc: "How inputs are sent over the Open Inference Protocol: columns, a tensor for each; or matrix, one tensor of numbers with a column for each",
				set: setRemote(func(m *RemoteModel, v value) { m.Tensors = remote.Tensors(v.text) }),
			},
			{
				key: "timeout", kind: kindDuration, least: float64(time.Millisecond), most: float64(10 * time.Minute), defDoc: "1s",
				doc: "How long a call may take",
				set: setRemote(func(m *RemoteModel, v value) { m.Timeout = v.time }),
			},
			{
				key: "batch", kind: kindInteger, bounded: true, least: 1, most: 10_000, defDoc: "256",
				doc: "How many records go in a call at most; a record does not wait for others",
				set: setRemote(func(m *RemoteModel, v value) { m.Batch = int(v.integer) }),
			},
			{
				key: "concurrency", kind: kindInteger, bounded: true, least: 1, most: 1000, defDoc: "4",
				doc: "How many calls are under way for a partition at most; predictions are written in the order of the records all the same",
				set: setRemote(func(m *RemoteModel, v value) { m.Concurrency = int(v.integer) }),
			},
			{
				key: "retries", kind: kindInteger, bounded: true, least: 0, most: 100, defDoc: "2",
				doc: "How often a call is made again before on_failure; pause goes on for ever",
				set: setRemote(func(m *RemoteModel, v value) { m.Retries = int(v.integer) }),
			},
			{
				key: "on_failure", kind: kindText, allowed: []string{string(PauseOnFailure), string(DeadLetterOnFailure), string(FallbackOnFailure)}, defDoc: "pause; fallback where that is given",
				doc: "What becomes of records when the server does not answer: pause, they wait in the topic; dead_letter; fallback, another model predicts them",
				set: setRemote(func(m *RemoteModel, v value) { m.OnFailure = OnRemoteFailure(v.text) }),
			},
			{
				key: "fallback", kind: kindText, defDoc: "none", example: "@champion",
				doc: "The approved model of the registry that predicts records instead, chosen when the pipeline starts; @champion is the one whose plan computes the inputs",
				set: setRemote(func(m *RemoteModel, v value) { m.Fallback = v.text }),
			},
			{
				key: "token_file", kind: kindPath, defDoc: "none",
				doc: "The file that holds the bearer token of the calls; a line break at its end is not part of it",
				set: setRemote(func(m *RemoteModel, v value) { m.TokenFile = v.text }),
			},
			{key: "tls", kind: kindMapping, doc: "Certificates, for a server with https", fields: []field{
				{
					key: "ca_file", kind: kindPath, defDoc: "the certificate authorities of the system",
					doc: "The certificates of the authorities that the server is checked against, PEM",
					set: setRemote(func(m *RemoteModel, v value) { m.TLS.CAFile = v.text }),
				},
				{
					key: "cert_file", kind: kindPath, defDoc: "none", doc: "The certificate that the pipeline shows, PEM",
					set: setRemote(func(m *RemoteModel, v value) { m.TLS.CertFile = v.text }),
				},
				{
					key: "key_file", kind: kindPath, defDoc: "none", doc: "The key of that certificate, PEM",
					set: setRemote(func(m *RemoteModel, v value) { m.TLS.KeyFile = v.text }),
				},
			}},
			{
				key: "hosts", kind: kindList, commas: true, defDoc: "the host of the URL, wherever it leads but to addresses that no model has: link-local ones, those of cloud metadata",
				doc:  "What may be called: names, addresses and networks. The address is checked after the name was resolved, and is the one that is called",
				item: &field{kind: kindText, doc: "A host, an address or a network"},
				set:  setRemote(func(m *RemoteModel, v value) { m.Hosts = v.texts() }),
			},
		},
	}
}

// checkRemoteURL checks the form of a URL. Where it may lead is checked when it is called.
func checkRemoteURL(text string) *fault {
	u, err := url.Parse(text)
	const hint = "write it as http://HOST:PORT or https://HOST:PORT"
	switch {
	case err == nil && u.User != nil:
		return &fault{"it has credentials in it", "put a token in a file, and name that as token_file"}
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return &fault{"it is no address of a server", hint}
	case u.RawQuery != "" || u.Fragment != "":
		return &fault{"it has more than a path", hint}
	}
	return nil
}

// lintRemote fills in the defaults of model.serve, and checks what belongs together.
func (d *decoder) lintRemote() {
	const at = "model.serve"
	m := d.p.Model.Serve
	if m == nil || d.failed[at] {
		return
	}
	m.setDefaults(d)
	if f := checkRemoteURL(m.URL); f != nil && m.URL != "" {
		n := d.at[at+".url"]
		n.src.mask(n.start) // there may be credentials in it, by mistake
		d.report(n, at+".url: "+f.message, f.hint)
	}
	if (m.TLS.CertFile == "") != (m.TLS.KeyFile == "") {
		d.reportKey(at+".tls", at+".tls needs cert_file and key_file together", "")
	}
	if m.TLS != (TLS{}) && !strings.HasPrefix(m.URL, "https:") {
		d.reportKey(at+".tls", at+".tls has certificates, and the server is called without them: its url is not https", "")
	}
	if (m.OnFailure == FallbackOnFailure) != (m.Fallback != "") {
		d.reportKey(at, at+" needs on_failure: fallback and the fallback together", "name the model, such as fallback: \"@champion\"")
	}
	if m.OnFailure == PauseOnFailure && d.at[at+".retries"] != nil {
		d.reportAt(at+".retries", at+".retries: with on_failure: pause a call is made again for ever", "leave it out")
	}
	if d.at[at+".tensors"] != nil && m.Protocol != remote.OIP && m.Protocol != remote.OIPgRPC {
		d.reportAt(at+".tensors", at+".tensors is for the Open Inference Protocol", "leave it out")
	}
	if m.Protocol != remote.Predict {
		return
	}
	if m.Version != RegistryVersion {
		d.reportAt(at+".version", at+".version: the protocol predict asks for the version that the registry's model has, since features are computed on both sides", "leave it out")
	}
	if d.at[at+".output"] != nil {
		d.reportAt(at+".output", at+".output: millrace serve answers with sink.field", "leave it out")
	}
	m.Output = d.p.Sink.Field
	if len(d.p.Windows) > 0 || d.p.Partitioned() != nil {
		d.reportAt(at+".protocol", at+".protocol: a server that gets the records alone has neither windows nor the rows of partitioned tables", "use the protocol oip, which sends what they come to")
	}
}

func (m *RemoteModel) setDefaults(d *decoder) {
	if m.Protocol == "" {
		m.Protocol = remote.OIP
	}
	if m.Model == "" {
		m.Model = d.p.Name
	}
	if m.Tensors == "" {
		m.Tensors = remote.Columns
	}
	if m.Protocol == remote.Predict && m.Version == "" {
		m.Version = RegistryVersion
	}
	if m.Timeout == 0 {
		m.Timeout = time.Second
	}
	if m.Batch == 0 {
		m.Batch = defaultRemoteBatch
	}
	if m.Concurrency == 0 {
		m.Concurrency = defaultRemoteConcurrency
	}
	if m.OnFailure == "" {
		m.OnFailure = PauseOnFailure
		if m.Fallback != "" {
			m.OnFailure = FallbackOnFailure
		}
	}
	switch {
	case m.OnFailure == PauseOnFailure:
		m.Retries = -1
	case d.at["model.serve.retries"] == nil:
		m.Retries = 2
	}
	m.Hosts = slices.Clip(m.Hosts)
}
