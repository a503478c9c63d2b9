package api

import (
	"compress/flate"
	"compress/zlib"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"connectrpc.com/connect"
	"millrace.dev/internal/auth"
	"millrace.dev/internal/oip"
	"millrace.dev/internal/oip/inference"
	"millrace.dev/internal/server"
)

// defaultMessage bounds a message of gRPC once it is uncompressed, in bytes.
const defaultMessage = 64 << 20

// grpcRoutes returns the routes of the Open Inference Protocol over gRPC: one for each procedure, so that each has its role.
func (a *API) grpcRoutes() []server.Route {
	most := a.options.MaxMessage
	if most <= 0 {
		most = defaultMessage
	}
	prefix, handler := inference.NewGRPCInferenceServiceHandler(&service{api: a},
		connect.WithReadMaxBytes(most), connect.WithCompressMinBytes(leastCompressed),
		connect.WithCompression(oip.Deflate, newInflater, newDeflater),
	)
	handler = onlyGRPC(handler)
	var routes []server.Route
	for _, procedure := range []struct {
		name    string
		role    auth.Role
		summary string
	}{
		{"ServerLive", auth.Anyone, "Tells that the server answers"},
		{"ServerReady", auth.Anyone, "Tells whether the models can predict"},
		{"ModelReady", auth.Viewer, "Tells whether a model can predict"},
		{"ServerMetadata", auth.Viewer, "Says what the server is"},
		{"ModelMetadata", auth.Viewer, "Says what a model takes and gives"},
		{"ModelInfer", auth.Scorer, "Predicts the rows of tensors"},
		{"ModelConfig", auth.Viewer, "Describes a model as Triton's configuration would"},
		{"ModelStatistics", auth.Operator, "Says what models have done"},
		{"RepositoryIndex", auth.Viewer, "Lists the versions of the models"},
		{"RepositoryModelLoad", auth.Operator, "Has a model be served, and looks for a new version of it"},
		{"RepositoryModelUnload", auth.Operator, "Has a model not be served"},
	} {
		routes = append(routes, server.Route{
			Method: http.MethodPost, Pattern: prefix + procedure.name, Role: procedure.role, Summary: procedure.summary, Handler: handler,
			Light: procedure.role == auth.Anyone,
		})
	}
	return routes
}

