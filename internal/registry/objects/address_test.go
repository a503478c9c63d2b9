package objects

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Address{
		"s3://models":                     {Bucket: "models"},
		"s3://models/":                    {Bucket: "models"},
		"s3://models/team/a/":             {Bucket: "models", Prefix: "team/a/"},
		"s3://my.models?region=eu-west-1": {Bucket: "my.models", Region: "eu-west-1"},
		"s3://models/x?endpoint=http://127.0.0.1:9000&region=r":           {Bucket: "models", Prefix: "x/", Endpoint: "http://127.0.0.1:9000", Region: "r"},
		"s3://models/x?endpoint=https%3A%2F%2Fstore.example.com/":         {Bucket: "models", Prefix: "x/", Endpoint: "https://store.example.com"},
		"s3://models/x?region=r&endpoint=https://store.example.com:9000/": {Bucket: "models", Prefix: "x/", Endpoint: "https://store.example.com:9000", Region: "r"},
	} {
		got, err := ParseAddress(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(text, diff, err)
			continue
		}
		again, err := ParseAddress(got.String())
		if again != got || err != nil {
			t.Error(got, again, err)
		}
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"s3://key:hunter2@models/x":                           "holds credentials",
		"s3://models/x?endpoint=http://key:hunter2@host":      "holds credentials",
		"s3://models?secret_key=hunter2":                      `has the parameter "secret_key"`,
		"s3://models?endpoint=https://a&endpoint=https://b":   `has the parameter "endpoint"`,
		"s3://models?endpoint=host:9000":                      "is not the address of a server",
		"s3://models?endpoint=ftp://host":                     "is not the address of a server",
		"s3://models?endpoint=https://host/path":              "is not the address of a server",
		"s3://":                                               "is not the name of a bucket",
		"s3://Models":                                         "is not the name of a bucket",
		"s3://m":                                              "is not the name of a bucket",
		"s3://models:80":                                      "is not the name of a bucket",
		"s3://models/a/../b":                                  "cannot begin the names of objects",
		"s3://models/a//b":                                    "cannot begin the names of objects",
		"s3://models/a b":                                     "cannot begin the names of objects",
		"s3://models?region=Frankfurt am Main":                "is not a region",
		"s3://models#x":                                       "is not an address",
		"s3://models/%zz":                                     "is not an address",
		"gs://models":                                         `of kind "gs"`,
		"https://models.s3.amazonaws.com/x?X-Amz-Sig=hunter2": `of kind "https"`,
	} {
		_, err := Open(text)
		if !errors.Is(err, ErrSetup) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
