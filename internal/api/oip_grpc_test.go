package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/api"
	"millrace.dev/internal/oip"
	"millrace.dev/internal/oip/inference"
	"millrace.dev/internal/server"
)

// grpcClient returns a client of gRPC of the site, over HTTP/2 without TLS.
func grpcClient(t *testing.T, s *site, o ...connect.ClientOption) inference.GRPCInferenceServiceClient {
	t.Helper()
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	at := httptest.NewUnstartedServer(s.server)
	at.Config.Protocols = &both
	at.Start()
	t.Cleanup(at.Close)
	var second http.Protocols
	second.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &second}
	t.Cleanup(transport.CloseIdleConnections)
	return inference.NewGRPCInferenceServiceClient(&http.Client{Transport: transport}, at.URL, append(o, connect.WithGRPC())...)
}

// TestGRPCInfer wants the same bits as over HTTP, in the form in which the inputs came.
func TestGRPCInfer(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	s := newSite(t, w, server.Options{})
	want := s.predicted(w.records)
	client := grpcClient(t, s)
	for name, inputs := range map[string][]oip.Tensor{
		"records": wholeRecords(w.records), "fields": fieldTensors(t, w.records), "inputs": inputTensors(t, w),
	} {
		for _, raw := range []bool{false, true} {
			for i := range inputs {
				inputs[i].Binary = raw
			}
			m, err := oip.RequestMessage(&oip.InferRequest{Model: "house-prices", ID: "7", Inputs: inputs})
			if err != nil {
				t.Fatal(err)
			}
			answer, err := client.ModelInfer(t.Context(), m)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := oip.ResponseOf(answer, oip.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Outputs[0].Floats); diff != "" || got.Outputs[0].Binary != raw || got.Version != "2" || got.ID != "7" || got.Parameters["digest"] == nil {
				t.Errorf("%s: %+v\n%s", name, got, diff)
			}
		}
	}
}

// TestGRPCCompression sends a large request in each encoding that clients of gRPC know.
func TestGRPCCompression(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	s := newSite(t, w, server.Options{})
	m, err := oip.RequestMessage(&oip.InferRequest{Model: "house-prices", Inputs: fieldTensors(t, w.records)})
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]connect.ClientOption{
		"gzip":    connect.WithSendGzip(),
		"deflate": connect.WithClientOptions(connect.WithAcceptCompression(oip.Deflate, api.NewInflater, api.NewDeflater), connect.WithSendCompression(oip.Deflate)),
	} {
		client := grpcClient(t, s, o)
		for range 3 { // what compresses is used again
			if answer, err := client.ModelInfer(t.Context(), m); err != nil || len(answer.GetOutputs()) != 1 {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestGRPCCodes wants errors to have the codes that clients tell them by.
func TestGRPCCodes(t *testing.T) {
	t.Parallel()
	s := newSite(t, theWorld(t), server.Options{Limits: server.Limits{Body: 1 << 16}})
	client := grpcClient(t, s)
	infer := func(model, version string, inputs ...*inference.ModelInferRequest_InferInputTensor) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := client.ModelInfer(ctx, &inference.ModelInferRequest{ModelName: model, ModelVersion: version, Inputs: inputs})
			return err
		}
	}
	records := func(texts ...string) *inference.ModelInferRequest_InferInputTensor {
		c := &inference.InferTensorContents{}
		for _, text := range texts {
			c.BytesContents = append(c.BytesContents, []byte(text))
		}
		return &inference.ModelInferRequest_InferInputTensor{Name: "record", Datatype: "BYTES", Shape: []int64{int64(len(texts))}, Contents: c}
	}
	if _, err := client.RepositoryModelUnload(t.Context(), &inference.RepositoryModelUnloadRequest{ModelName: "busy-streets"}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		call func(context.Context) error
		code connect.Code
		text string
	}{
		"an unknown model":   {infer("nobody", ""), connect.CodeNotFound, "no such model"},
		"an unknown version": {infer("house-prices", "9"), connect.CodeNotFound, "no such version"},
		"no model":           {infer("", ""), connect.CodeInvalidArgument, "does not name a model"},
		"no inputs":          {infer("house-prices", ""), connect.CodeInvalidArgument, "no inputs"},
		"a row":              {infer("house-prices", "", records("{}")), connect.CodeInvalidArgument, "row 0: stage decode"},
		"a shape":            {infer("house-prices", "", &inference.ModelInferRequest_InferInputTensor{Name: "floors", Datatype: "FP64", Shape: []int64{2}}), connect.CodeInvalidArgument, "2 elements"},
		"unloaded":           {infer("busy-streets", "", records("{}")), connect.CodeUnavailable, "not ready"},
		"too large":          {infer("house-prices", "", records(strings.Repeat("x", 1<<17))), connect.CodeResourceExhausted, "bytes"},
		"metadata": {func(ctx context.Context) error {
			_, err := client.ModelMetadata(ctx, &inference.ModelMetadataRequest{Name: "nobody"})
			return err
		}, connect.CodeNotFound, "no such model"},
		"ready": {func(ctx context.Context) error {
			_, err := client.ModelReady(ctx, &inference.ModelReadyRequest{Name: "nobody"})
			return err
		}, connect.CodeNotFound, "no such model"},
		"a configuration": {func(ctx context.Context) error {
			_, err := client.ModelConfig(ctx, &inference.ModelConfigRequest{Name: "house-prices", Version: "x"})
			return err
		}, connect.CodeNotFound, "no such version"},
		"statistics": {func(ctx context.Context) error {
			_, err := client.ModelStatistics(ctx, &inference.ModelStatisticsRequest{Name: "nobody"})
			return err
		}, connect.CodeNotFound, "no such model"},
		"another repository": {func(ctx context.Context) error {
			_, err := client.RepositoryIndex(ctx, &inference.RepositoryIndexRequest{RepositoryName: "other"})
			return err
		}, connect.CodeNotFound, "one repository"},
		"a load of another one": {func(ctx context.Context) error {
			_, err := client.RepositoryModelLoad(ctx, &inference.RepositoryModelLoadRequest{RepositoryName: "other", ModelName: "house-prices"})
			return err
		}, connect.CodeNotFound, "one repository"},
		"a load with files": {func(ctx context.Context) error {
			_, err := client.RepositoryModelLoad(ctx, &inference.RepositoryModelLoadRequest{ModelName: "house-prices", Parameters: map[string]*inference.ModelRepositoryParameter{"file:1/x": {}}})
			return err
		}, connect.CodeUnimplemented, "registry"},
		"an unload": {func(ctx context.Context) error {
			_, err := client.RepositoryModelUnload(ctx, &inference.RepositoryModelUnloadRequest{ModelName: "nobody"})
			return err
		}, connect.CodeNotFound, "no such model"},
	} {
		if err := c.call(t.Context()); connect.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v; want %v: ...%s...", name, err, c.code, c.text)
		}
	}
}

