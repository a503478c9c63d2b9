package remote

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/secret"
)

// TestSigV4 signs the requests of AWS's published test suite (https://github.com/awslabs/aws-c-auth, Apache 2.0: a part of
// tests/aws-signing-test-suite/v4, without those with a query or a path that has to be made plain first).
func TestSigV4(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/sigv4/*.request")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d requests, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".request")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, body := readVector(t, file)
			who := credentials{id: "AKIDEXAMPLE", key: secret.New("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")}
			signed, err := os.ReadFile(strings.TrimSuffix(file, ".request") + ".signed")
			if err != nil {
				t.Fatal(err)
			}
			if token := line(signed, "X-Amz-Security-Token:"); token != "" {
				who.session = secret.New(token)
			}
			if line(signed, "x-amz-content-sha256:") != "" {
				req.Header.Set("X-Amz-Content-Sha256", hash(body))
			}
			who.sign(req, body, "us-east-1", "service", time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC))
			if got, want := req.Header.Get("Authorization"), line(signed, "Authorization:"); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if got := req.Header.Get("X-Amz-Date"); got != "20150830T123600Z" {
				t.Errorf("the date is %s", got)
			}
		})
	}
}

func line(text []byte, prefix string) string {
	for l := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(l, prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// readVector reads a request of the suite. Its lengths are headers like any other there.
func readVector(t *testing.T, file string) (*http.Request, []byte) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := bytes.Cut(text, []byte("\n\n"))
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(string(bytes.TrimSpace(head)), "\n", "\r\n") + "\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	if line(text, "Content-Length:") != "" {
		req.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	return req, body
}

// TestSageMaker signs calls of endpoints of AWS, and only these.
func TestSageMaker(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ host, region string }{
		{"runtime.sagemaker.eu-central-1.amazonaws.com", "eu-central-1"},
		{"runtime-fips.sagemaker.us-east-1.amazonaws.com", "us-east-1"},
		{"runtime.sagemaker.cn-north-1.amazonaws.com.cn", "cn-north-1"},
		{"vpce-0a1b-c2d3.runtime.sagemaker.us-west-2.vpce.amazonaws.com", "us-west-2"},
		{"runtime.sagemaker.us-east-1.api.aws", "us-east-1"},
		{"runtime.sagemaker.us-east-1.amazonaws.com.evil.example", ""},
		{"runtime.sagemaker.amazonaws.com", ""},
		{"evil.example", ""},
		{"xruntime.sagemaker.us-east-1.amazonaws.com", ""},
	} {
		if region, ok := awsRegion(c.host); region != c.region || ok != (c.region != "") {
			t.Errorf("%s: region %q, %t", c.host, region, ok)
		}
	}
	const host = "runtime.sagemaker.eu-central-1.amazonaws.com"
	environ := map[string]string{"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "canary", "AWS_SESSION_TOKEN": "session"}
	for _, c := range []struct {
		name string
		o    Options
		env  map[string]string
		path string // that is called; "" is that New refuses
	}{
		{"a URL", Options{URL: "https://" + host + "/endpoints/houses/invocations"}, environ, "/endpoints/houses/invocations"},
		{"a name", Options{URL: "https://" + host, Model: "houses"}, environ, "/endpoints/houses/invocations"},
		{"no name", Options{URL: "https://" + host}, environ, ""},
		{"a wrong name", Options{URL: "https://" + host, Model: "houses/../x"}, environ, ""},
		{"not encrypted", Options{URL: "http://" + host, Model: "houses"}, environ, ""},
		{"no credentials", Options{URL: "https://" + host, Model: "houses"}, nil, ""},
		{"a token too", Options{URL: "https://" + host, Model: "houses", Token: func() (secret.Text, error) { return secret.New("x"), nil }}, environ, ""},
		{"a container", Options{URL: "http://10.0.0.1"}, nil, "/invocations"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.o.Protocol = SageMaker
			out := theWorld()
			out.environ = func(name string) string { return c.env[name] }
			m, err := newModel(c.o, out)
			if err != nil {
				if c.path != "" || strings.Contains(err.Error(), "canary") {
					t.Errorf("got %v", err)
				}
				return
			}
			defer m.Close()
			sm, ok := m.caller.(*sageMakerCaller)
			if !ok || sm.t.place.path+sm.path != c.path {
				t.Fatalf("got %+v, want %s", m.caller, c.path)
			}
			if signs := sm.t.sign != nil; signs != (c.env != nil) {
				t.Fatalf("it signs: %t", signs)
			}
			if sm.t.sign == nil {
				return
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.o.URL, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "text/csv")
			sm.t.sign(req, []byte("1\n"))
			if a := req.Header.Get("Authorization"); !strings.Contains(a, "/eu-central-1/sagemaker/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, ") || strings.Contains(a, "canary") {
				t.Errorf("got %s", a)
			}
		})
	}
}
