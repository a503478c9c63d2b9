package remote

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"millrace.dev/internal/secret"
	"millrace.dev/record"
)

// model returns the model at a server.
func model(t *testing.T, o Options) Model {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// serve starts a server that is no model.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// houses returns a request for three rows of two columns: the last has nothing, the first is not asked for.
func houses() *Request {
	return &Request{
		Frame: &record.Frame{Rows: 4, Columns: []record.Column{
			{Name: `living "area"`, Type: record.Numeric, Numbers: []float64{1, 0.1, 2e300, math.NaN()}},
			{Name: "zip", Type: record.Enum, Codes: []int32{0, 1, 2, -1}, Levels: []string{"98001", `9"8,0`, ""}},
		}},
		Rows: []int{1, 2, 3},
		Value: func(row int) []byte {
			return fmt.Appendf(nil, `{"id":%d}`, row)
		},
		Digest:      "sha256:aa",
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Tracestate: "a=b",
	}
}

func TestProtocols(t *testing.T) {
	t.Parallel()
	split := `{"dataframe_split":{"columns":["living \"area\"","zip"],"data":[[0.1,"9\"8,0"],[2e+300,""],[null,null]]}}`
	csv := "0.1,\"9\"\"8,0\"\n2e+300,\"\"\n,\n"
	records := `[{"id":1},{"id":2},{"id":3}]`
	none := &record.Problem{Stage: record.StageScore, Class: "not_finite", Reason: "the prediction is not a finite number"}
	for _, c := range []struct {
		name     string
		o        Options
		path     string // of the URL
		called   string
		body     string
		typ      string
		answer   string
		want     []float64
		problems []*record.Problem
		model    string
	}{
		{
			"mlflow: numbers",
			Options{Protocol: MLflow},
			"", "/invocations", split,
			"", `{"predictions": [1.5, -2, 1e3]}`,
			[]float64{1.5, -2, 1e3},
			nil, "",
		},
		{
			"mlflow: lists of one",
			Options{Protocol: MLflow},
			"/", "/invocations", split,
			"", ` { "x": {"predictions": []}, "predictions" : [[1] , [2],[ 3 ]], "y": [true] } `,
			[]float64{1, 2, 3},
			nil, "",
		},
		{
			"mlflow: objects",
			Options{Protocol: MLflow},
			"/serving-endpoints/a/invocations", "/serving-endpoints/a/invocations", split,
			"", `{"predictions": [{"0": 1}, {"0": 2}, {"0": NaN}]}`,
			[]float64{1, 2, math.NaN()},
			[]*record.Problem{nil, nil, none},
			"",
		},
		{
			"mlflow: a column among several",
			Options{Protocol: MLflow, Output: "price"},
			"/a", "/a/invocations", split,
			"", `{"predictions": [{"label": "x", "price": 1}, {"price": 2, "label": {"y": [1]}}, {"\u0070rice": 3}]}`,
			[]float64{1, 2, 3},
			nil, "",
		},
		{
			"mlflow: lists by column",
			Options{Protocol: MLflow, Output: "price"},
			"", "/invocations", split,
			"", `{"predictions": {"label": ["x"], "price": [1, null, Infinity]}}`,
			[]float64{1, math.NaN(), math.Inf(1)},
			[]*record.Problem{nil, none, none},
			"",
		},
		{
			"mlflow: a classifier",
			Options{Protocol: MLflow},
			"", "/invocations", split,
			"", `{"predictions": [true, false, true]}`,
			[]float64{1, 0, 1},
			nil, "",
		},
		{
			"sagemaker: CSV by line",
			Options{Protocol: SageMaker},
			"", "/invocations", csv,
			"text/csv; charset=utf-8", "1\n2.5\r\n-3e2\n",
			[]float64{1, 2.5, -300},
			nil, "",
		},
		{
			"sagemaker: CSV in a line",
			Options{Protocol: SageMaker},
			"", "/invocations", csv,
			"text/csv", "1,nan, -inf",
			[]float64{1, math.NaN(), math.Inf(-1)},
			[]*record.Problem{nil, none, none},
			"",
		},
		{
			"sagemaker: a list",
			Options{Protocol: SageMaker},
			"/x/invocations", "/x/invocations", csv,
			"application/json", "[1,2,3]",
			[]float64{1, 2, 3},
			nil, "",
		},
		{
			"sagemaker: the linear learner",
			Options{Protocol: SageMaker, Output: "score"},
			"", "/invocations", csv,
			"application/json", `{"predictions": [{"score": 1, "predicted_label": 0}, {"score": 2}, {"score": 3}]}`,
			[]float64{1, 2, 3},
			nil, "",
		},
		{
			"predict",
			Options{Protocol: Predict, Model: "house prices", Version: "3", Output: "price"},
			"/a/b/", "/a/b/predict/house%20prices/versions/3", records,
			"", `{"predictions":[{"record":{"id":1,"price":0.1}},{"problem":{"stage":"check","class":"sold","field":"price","reason":"the record breaks a rule"}},
				{"record":{"price":3,"x":{"price":9},"y":[{"price":8}]}}],"model":"house prices@3","digest":"sha256:aa"}`,
			[]float64{0.1, 0, 3},
			[]*record.Problem{nil, {Stage: "check", Class: "sold", Field: "price", Reason: "the record breaks a rule"}, nil},
			"house prices@3",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var called, body string
			var header http.Header
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				called, body, header = r.URL.EscapedPath(), string(b), r.Header
				if c.typ != "" {
					w.Header().Set("Content-Type", c.typ)
				}
				_, _ = io.WriteString(w, c.answer)
			})
			c.o.URL = url + c.path
			c.o.Token = func() (secret.Text, error) { return secret.New("a-token"), nil }
			a, err := model(t, c.o).Score(t.Context(), houses())
			if err != nil {
				t.Fatal(err)
			}
			if called != c.called || body != c.body {
				t.Errorf("called %s with %s, want %s with %s", called, body, c.called, c.body)
			}
			for name, want := range map[string]string{"Authorization": "Bearer a-token", "Traceparent": houses().Traceparent, "Tracestate": "a=b", "Accept-Encoding": "", "Cookie": ""} {
				if header.Get(name) != want {
					t.Errorf("%s: %q", name, header.Get(name))
				}
			}
			if diff := cmp.Diff(c.want, a.Scores, cmpopts.EquateNaNs()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.problems, a.Problems); diff != "" {
				t.Error(diff)
			}
			if a.Model != c.model {
				t.Errorf("the model is %q", a.Model)
			}
		})
	}
}