// onlyGRPC refuses the other protocols that the handler speaks: nobody needs them, and each has a parser.
func onlyGRPC(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if kind := r.Header.Get("Content-Type"); kind != "application/grpc" && kind != "application/grpc+proto" {
			server.Error(w, r, http.StatusUnsupportedMediaType, "want Content-Type: application/grpc")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// service answers the procedures.
type service struct{ api *API }

// refuse returns an error of gRPC that says what the answer over HTTP would.
func (s *service) refuse(ctx context.Context, err error) error {
	code, message := statusOf(err)
	if code == http.StatusInternalServerError {
		s.api.log.LogAttrs(ctx, slog.LevelError, "a request has failed", slog.String("request_id", server.RequestID(ctx)), slog.Any("error", err))
	}
	return connect.NewError(grpcCode(code), errors.New(message))
}

func grpcCode(status int) connect.Code {
	switch status {
	case http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return connect.CodeInvalidArgument
	case http.StatusNotFound:
		return connect.CodeNotFound
	case http.StatusRequestEntityTooLarge:
		return connect.CodeResourceExhausted
	case http.StatusNotImplemented:
		return connect.CodeUnimplemented
	case http.StatusServiceUnavailable:
		return connect.CodeUnavailable
	case statusGone:
		return connect.CodeCanceled
	default:
		return connect.CodeInternal
	}
}

// named wants the name of a model.
func named(name string) error {
	if name == "" {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("the request does not name a model"))
	}
	return nil
}

// ServerLive tells that the server answers.
func (s *service) ServerLive(context.Context, *inference.ServerLiveRequest) (*inference.ServerLiveResponse, error) {
	return &inference.ServerLiveResponse{Live: true}, nil
}

// ServerReady tells whether the models can predict.
func (s *service) ServerReady(context.Context, *inference.ServerReadyRequest) (*inference.ServerReadyResponse, error) {
	return &inference.ServerReadyResponse{Ready: s.api.models.Ready() == nil}, nil
}

// ModelReady tells whether a model can predict.
func (s *service) ModelReady(ctx context.Context, r *inference.ModelReadyRequest) (*inference.ModelReadyResponse, error) {
	if err := named(r.GetName()); err != nil {
		return nil, err
	}
	err := s.api.models.ModelReady(r.GetName(), r.GetVersion())
	if code, _ := statusOf(err); err != nil && code != http.StatusServiceUnavailable {
		return nil, s.refuse(ctx, err)
	}
	return &inference.ModelReadyResponse{Ready: err == nil}, nil
}

// ServerMetadata says what the server is.
func (s *service) ServerMetadata(context.Context, *inference.ServerMetadataRequest) (*inference.ServerMetadataResponse, error) {
	about := s.api.aboutServer()
	return &inference.ServerMetadataResponse{Name: about.Name, Version: about.Version, Extensions: about.Extensions}, nil
}

// ModelMetadata says what a model takes and gives.
func (s *service) ModelMetadata(ctx context.Context, r *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	if err := named(r.GetName()); err != nil {
		return nil, err
	}
	about, err := s.api.aboutModel(ctx, r.GetName(), r.GetVersion())
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	tensors := func(all []oip.TensorMetadata) (out []*inference.ModelMetadataResponse_TensorMetadata) {
		for _, t := range all {
			out = append(out, &inference.ModelMetadataResponse_TensorMetadata{Name: t.Name, Datatype: string(t.Datatype), Shape: t.Shape})
		}
		return out
	}
	return &inference.ModelMetadataResponse{
		Name: about.Name, Versions: about.Versions, Platform: about.Platform, Inputs: tensors(about.Inputs), Outputs: tensors(about.Outputs),
	}, nil
}

// ModelInfer predicts the rows of tensors.
func (s *service) ModelInfer(ctx context.Context, m *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	if err := named(m.GetModelName()); err != nil {
		return nil, err
	}
	v, err := s.api.models.Open(ctx, m.GetModelName(), m.GetModelVersion())
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	r, err := oip.RequestOf(m, oip.Limits{})
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	response, err := s.api.infer(ctx, v, r)
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	answer, err := oip.ResponseMessage(response)
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	return answer, nil
}

// ModelConfig describes a model as Triton's configuration would.
func (s *service) ModelConfig(ctx context.Context, r *inference.ModelConfigRequest) (*inference.ModelConfigResponse, error) {
	if err := named(r.GetName()); err != nil {
		return nil, err
	}
	v, err := s.api.models.Open(ctx, r.GetName(), r.GetVersion())
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	c := s.api.configOf(v)
	m := &inference.ModelConfig{Name: c.Name, Platform: c.Platform, Backend: c.Backend, MaxBatchSize: int32(c.MaxBatchSize)}
	for _, t := range c.Input {
		m.Input = append(m.Input, &inference.ModelInput{Name: t.Name, DataType: inference.DataType(inference.DataType_value[t.Type]), Dims: t.Dims, Optional: t.Optional})
	}
	for _, t := range c.Output {
		m.Output = append(m.Output, &inference.ModelOutput{Name: t.Name, DataType: inference.DataType(inference.DataType_value[t.Type]), Dims: t.Dims})
	}
	return &inference.ModelConfigResponse{Config: m}, nil
}

// ModelStatistics says what models have done.
func (s *service) ModelStatistics(ctx context.Context, r *inference.ModelStatisticsRequest) (*inference.ModelStatisticsResponse, error) {
	all, err := s.api.done(r.GetName(), r.GetVersion())
	if err != nil {
		return nil, s.refuse(ctx, err)
	}
	duration := func(d oip.Duration) *inference.StatisticDuration {
		return &inference.StatisticDuration{Count: d.Count, Ns: d.Nanoseconds}
	}
	answer := &inference.ModelStatisticsResponse{}
	for i := range all.Models {
		m := &all.Models[i]
		answer.ModelStats = append(answer.ModelStats, &inference.ModelStatistics{
			Name: m.Name, Version: m.Version, LastInference: m.Last, InferenceCount: m.Inferences, ExecutionCount: m.Executions,
			InferenceStats: &inference.InferStatistics{
				Success: duration(m.Requests.Success), Fail: duration(m.Requests.Fail), Queue: duration(m.Requests.Queue),
				ComputeInput: duration(m.Requests.ComputeInput), ComputeInfer: duration(m.Requests.ComputeInfer), ComputeOutput: duration(m.Requests.ComputeOutput),
				CacheHit: duration(m.Requests.CacheHit), CacheMiss: duration(m.Requests.CacheMiss),
			},
		})
	}
	return answer, nil
}

// repository wants the name of the only repository that there is, which is none.
func repository(name string) error {
	if name != "" {
		return connect.NewError(connect.CodeNotFound, errors.New("there is one repository, which has no name"))
	}
	return nil
}

// modelOf wants the names of a repository and of a model.
func modelOf(repo, name string) error {
	if err := repository(repo); err != nil {
		return err
	}
	return named(name)
}

// RepositoryIndex lists the versions of the models.
func (s *service) RepositoryIndex(_ context.Context, r *inference.RepositoryIndexRequest) (*inference.RepositoryIndexResponse, error) {
	if err := repository(r.GetRepositoryName()); err != nil {
		return nil, err
	}
	answer := &inference.RepositoryIndexResponse{}
	for _, e := range s.api.entries(r.GetReady()) {
		answer.Models = append(answer.Models, &inference.RepositoryIndexResponse_ModelIndex{Name: e.Name, Version: e.Version, State: e.State, Reason: e.Reason})
	}
	return answer, nil
}

// RepositoryModelLoad has a model be served.
func (s *service) RepositoryModelLoad(ctx context.Context, r *inference.RepositoryModelLoadRequest) (*inference.RepositoryModelLoadResponse, error) {
	if err := modelOf(r.GetRepositoryName(), r.GetModelName()); err != nil {
		return nil, err
	}
	for name := range r.GetParameters() {
		if isOverride(name) {
			return nil, connect.NewError(connect.CodeUnimplemented, errOverride)
		}
	}
	if err := s.api.models.Load(ctx, r.GetModelName()); err != nil {
		return nil, s.refuse(ctx, err)
	}
	return &inference.RepositoryModelLoadResponse{}, nil
}

// RepositoryModelUnload has a model not be served.
func (s *service) RepositoryModelUnload(ctx context.Context, r *inference.RepositoryModelUnloadRequest) (*inference.RepositoryModelUnloadResponse, error) {
	if err := modelOf(r.GetRepositoryName(), r.GetModelName()); err != nil {
		return nil, err
	}
	if err := s.api.models.Unload(r.GetModelName()); err != nil {
		return nil, s.refuse(ctx, err)
	}
	return &inference.RepositoryModelUnloadResponse{}, nil
}

// inflater reads the encoding of messages that gRPC calls deflate: the format of zlib.
type inflater struct{ reader io.ReadCloser }

func newInflater() connect.Decompressor { return &inflater{} }

// Reset goes on with another message.
func (i *inflater) Reset(from io.Reader) error {
	if r, ok := i.reader.(zlib.Resetter); ok {
		return r.Reset(from, nil)
	}
	if from == nil { // as when it goes back to the pool
		return nil
	}
	var err error
	i.reader, err = zlib.NewReader(from)
	return err
}

// Read reads what comes out.
func (i *inflater) Read(p []byte) (int, error) { return i.reader.Read(p) }

// Close ends a message.
func (i *inflater) Close() error { return i.reader.Close() }

func newDeflater() connect.Compressor {
	w, err := zlib.NewWriterLevel(io.Discard, flate.BestSpeed)
	if err != nil { // the level is one
		panic(err)
	}
	return w
}
