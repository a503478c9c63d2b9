package remote

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"millrace.dev/internal/oip"
	"millrace.dev/internal/oip/inference"
	"millrace.dev/record"
)

// inferServer is a server of the Open Inference Protocol, over HTTP and gRPC, that answers as its function says.
type inferServer struct {
	inference.UnimplementedGRPCInferenceServiceHandler

	server oip.ServerMetadata
	inputs []oip.TensorMetadata
	silent bool // it has no metadata
	answer func(*oip.InferRequest) (*oip.InferResponse, *oip.Error)

	mu       sync.Mutex
	paths    []string
	requests []*oip.InferRequest
	headers  []http.Header
}

func (s *inferServer) note(path string, r *oip.InferRequest, h http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths = append(s.paths, path)
	if r != nil {
		s.requests, s.headers = append(s.requests, r), append(s.headers, h)
	}
}

func (s *inferServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var request *oip.InferRequest
	if r.Method == http.MethodPost {
		var err error
		if request, err = oip.DecodeRequest(body, r.Header.Get(oip.HeaderLength), oip.Limits{}); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	s.note(r.Method+" "+r.URL.EscapedPath(), request, r.Header)
	switch {
	case request == nil && s.silent:
		http.NotFound(w, r)
	case request == nil && r.URL.Path == "/v2":
		_ = json.NewEncoder(w).Encode(s.server)
	case request == nil:
		_ = json.NewEncoder(w).Encode(oip.ModelMetadata{Name: "m", Inputs: s.inputs})
	default:
		response, fault := s.answer(request)
		if fault != nil {
			w.WriteHeader(fault.Status)
			_, _ = w.Write(oip.ErrorBody(fault.Message))
			return
		}
		out, jsonLength, err := oip.EncodeResponse(nil, response)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if jsonLength > 0 {
			w.Header().Set(oip.HeaderLength, jsonNumber(jsonLength))
		}
		_, _ = w.Write(out)
	}
}

func jsonNumber(n int) string {
	b, _ := json.Marshal(n)
	return string(b)
}

func (s *inferServer) ServerMetadata(context.Context, *inference.ServerMetadataRequest) (*inference.ServerMetadataResponse, error) {
	s.note("ServerMetadata", nil, nil)
	if s.silent {
		return nil, connect.NewError(connect.CodeUnimplemented, nil)
	}
	return &inference.ServerMetadataResponse{Name: s.server.Name, Extensions: s.server.Extensions}, nil
}

func (s *inferServer) ModelMetadata(_ context.Context, r *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	s.note("ModelMetadata "+r.GetName()+" "+r.GetVersion(), nil, nil)
	if s.silent {
		return nil, connect.NewError(connect.CodeUnimplemented, nil)
	}
	m := &inference.ModelMetadataResponse{}
	for _, in := range s.inputs {
		m.Inputs = append(m.Inputs, &inference.ModelMetadataResponse_TensorMetadata{Name: in.Name, Datatype: string(in.Datatype), Shape: in.Shape})
	}
	return m, nil
}

func (s *inferServer) ModelInfer(ctx context.Context, m *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	r, err := oip.RequestOf(m, oip.Limits{})
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	info, _ := connect.CallInfoForHandlerContext(ctx)
	s.note("ModelInfer", r, info.RequestHeader())
	response, fault := s.answer(r)
	if fault != nil {
		return nil, connect.NewError(map[int]connect.Code{
			400: connect.CodeInvalidArgument, 401: connect.CodeUnauthenticated, 404: connect.CodeNotFound, 500: connect.CodeInternal, 503: connect.CodeUnavailable,
		}[fault.Status], errors.New(fault.Message))
	}
	return oip.ResponseMessage(response)
}

// start serves both protocols at one URL, without TLS.
func (s *inferServer) start(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	path, handler := inference.NewGRPCInferenceServiceHandler(s)
	mux.Handle(path, handler)
	mux.Handle("/", s)
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// outputs returns an answer with one output for each pair of a name and numbers.
func outputs(tensors ...oip.Tensor) func(*oip.InferRequest) (*oip.InferResponse, *oip.Error) {
	return func(r *oip.InferRequest) (*oip.InferResponse, *oip.Error) {
		out := &oip.InferResponse{Model: "m", Version: "3", Parameters: oip.Parameters{"digest": "sha256:aa"}, Outputs: append([]oip.Tensor(nil), tensors...)}
		for i := range out.Outputs {
			out.Outputs[i].Binary = r.BinaryOutput
		}
		return out, nil
	}
}

func numbersOut(name string, values ...float64) oip.Tensor {
	return oip.Tensor{Name: name, Datatype: oip.FP64, Shape: []int64{int64(len(values))}, Floats: values}
}

// withProtocols runs a test over HTTP and over gRPC.
func withProtocols(t *testing.T, test func(t *testing.T, p Protocol)) {
	t.Helper()
	for _, p := range []Protocol{OIP, OIPgRPC} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

func TestInferRequests(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	numeric := &record.Frame{Rows: 2, Columns: []record.Column{
		{Name: "a", Type: record.Numeric, Numbers: []float64{0.1, nan}}, {Name: "b", Type: record.Numeric, Numbers: []float64{3, 4}},
	}}
	levels := func(parameters oip.Parameters) oip.Tensor {
		return oip.Tensor{Name: "zip", Datatype: oip.Bytes, Shape: []int64{3}, Texts: [][]byte{[]byte(`9"8,0`), {}, {0}}, Parameters: parameters}
	}
	for _, c := range []struct {
		name   string
		o      Options
		s      *inferServer
		r      *Request
		inputs []oip.Tensor
		json   bool // over HTTP
		params oip.Parameters
	}{
		{
			"binary",
			Options{},
			&inferServer{server: oip.ServerMetadata{Name: "triton", Extensions: []string{"x", oip.ExtensionBinary}}}, houses(),
			[]oip.Tensor{{Name: `living "area"`, Datatype: oip.FP64, Shape: []int64{3}, Floats: []float64{0.1, 2e300, nan}}, levels(nil)},
			false, nil,
		},
		{
			"JSON",
			Options{},
			&inferServer{silent: true}, houses(),
			[]oip.Tensor{{Name: `living "area"`, Datatype: oip.FP64, Shape: []int64{3}, Floats: []float64{0.1, 2e300, nan}}, levels(nil)},
			true, nil,
		},
		{
			"MLServer",
			Options{},
			&inferServer{server: oip.ServerMetadata{Name: "mlserver"}}, houses(),
			[]oip.Tensor{
				{Name: `living "area"`, Datatype: oip.FP64, Shape: []int64{3}, Floats: []float64{0.1, 2e300, nan}},
				levels(oip.Parameters{"content_type": "str"}),
			},
			true,
			oip.Parameters{"content_type": "pd"},
		},
		{
			"millrace",
			Options{},
			&inferServer{server: oip.ServerMetadata{Name: "millrace"}}, houses(),
			[]oip.Tensor{{Name: `living "area"`, Datatype: oip.FP64, Shape: []int64{3}, Floats: []float64{0.1, 2e300, nan}}, levels(nil)},
			true,
			oip.Parameters{oip.ParameterInputs: true},
		},
		{
			"FP32, in batches",
			Options{},
			&inferServer{inputs: []oip.TensorMetadata{{Name: "a", Datatype: oip.FP32, Shape: []int64{-1, 1}}}}, &Request{Frame: numeric, Rows: []int{0, 1}},
			[]oip.Tensor{
				{Name: "a", Datatype: oip.FP32, Shape: []int64{2, 1}, Floats: []float64{float64(float32(0.1)), nan}},
				{Name: "b", Datatype: oip.FP64, Shape: []int64{2}, Floats: []float64{3, 4}},
			},
			true, nil,
		},
		{
			"a matrix",
			Options{Tensors: Matrix},
			&inferServer{inputs: []oip.TensorMetadata{{Name: "dense_input", Datatype: oip.FP32, Shape: []int64{-1, 2}}}}, &Request{Frame: numeric, Rows: []int{1}},
			[]oip.Tensor{{Name: "dense_input", Datatype: oip.FP32, Shape: []int64{1, 2}, Floats: []float64{nan, 4}}},
			true, nil,
		},
		{
			"a matrix without a name",
			Options{Tensors: Matrix},
			&inferServer{silent: true}, &Request{Frame: numeric, Rows: []int{0, 1}},
			[]oip.Tensor{{Name: "input", Datatype: oip.FP64, Shape: []int64{2, 2}, Floats: []float64{0.1, 3, nan, 4}}},
			true, nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			withProtocols(t, func(t *testing.T, p Protocol) {
				s := &inferServer{server: c.s.server, inputs: c.s.inputs, silent: c.s.silent, answer: outputs(numbersOut("y", make([]float64, len(c.r.Rows))...))}
				o := c.o
				o.URL, o.Protocol, o.Model, o.Version = s.start(t), p, "m", "3"
				m := model(t, o)
				for range 2 {
					if _, err := m.Score(t.Context(), c.r); err != nil {
						t.Fatal(err)
					}
				}
				paths := "GET /v2,GET /v2/models/m/versions/3,POST /v2/models/m/versions/3/infer,POST /v2/models/m/versions/3/infer"
				if p == OIPgRPC {
					paths = "ServerMetadata,ModelMetadata m 3,ModelInfer,ModelInfer"
				}
				if got := strings.Join(s.paths, ","); got != paths {
					t.Errorf("called %s, want %s", got, paths)
				}
				r := s.requests[0]
				binary := !c.json || p == OIPgRPC
				want := append([]oip.Tensor(nil), c.inputs...)
				for i := range want {
					want[i].Binary = binary
				}
				if diff := cmp.Diff(want, r.Inputs, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
					t.Error(diff)
				}
				if r.BinaryOutput != binary {
					t.Errorf("binary output: %t, want %t", r.BinaryOutput, binary)
				}
				if diff := cmp.Diff(c.params, r.Parameters, cmpopts.EquateEmpty()); diff != "" {
					t.Error(diff)
				}
				if got := s.headers[0].Get("Traceparent"); got != c.r.Traceparent {
					t.Errorf("traceparent %q", got)
				}
			})
		})
	}
}

func TestInferAnswers(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for _, c := range []struct {
		name    string
		output  string
		version string
		tensors []oip.Tensor
		want    []float64
		class   Class
	}{
		{"numbers", "", "3", []oip.Tensor{numbersOut("y", 1, 2.5, -3)}, []float64{1, 2.5, -3}, ""},
		{"a column", "", "", []oip.Tensor{{Name: "y", Datatype: oip.FP32, Shape: []int64{3, 1}, Floats: []float64{1, 2, 3}}}, []float64{1, 2, 3}, ""},
		{"whole numbers", "", "latest", []oip.Tensor{{Name: "y", Datatype: oip.Int64, Shape: []int64{3}, Ints: []int64{-1, 0, 1 << 62}}}, []float64{-1, 0, nan}, ""},
		{"counts", "", "", []oip.Tensor{{Name: "y", Datatype: oip.Uint8, Shape: []int64{3}, Uints: []uint64{1, 0, 255}}}, []float64{1, 0, 255}, ""},
		{"yes and no", "", "", []oip.Tensor{{Name: "y", Datatype: oip.Bool, Shape: []int64{3}, Bools: []bool{true, false, true}}}, []float64{1, 0, 1}, ""},
		{"not all are numbers", "", "", []oip.Tensor{numbersOut("y", 1, nan, 3)}, []float64{1, nan, 3}, ""},
		{"one of two", "z", "", []oip.Tensor{numbersOut("y", 1, 2, 3), numbersOut("z", 4, 5, 6)}, []float64{4, 5, 6}, ""},
		{"two", "", "", []oip.Tensor{numbersOut("y", 1, 2, 3), numbersOut("z", 4, 5, 6)}, nil, Invalid},
		{"none", "", "", nil, nil, Invalid},
		{"another", "z", "", []oip.Tensor{numbersOut("y", 1, 2, 3)}, nil, Invalid},
		{"too few", "", "", []oip.Tensor{numbersOut("y", 1, 2)}, nil, Invalid},
		{"too many", "", "", []oip.Tensor{numbersOut("y", 1, 2, 3, 4)}, nil, Invalid},
		{"two for each", "", "", []oip.Tensor{{Name: "y", Datatype: oip.FP64, Shape: []int64{3, 2}, Floats: make([]float64, 6)}}, nil, Invalid},
		{"in a row", "", "", []oip.Tensor{{Name: "y", Datatype: oip.FP64, Shape: []int64{1, 3}, Floats: make([]float64, 3)}}, nil, Invalid},
		{"texts", "", "", []oip.Tensor{{Name: "y", Datatype: oip.Bytes, Shape: []int64{3}, Texts: [][]byte{{'1'}, {'2'}, {'3'}}}}, nil, Invalid},
		{"another version", "", "4", []oip.Tensor{numbersOut("y", 1, 2, 3)}, nil, Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			withProtocols(t, func(t *testing.T, p Protocol) {
				s := &inferServer{server: oip.ServerMetadata{Name: "millrace", Extensions: []string{oip.ExtensionBinary}}, answer: outputs(c.tensors...)}
				a, err := model(t, Options{URL: s.start(t), Protocol: p, Model: "m", Version: c.version, Output: c.output}).Score(t.Context(), houses())
				if c.class != "" {
					if e, ok := errors.AsType[*Error](err); !ok || e.Class != c.class || e.Hint == "" {
						t.Errorf("got %v, want class %s and a hint", err, c.class)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, a.Scores, cmpopts.EquateNaNs()); diff != "" {
					t.Error(diff)
				}
				for i, v := range c.want {
					if got := a.Problems != nil && a.Problems[i] != nil; got != math.IsNaN(v) {
						t.Errorf("row %d: %+v", i, a.Problems)
					}
				}
				if a.Model != "m@3" {
					t.Errorf("the model is %q", a.Model)
				}
			})
		})
	}
}

func TestAnotherBundle(t *testing.T) {
	t.Parallel()
	withProtocols(t, func(t *testing.T, p Protocol) {
		s := &inferServer{answer: outputs(numbersOut("y", 1, 2, 3))}
		m := model(t, Options{URL: s.start(t), Protocol: p, Model: "m"})
		r := houses()
		r.Digest = "sha256:bb"
		_, err := m.Score(t.Context(), r)
		if e, ok := errors.AsType[*Error](err); !ok || e.Class != Invalid || !errors.Is(err, errDigest) || !strings.Contains(e.Hint, "model.serve.version") {
			t.Errorf("got %v", err)
		}
		r.Digest = ""
		if _, err := m.Score(t.Context(), r); err != nil {
			t.Errorf("a model of which no bundle is known: %v", err)
		}
	})
}

func TestInferFaults(t *testing.T) {
	t.Parallel()
	for status, class := range map[int]Class{400: Refused, 401: Forbidden, 404: Invalid, 500: Failed, 503: Unavailable} {
		withProtocols(t, func(t *testing.T, p Protocol) {
			t.Run(http.StatusText(status), func(t *testing.T) {
				t.Parallel()
				s := &inferServer{answer: func(*oip.InferRequest) (*oip.InferResponse, *oip.Error) {
					return nil, &oip.Error{Status: status, Message: "canary is no number"}
				}}
				_, err := model(t, Options{URL: s.start(t), Protocol: p, Model: "m"}).Score(t.Context(), houses())
				if e, ok := errors.AsType[*Error](err); !ok || e.Class != class {
					t.Errorf("got %v, want class %s", err, class)
				}
				if strings.Contains(err.Error(), "canary") {
					t.Errorf("the error tells what the server said: %v", err)
				}
			})
		})
	}
}

// TestFrames has frames that the model of a server does not take.
func TestFrames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		o      Options
		inputs []oip.TensorMetadata
	}{
		{"levels in a matrix", Options{Tensors: Matrix}, nil},
		{"a matrix for many inputs", Options{Tensors: Matrix}, []oip.TensorMetadata{{Name: "a"}, {Name: "b"}}},
		{"levels as numbers", Options{}, []oip.TensorMetadata{{Name: "zip", Datatype: oip.FP32}}},
		{"numbers as texts", Options{}, []oip.TensorMetadata{{Name: `living "area"`, Datatype: oip.Bytes}}},
	} {
		withProtocols(t, func(t *testing.T, p Protocol) {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				s := &inferServer{inputs: c.inputs, answer: outputs(numbersOut("y", 1, 2, 3))}
				o := c.o
				o.URL, o.Protocol, o.Model = s.start(t), p, "m"
				_, err := model(t, o).Score(t.Context(), houses())
				if e, ok := errors.AsType[*Error](err); !ok || e.Class != Invalid || e.Hint == "" {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// TestNotGRPC calls servers that speak something else.
func TestNotGRPC(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		want Class
	}{
		{"a page", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "canary") }, Invalid},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, Forbidden},
		{"no message", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "application/grpc") }, Unavailable},
		{"a large message", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			_, _ = w.Write([]byte{0, 0x40, 0, 0, 0})
			block := make([]byte, 64<<10)
			for range 1 << 14 {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}, Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(c.h)
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetUnencryptedHTTP2(true)
			s.Start()
			t.Cleanup(s.Close)
			_, err := model(t, Options{URL: s.URL, Protocol: OIPgRPC, Model: "m"}).Score(t.Context(), houses())
			if e, ok := errors.AsType[*Error](err); !ok || e.Class != c.want {
				t.Errorf("got %v, want class %s", err, c.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error tells what the server said: %v", err)
			}
		})
	}
}