const good = `{"predictions": [1, 2, 3]}`

// hijacked answers with bytes, and closes the connection.
func hijacked(t *testing.T, w http.ResponseWriter, answer string, reset bool) {
	conn, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = buffer.WriteString(answer)
	_ = buffer.Flush()
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func TestFaults(t *testing.T) {
	t.Parallel()
	text := func(status int, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	_, _ = zip.Write(make([]byte, 1<<20))
	_ = zip.Close()
	raw := func(answer string, reset bool) func(*testing.T) http.HandlerFunc {
		return func(t *testing.T) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { hijacked(t, w, answer, reset) }
		}
	}
	plain := func(h http.HandlerFunc) func(*testing.T) http.HandlerFunc {
		return func(*testing.T) http.HandlerFunc { return h }
	}
	for _, c := range []struct {
		name string
		h    func(*testing.T) http.HandlerFunc
		want Class
	}{
		{"500", plain(text(500, "")), Failed},
		{"507", plain(text(507, "")), Failed},
		{"501", plain(text(501, "")), Invalid},
		{"503", plain(text(503, "")), Unavailable},
		{"429", plain(text(429, "", "Retry-After", "3600")), Unavailable},
		{"408", plain(text(408, "")), Unavailable},
		{"400", plain(text(400, "")), Refused},
		{"413", plain(text(413, "")), Refused},
		{"422", plain(text(422, "")), Refused},
		{"404", plain(text(404, "")), Invalid},
		{"415", plain(text(415, "")), Invalid},
		{"401", plain(text(401, "")), Forbidden},
		{"403", plain(text(403, "")), Forbidden},
		{"302", plain(text(302, "", "Location", "http://169.254.169.254/")), Forbidden},
		{"308", plain(text(308, "", "Location", "/other")), Forbidden},
		{"204", plain(text(204, "")), Invalid},
		{"206", plain(text(206, good)), Invalid},
		{"empty", plain(text(200, "")), Invalid},
		{"too few", plain(text(200, `{"predictions": [1, 2]}`)), Invalid},
		{"too many", plain(text(200, `{"predictions": [1, 2, 3, 4]}`)), Invalid},
		{"none", plain(text(200, `{"prediction": [1, 2, 3]}`)), Invalid},
		{"twice", plain(text(200, `{"predictions": [1, 2, 3], "predictions": [1, 2, 3]}`)), Invalid},
		{"wrong shape", plain(text(200, `{"predictions": [[1, 2], [2, 3], [3, 4]]}`)), Invalid},
		{"wrong type", plain(text(200, `{"predictions": ["1", "2", "3"]}`)), Invalid},
		{"many outputs", plain(text(200, `{"predictions": [{"a": 1, "b": 2}, {"a": 1, "b": 2}, {"a": 1, "b": 2}]}`)), Invalid},
		{"something behind", plain(text(200, good+"x")), Invalid},
		{"half of the JSON", plain(text(200, good[:len(good)/2])), Invalid},
		{"HTML", plain(text(200, "<html>a proxy is in the way</html>")), Invalid},
		{"compressed", plain(text(200, bomb.String(), "Content-Encoding", "gzip")), Invalid},
		{"half a body", raw("HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n"+good[:10], false), Unavailable},
		{"half a chunk", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1a\r\n"+good[:10], false), Unavailable},
		{"no last chunk", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1a\r\n"+good+"\r\n", false), Unavailable},
		{"half a header", raw("HTTP/1.1 200 OK\r\nContent-Le", false), Unavailable},
		{"nothing", raw("", false), Unavailable},
		{"reset", raw("", true), Unavailable},
		{"garbage", raw("\x16\x03\x01 5.0 at line 3 of canary\r\n\r\n", false), Unavailable},
		{"a long header", raw("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 2*maxHeader)+"\r\n\r\n", false), Unavailable},
		{"GB announced", raw("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", false), Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			h := c.h(t)
			m := model(t, Options{Protocol: MLflow, URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if calls.Add(1); r.URL.Path != "/invocations" {
					t.Errorf("called %s", r.URL.Path)
				}
				h(w, r)
			})})
			_, err := m.Score(t.Context(), houses())
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Class != c.want {
				t.Fatalf("got %v, want class %s", err, c.want)
			}
			if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "<html>") {
				t.Errorf("the error tells what the server said: %v", err)
			}
			t.Logf("%v; hint: %s", err, e.Hint)
		})
	}
}

// TestNobody calls where nobody listens.
func TestNobody(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	_, err = model(t, Options{Protocol: MLflow, URL: "http://" + l.Addr().String()}).Score(t.Context(), houses())
	if e, ok := errors.AsType[*Error](err); !ok || e.Class != Unavailable || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

// TestHanging has servers that take a connection, or send a header, and nothing more.
func TestHanging(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{"} {
		t.Run(fmt.Sprintf("after %d bytes", len(first)), func(t *testing.T) {
			t.Parallel()
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var group sync.WaitGroup
			group.Go(func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, first)
				}
				_, _ = io.Copy(io.Discard, conn) // until the client hangs up
				_ = conn.Close()
			})
			_, err = model(t, Options{Protocol: MLflow, URL: "http://" + l.Addr().String(), Timeout: 100 * time.Millisecond}).Score(t.Context(), houses())
			_ = l.Close()
			group.Wait()
			if e, ok := errors.AsType[*Error](err); !ok || e.Class != Unavailable || !errors.Is(err, errTimeout) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestEndless counts what can be written to the client of a body without an end: what it reads is bounded by the rows, apart from what
// the buffers of both sockets hold.
func TestEndless(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, header string }{
		{"chunks", ""},
		{"a length", "1073741824"},
		{"as long as the connection", "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan struct{})
			var written atomic.Int64
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				_, _ = io.Copy(io.Discard, r.Body)
				if c.header == "-" {
					conn, buffer, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					defer func() { _ = conn.Close() }()
					_, _ = buffer.WriteString("HTTP/1.0 200 OK\r\n\r\n")
					endless(buffer, &written)
					return
				}
				if c.header != "" {
					w.Header().Set("Content-Length", c.header)
				}
				endless(bufio.NewReadWriter(nil, bufio.NewWriter(w)), &written)
			})
			_, err := model(t, Options{Protocol: MLflow, URL: url}).Score(t.Context(), houses())
			if e, ok := errors.AsType[*Error](err); !ok || e.Class != Invalid || !errors.Is(err, errTooLarge) {
				t.Errorf("got %v", err)
			}
			<-ended // the client has hung up
			if n := written.Load(); n > 64<<20 {
				t.Errorf("%d bytes were written", n)
			}
		})
	}
}

