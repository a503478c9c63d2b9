package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"millrace.dev/internal/auth"
	"millrace.dev/internal/oip"
	"millrace.dev/internal/serve"
	"millrace.dev/internal/server"
)

// platform is what the metadata of models call that which runs them.
const platform = "millrace"

// leastCompressed is the size in bytes below which an answer is not compressed: that would cost more than it saves.
const leastCompressed = 1 << 10

// oipRoutes returns the routes of the Open Inference Protocol over HTTP.
func (a *API) oipRoutes() []server.Route {
	get := func(pattern string, role auth.Role, summary string, h http.HandlerFunc) server.Route {
		return server.Route{Method: http.MethodGet, Pattern: pattern, Role: role, Summary: summary, Handler: h, MaxBody: -1}
	}
	post := func(pattern string, role auth.Role, summary string, h http.HandlerFunc) server.Route {
		return server.Route{Method: http.MethodPost, Pattern: pattern, Role: role, Summary: summary, Handler: h}
	}
	health := func(pattern, summary string, h http.HandlerFunc) server.Route {
		route := get(pattern, auth.Anyone, summary, h)
		route.Light = true
		return route
	}
	routes := []server.Route{
		health("/v2/health/live", "Tells that the server answers", a.live),
		health("/v2/health/ready", "Tells whether the models can predict", a.ready),
		get("/v2", auth.Viewer, "Says what the server is", a.serverMetadata),
		get("/v2/{$}", auth.Viewer, "Says what the server is", a.serverMetadata),
		get("/v2/models", auth.Viewer, "Lists the models", a.listModels),
		get("/v2/models/stats", auth.Operator, "Says what all models have done", a.statistics),
		post("/v2/repository/index", auth.Viewer, "Lists the versions of the models", a.index),
		post("/v2/repository/models/{model}/load", auth.Operator, "Has a model be served, and looks for a new version of it", a.load),
		post("/v2/repository/models/{model}/unload", auth.Operator, "Has a model not be served", a.unload),
	}
	for _, model := range []struct{ path, of string }{{"/v2/models/{model}", "a model"}, {"/v2/models/{model}/versions/{version}", "a version of a model"}} {
		routes = append(routes,
			get(model.path, auth.Viewer, "Says what "+model.of+" takes and gives", a.modelMetadata),
			get(model.path+"/ready", auth.Viewer, "Tells whether "+model.of+" can predict", a.modelReady),
			get(model.path+"/config", auth.Viewer, "Describes "+model.of+" as Triton's configuration would", a.modelConfig),
			get(model.path+"/stats", auth.Operator, "Says what "+model.of+" has done", a.statistics),
			post(model.path+"/infer", auth.Scorer, "Predicts the rows of tensors with "+model.of, a.inferHTTP),
		)
	}
	return routes
}

func (a *API) live(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, map[string]bool{"live": true})
}

func (a *API) ready(w http.ResponseWriter, r *http.Request) {
	if err := a.models.Ready(); err != nil {
		a.refuse(w, r, err)
		return
	}
	answerJSON(w, map[string]bool{"ready": true})
}

func (a *API) serverMetadata(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, a.aboutServer())
}

func (a *API) aboutServer() oip.ServerMetadata {
	return oip.ServerMetadata{
		Name: platform, Version: a.options.Version,
		Extensions: []string{oip.ExtensionBinary, oip.ExtensionRepository, oip.ExtensionStatistics, "model_configuration"},
	}
}

func (a *API) listModels(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, map[string][]string{"models": a.models.Names()})
}

func (a *API) modelReady(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("model")
	if err := a.models.ModelReady(name, r.PathValue("version")); err != nil {
		a.refuse(w, r, err)
		return
	}
	answerJSON(w, struct {
		Name  string `json:"name"`
		Ready bool   `json:"ready"`
	}{name, true})
}

func (a *API) modelMetadata(w http.ResponseWriter, r *http.Request) {
	about, err := a.aboutModel(r.Context(), r.PathValue("model"), r.PathValue("version"))
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	answerJSON(w, about)
}

// aboutModel describes a version of a model, and lists the versions that there are of it.
func (a *API) aboutModel(ctx context.Context, name, version string) (*oip.ModelMetadata, error) {
	v, err := a.models.Open(ctx, name, version)
	if err != nil {
		return nil, err
	}
	about := &oip.ModelMetadata{Name: v.Name(), Platform: platform}
	about.Inputs, about.Outputs = a.signatures.of(v).metadata(v)
	for _, i := range a.models.Index() {
		if i.Name == v.Name() && i.Version != "" {
			about.Versions = append(about.Versions, i.Version)
		}
	}
	return about, nil
}

