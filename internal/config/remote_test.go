package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/remote"
)

func TestRemoteModel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want *RemoteModel
	}{
		{"", nil},
		{"model: {serve: {url: 'http://scorer:8080'}}", &RemoteModel{
			URL: "http://scorer:8080", Protocol: remote.OIP, Model: "house-prices", Tensors: remote.Columns, Timeout: time.Second, Batch: 256, Concurrency: 4,
			Retries: -1, OnFailure: PauseOnFailure,
		}},
		{"model: {serve: {url: 'https://scorer', protocol: predict, fallback: '@champion', tls: {ca_file: ca.pem}, token_file: t}}", &RemoteModel{
			URL: "https://scorer", Protocol: remote.Predict, Model: "house-prices", Version: RegistryVersion, Output: "prediction", Tensors: remote.Columns, Timeout: time.Second,
			Batch: 256, Concurrency: 4, Retries: 2, OnFailure: FallbackOnFailure, Fallback: "@champion", TLS: TLS{CAFile: "ca.pem"}, TokenFile: "t",
		}},
		{"model: {serve: {url: 'http://s/base', protocol: mlflow, model: m, output: y, timeout: 200ms, batch: 32, concurrency: 2, retries: 0, on_failure: dead_letter, hosts: [s, 10.0.0.0/8]}}", &RemoteModel{
			URL: "http://s/base", Protocol: remote.MLflow, Model: "m", Output: "y", Tensors: remote.Columns, Timeout: 200 * time.Millisecond, Batch: 32, Concurrency: 2,
			OnFailure: DeadLetterOnFailure, Hosts: []string{"s", "10.0.0.0/8"},
		}},
	} {
		p, err := Parse("x.yaml", []byte(canaryFile+c.text+"\n"), Options{})
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if d := cmp.Diff(c.want, p.Model.Serve); d != "" {
			t.Errorf("%s:\n%s", c.text, d)
		}
	}
}

func TestBadRemoteModel(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"serve: {protocol: oip}":                                             "url",
		"serve: {url: scorer:8080}":                                          "no address of a server",
		"serve: {url: 'http://user:hunter2@scorer'}":                         "credentials",
		"serve: {url: 'http://scorer?x=1'}":                                  "more than a path",
		"serve: {url: 'http://s', protocol: grpc}":                           "protocol",
		"serve: {url: 'http://s', tls: {ca_file: x}}":                        "not https",
		"serve: {url: 'https://s', tls: {cert_file: x}}":                     "together",
		"serve: {url: 'http://s', on_failure: fallback}":                     "together",
		"serve: {url: 'http://s', on_failure: pause, fallback: '@champion'}": "together",
		"serve: {url: 'http://s', retries: 3}":                               "for ever",
		"serve: {url: 'http://s', protocol: mlflow, tensors: matrix}":        "Open Inference Protocol",
		"serve: {url: 'http://s', protocol: predict, version: '3'}":          "both sides",
		"serve: {url: 'http://s', protocol: predict, output: y}":             "sink.field",
		"serve: {url: 'http://s', timeout: 0s}":                              "a duration from",
		"serve: {url: 'http://s', batch: 0}":                                 "from 1",
	} {
		_, err := Parse("x.yaml", []byte(canaryFile+"model: {"+text+"}\n"), Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