// endless writes up to a gigabyte, until it cannot.
func endless(w *bufio.ReadWriter, written *atomic.Int64) {
	block := []byte(`{"predictions": [` + strings.Repeat("1,", 32<<10))
	for written.Load() < 1<<30 {
		n, err := w.Write(block)
		written.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// counting counts what is read of a body.
type counting struct {
	io.Reader

	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counting) Close() error { return nil }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestReadBounded counts exactly what is read.
func TestReadBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ length, most int64 }{{-1, 1001}, {1 << 30, 0}, {1001, 0}} {
		body := &counting{Reader: zeros{}}
		_, err := readReply(t.Context(), &http.Response{Body: body, ContentLength: c.length}, 1000)
		if err == nil || !errors.Is(err, errTooLarge) || body.n > c.most {
			t.Errorf("length %d: %d bytes read, want at most %d: %v", c.length, body.n, c.most, err)
		}
	}
	body := &counting{Reader: strings.NewReader(strings.Repeat("x", 1000))}
	if r, err := readReply(t.Context(), &http.Response{Body: body, ContentLength: 1000}, 1000); err != nil || len(r.body) != 1000 {
		t.Errorf("got %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "3": 3 * time.Second, "-3": 0, "3600": maxRetryAfter, "99999999999999999999": 0, "soon": 0, "1.5": 0,
		"Fri, 02 Jan 2026 03:04:09 GMT": 4 * time.Second, "Fri, 02 Jan 2026 03:04:01 GMT": 0, "Fri, 02 Jan 2099 03:04:01 GMT": maxRetryAfter,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// TestRetriesOverHTTP has a server that is broken in another way each time, then well.
func TestRetriesOverHTTP(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	m := model(t, Options{Protocol: MLflow, Retries: 10, URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch calls.Add(1) {
		case 1: // on a new connection: package http does not try again by itself
			hijacked(t, w, "", true)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			_, _ = io.WriteString(w, good)
		}
	})})
	if a, err := m.Score(t.Context(), houses()); err != nil || a.Scores[2] != 3 {
		t.Errorf("got %+v, %v", a, err)
	}
	if s := m.Stats(); s.Calls != 3 || s.Failures[Unavailable] != 2 || s.Rows != 3 {
		t.Errorf("got %+v", s)
	}
}

// TestConnectionsAreReused keeps to few connections, also where answers are refusals whose bodies nobody reads.
func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	var connections, calls atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if calls.Add(1)%2 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, strings.Repeat("x", maxDrain/2))
			return
		}
		_, _ = io.WriteString(w, good)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	m := model(t, Options{Protocol: MLflow, URL: s.URL, Connections: 2})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 10 {
				_, _ = m.Score(t.Context(), houses()) // half of them fail
			}
		})
	}
	group.Wait()
	if n := connections.Load(); n > 2 {
		t.Errorf("%d connections", n)
	}
}