// TestGRPCAnswers looks at what the other procedures answer.
func TestGRPCAnswers(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	s := newSite(t, w, server.Options{})
	s.infer(&oip.InferRequest{Inputs: wholeRecords(w.records)})
	client := grpcClient(t, s)
	ctx := t.Context()
	live, err := client.ServerLive(ctx, &inference.ServerLiveRequest{})
	if err != nil || !live.GetLive() {
		t.Errorf("%v, %v", live, err)
	}
	ready, err := client.ServerReady(ctx, &inference.ServerReadyRequest{})
	if err != nil || !ready.GetReady() {
		t.Errorf("%v, %v", ready, err)
	}
	about, err := client.ServerMetadata(ctx, &inference.ServerMetadataRequest{})
	if err != nil || about.GetName() != "millrace" || about.GetVersion() != "test" || len(about.GetExtensions()) != 4 {
		t.Errorf("%v, %v", about, err)
	}
	m, err := client.ModelMetadata(ctx, &inference.ModelMetadataRequest{Name: "house-prices", Version: "latest"})
	if err != nil || m.GetPlatform() != "millrace" || len(m.GetInputs()) != 8 || m.GetOutputs()[0].GetDatatype() != "FP64" || !cmp.Equal(m.GetVersions(), []string{"1", "2", "3"}) {
		t.Errorf("%v, %v", m, err)
	}
	config, err := client.ModelConfig(ctx, &inference.ModelConfigRequest{Name: "house-prices"})
	if c := config.GetConfig(); err != nil || len(c.GetInput()) != 8 || c.GetInput()[0].GetDataType() != inference.DataType_TYPE_STRING || c.GetOutput()[0].GetDataType() != inference.DataType_TYPE_FP64 {
		t.Errorf("%v, %v", config, err)
	}
	stats, err := client.ModelStatistics(ctx, &inference.ModelStatisticsRequest{Name: "house-prices", Version: "2"})
	if err != nil || len(stats.GetModelStats()) != 1 || stats.GetModelStats()[0].GetInferenceCount() != uint64(len(w.records)) || stats.GetModelStats()[0].GetInferenceStats().GetSuccess().GetNs() == 0 {
		t.Errorf("%v, %v", stats, err)
	}
	index, err := client.RepositoryIndex(ctx, &inference.RepositoryIndexRequest{Ready: true})
	if err != nil || len(index.GetModels()) != 4 || index.GetModels()[0].GetState() != "READY" {
		t.Errorf("%v, %v", index, err)
	}
	if _, err := client.RepositoryModelUnload(ctx, &inference.RepositoryModelUnloadRequest{ModelName: "house-prices"}); err != nil {
		t.Error(err)
	}
	if is, err := client.ModelReady(ctx, &inference.ModelReadyRequest{Name: "house-prices"}); err != nil || is.GetReady() {
		t.Errorf("unloaded, and %v, %v", is, err)
	}
	if _, err := client.RepositoryModelLoad(ctx, &inference.RepositoryModelLoadRequest{ModelName: "house-prices"}); err != nil {
		t.Error(err)
	}
	if is, err := client.ModelReady(ctx, &inference.ModelReadyRequest{Name: "house-prices", Version: "2"}); err != nil || !is.GetReady() {
		t.Errorf("loaded, and %v, %v", is, err)
	}
}

// TestOnlyGRPC wants the other protocols of the handler to be refused.
func TestOnlyGRPC(t *testing.T) {
	t.Parallel()
	s := newSite(t, theWorld(t), server.Options{})
	for _, kind := range []string{"application/json", "application/proto", ""} {
		if a := s.send("POST", "/inference.GRPCInferenceService/ServerLive", "{}", "Content-Type", kind); a.status != http.StatusUnsupportedMediaType {
			t.Errorf("%q: %d: %s", kind, a.status, a.body)
		}
	}
	for _, kind := range []string{"application/grpc-web", "application/grpc-web+proto", "application/grpc+json"} {
		if a := s.send("POST", "/inference.GRPCInferenceService/ServerLive", "\x00\x00\x00\x00\x00", "Content-Type", kind); a.header.Get("Grpc-Status") != "2" {
			t.Errorf("%q: %d: %v", kind, a.status, a.header)
		}
	}
}