// inferHTTP predicts the rows of tensors.
func (a *API) inferHTTP(w http.ResponseWriter, r *http.Request) {
	v, err := a.models.Open(r.Context(), r.PathValue("model"), r.PathValue("version"))
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	body, err := uncompressed(r)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	request, err := oip.DecodeRequest(body, r.Header.Get(oip.HeaderLength), oip.Limits{})
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	response, err := a.infer(r.Context(), v, request)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	answer, length, err := oip.EncodeResponse(nil, response)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if length > 0 {
		h.Set("Content-Type", "application/octet-stream")
		h.Set(oip.HeaderLength, strconv.Itoa(length))
	}
	a.send(w, r, http.StatusOK, answer)
}

// uncompressed returns the body of a request, which is within the limit before and after.
func uncompressed(r *http.Request) ([]byte, error) {
	encoding := r.Header.Get("Content-Encoding")
	if encoding == "" {
		return server.Body(r), nil
	}
	return oip.Decompress(encoding, bytes.NewReader(server.Body(r)), server.MaxBody(r))
}

// infer answers a request of the protocol, by whatever way it came. Where a row has no prediction, none has.
func (a *API) infer(ctx context.Context, v *serve.Version, r *oip.InferRequest) (*oip.InferResponse, error) {
	binary, err := wantedForm(v, r)
	if err != nil {
		return nil, err
	}
	q, err := a.signatures.of(v).question(r, a.now().UnixMilli())
	if err != nil {
		return nil, err
	}
	var rows []serve.Row
	if q.frame != nil {
		rows, err = v.Score(ctx, q.frame)
	} else {
		rows, err = v.Predict(ctx, q.records, serve.PredictOptions{})
	}
	if err != nil {
		return nil, err
	}
	predictions := make([]float64, q.rows)
	for i := range rows {
		if rows[i].Problem != nil {
			return nil, firstProblem(rows, i)
		}
		predictions[i] = rows[i].Prediction
	}
	return &oip.InferResponse{
		Model: v.Name(), Version: v.Version(), ID: r.ID, Parameters: oip.Parameters{"digest": v.Digest()},
		Outputs: []oip.Tensor{{Name: v.Field(), Datatype: oip.FP64, Shape: []int64{int64(q.rows)}, Floats: predictions, Binary: binary}},
	}, nil
}

// wantedForm tells whether the prediction is wanted in binary form, and refuses what is no output of a model.
func wantedForm(v *serve.Version, r *oip.InferRequest) (binary bool, err error) {
	if len(r.Outputs) == 0 {
		return r.BinaryOutput, nil
	}
	for i := range r.Outputs {
		o := &r.Outputs[i]
		switch {
		case o.Name != v.Field():
			return false, tensorError(http.StatusBadRequest, "output %.64q is no output of the model: it has %s", o.Name, v.Field())
		case i > 0:
			return false, tensorError(http.StatusBadRequest, "output %.64q is wanted twice", o.Name)
		}
		for name := range o.Parameters {
			if name == "classification" || name == "shared_memory_region" {
				return false, tensorError(http.StatusNotImplemented, "output %.64q is wanted with %s, which this server does not have", o.Name, name)
			}
		}
	}
	return r.Outputs[0].Binary, nil
}

// firstProblem says of the first row without a prediction why, and how many others have none.
func firstProblem(rows []serve.Row, first int) error {
	more := 0
	for i := first + 1; i < len(rows); i++ {
		if rows[i].Problem != nil {
			more++
		}
	}
	err := rowError(first, rows[first].Problem)
	if more > 0 {
		err = tensorError(http.StatusBadRequest, "%w; and %d more of the %d rows", err, more, len(rows))
	}
	return err
}

// answerJSON answers with a value whose encoding cannot fail.
func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(appendJSON(nil, v), '\n')) // nobody to tell
}

// optionalBody reads the JSON body of a request that may have none.
func optionalBody(r *http.Request, into any) error {
	body, err := uncompressed(r)
	if err != nil || len(bytes.TrimSpace(body)) == 0 {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(into); err != nil {
		return &refusal{http.StatusBadRequest, errors.New("the body is not the JSON object that is expected")}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return &refusal{http.StatusBadRequest, errors.New("something follows the JSON object")}
	}
	return nil
}
