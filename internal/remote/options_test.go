package remote

import (
	"errors"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/secret"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func TestOptions(t *testing.T) {
	t.Parallel()
	const url = "http://models.example"
	for _, c := range []struct {
		name string
		o    Options
		want string // in the error; "" is none
	}{
		{"mlflow", Options{URL: url, Protocol: MLflow}, ""},
		{"oip", Options{URL: url, Protocol: OIP, Model: "m"}, ""},
		{"oip-grpc", Options{URL: url, Protocol: OIPgRPC, Model: "m", Tensors: Matrix}, ""},
		{"predict", Options{URL: url, Protocol: Predict, Model: "m", Version: "3", Output: "price"}, ""},
		{"no protocol", Options{URL: url}, "there is no protocol"},
		{"another protocol", Options{URL: url, Protocol: "soap"}, "there is no protocol"},
		{"no model", Options{URL: url, Protocol: OIP}, "model.serve.model"},
		{"no version", Options{URL: url, Protocol: Predict, Model: "m", Output: "price"}, "version"},
		{"no field", Options{URL: url, Protocol: Predict, Model: "m", Version: "3"}, "field"},
		{"a model of dots", Options{URL: url, Protocol: OIP, Model: ".."}, "dots"},
		{"tensors", Options{URL: url, Protocol: OIP, Model: "m", Tensors: "rows"}, "tensors"},
		{"a time-out", Options{URL: url, Protocol: MLflow, Timeout: -time.Second}, "negative"},
		{"connections", Options{URL: url, Protocol: MLflow, Connections: -1}, "negative"},
		{"TLS without TLS", Options{URL: url, Protocol: MLflow, TLS: TLS{CAFile: "ca"}}, "https://"},
		{"hosts", Options{URL: url, Protocol: MLflow, Hosts: []string{"*.a"}}, "no name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, err := New(c.o)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				m.Close()
				return
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.Class != Forbidden || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if m != nil {
				t.Error("a model beside an error")
			}
		})
	}
}

// TestSecretsAreNotTold has a token, and records, that no error may tell, in whatever way a call fails.
func TestSecretsAreNotTold(t *testing.T) {
	t.Parallel()
	const canary = "canary-7f3a"
	token := func(text string) func() (secret.Text, error) {
		return func() (secret.Text, error) { return secret.New(text), nil }
	}
	echo := func(status int) http.HandlerFunc { // as servers do that say what they did not like
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Location", "/"+canary)
			w.Header().Set("Retry-After", canary)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, r.Header.Get("Authorization")+string(body))
		}
	}
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, buffer, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			_, _ = buffer.WriteString(answer)
			_ = buffer.Flush()
			_ = conn.Close()
		}
	}
	handlers := map[string]http.HandlerFunc{
		"garbage": raw("HTTP/9.9 " + canary + "\r\n\r\n"), "no status": raw("HTTP/1.1 2" + canary + " OK\r\n\r\n"),
		"header": raw("HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n"), "length": raw("HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n"),
		"chunk": raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + canary + "\r\n"), "encoding": raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + canary + "\r\n\r\n"),
		"redirect": echo(302), "refused": echo(400), "unknown": echo(404), "forbidden": echo(401), "failed": echo(500), "unavailable": echo(503), "not JSON": echo(200),
	}
	for name, h := range handlers {
		for _, p := range Protocols() {
			t.Run(name+"/"+string(p), func(t *testing.T) {
				t.Parallel()
				o := Options{URL: serve(t, h), Protocol: p, Model: "m", Version: "1", Output: "y", Token: token(canary)}
				r := houses()
				r.Frame.Columns[1].Levels = []string{canary, canary, canary}
				r.Value = func(int) []byte { return []byte(`{"x": "` + canary + `"}`) }
				m := model(t, o)
				a, err := m.Score(t.Context(), r)
				if err == nil {
					t.Fatalf("got %+v", a)
				}
				told(t, err, canary)
			})
		}
	}
	t.Run("tokens", func(t *testing.T) {
		t.Parallel()
		for _, text := range []string{canary + "\n", canary + "\r\nX: y", canary + "é", ""} {
			_, err := model(t, Options{URL: "http://127.0.0.1:1", Protocol: MLflow, Token: token(text)}).Score(t.Context(), houses())
			if e, ok := errors.AsType[*Error](err); !ok || e.Class != Forbidden {
				t.Errorf("a token that is none: %v", err)
			}
			told(t, err, canary)
		}
	})
}

func told(t *testing.T, err error, canary string) {
	t.Helper()
	text := err.Error()
	if e, ok := errors.AsType[*Error](err); ok {
		text += e.Hint
	}
	if strings.Contains(text, canary) {
		t.Errorf("the error tells a secret: %s", text)
	}
}
