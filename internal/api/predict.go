package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"millrace.dev/codec"
	"millrace.dev/internal/auth"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/serve"
	"millrace.dev/internal/server"
	"millrace.dev/record"
)

// The headers of the answer to a single record, beside which there is nothing but the record.
const (
	headerModel  = "Millrace-Model"
	headerDigest = "Millrace-Digest"
	headerChecks = "Millrace-Checks"
)

func (a *API) predictRoutes() []server.Route {
	handler := http.HandlerFunc(a.predict)
	route := func(pattern, summary string) server.Route {
		return server.Route{Method: http.MethodPost, Pattern: pattern, Role: auth.Scorer, Summary: summary, Handler: handler}
	}
	return []server.Route{
		route("/predict", "Predicts records with the first model"),
		route("/predict/{model}", "Predicts records with a model"),
		route("/predict/{model}/versions/{version}", "Predicts records with a version of a model"),
	}
}

// asked is what a request wants to be predicted.
type asked struct {
	records []record.Raw
	single  bool // the body is the record, and so is the answer
	explain bool
}

// refusal is a request that cannot be understood.
type refusal struct {
	status int
	err    error
}

func (e *refusal) Error() string { return e.err.Error() }
func (e *refusal) Unwrap() error { return e.err }

// predict answers with the records and their predictions.
func (a *API) predict(w http.ResponseWriter, r *http.Request) {
	in, err := a.asked(r)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	v, err := a.models.Open(r.Context(), r.PathValue("model"), r.PathValue("version"))
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	if in.explain && !v.Explains() {
		a.refuse(w, r, &refusal{http.StatusNotImplemented, fmt.Errorf("%s has no golden rows beside which its predictions could be explained", v.Ref())})
		return
	}
	rows, err := v.Predict(r.Context(), in.records, serve.PredictOptions{Explain: in.explain})
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	if in.single {
		a.answerOne(w, r, v, &rows[0])
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set(headerModel, v.Ref())
	h.Set(headerDigest, v.Digest())
	a.send(w, r, http.StatusOK, batchAnswer(v, rows))
}

// asked reads a request. Its body is kept.
func (a *API) asked(r *http.Request) (*asked, error) {
	in := &asked{}
	var err error
	if in.explain, err = flag(r, "explain"); err != nil {
		return nil, err
	}
	lines, err := isLines(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	body, err := uncompressed(r)
	if err != nil {
		return nil, err
	}
	var list [][]byte
	switch {
	case lines:
		list, err = splitLines(body)
	case isList(body):
		list, err = splitList(body)
	case skipSpace(body, 0) == len(body):
		err = errNoRecord
	default:
		list, in.single = [][]byte{body}, true
	}
	switch {
	case errors.Is(err, errManyRecords):
		return nil, &refusal{http.StatusRequestEntityTooLarge, err}
	case err != nil:
		return nil, &refusal{http.StatusBadRequest, err}
	}
	// A request has no time of its own: where the model takes that of the record, as of now is what it asks for.
	at := a.now().UnixMilli()
	in.records = make([]record.Raw, len(list))
	for i, value := range list {
		in.records[i] = record.Raw{Value: value, Offset: int64(i), Timestamp: at}
	}
	return in, nil
}

// flag reads a parameter of the query that is true or false; it is false where it is not there.
func flag(r *http.Request, name string) (bool, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, &refusal{http.StatusBadRequest, fmt.Errorf("%s is true or false", name)}
	}
	return on, nil
}

// isLines tells whether a content type is that of JSON objects, one a line. What is no JSON is refused; no type, and the one that curl
// sends on its own, stand for JSON.
func isLines(contentType string) (bool, error) {
	if contentType == "" {
		return false, nil
	}
	kind, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
	case kind == "application/x-ndjson", kind == "application/ndjson", kind == "application/jsonl", kind == "application/x-jsonlines":
		return true, nil
	case kind == "application/json", strings.HasSuffix(kind, "+json"), kind == "application/x-www-form-urlencoded":
		return false, nil
	}
	return false, &refusal{http.StatusUnsupportedMediaType, errors.New("want Content-Type: application/json, or application/x-ndjson for one record a line")}
}

// answerOne answers with the record itself, or with why it has no prediction.
func (a *API) answerOne(w http.ResponseWriter, r *http.Request, v *serve.Version, row *serve.Row) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set(headerModel, v.Ref())
	h.Set(headerDigest, v.Digest())
	if row.Checks != "" {
		h.Set(headerChecks, row.Checks)
	}
	status, out := http.StatusOK, row.Output
	switch {
	case row.Problem != nil:
		status = http.StatusUnprocessableEntity
		out = append([]byte(`{"error":`), appendJSON(nil, "the record cannot be predicted: "+row.Problem.Reason)...)
		out = appendProblem(append(out, ','), row.Problem)
		out = append(out, '}')
	case row.Explanation != nil:
		out = appendRow(nil, row)
	}
	a.send(w, r, status, out)
}

// batchAnswer returns the answer to a list of records.
func batchAnswer(v *serve.Version, rows []serve.Row) []byte {
	size := 256
	for i := range rows {
		size += len(rows[i].Output) + 64
	}
	dst := append(make([]byte, 0, size), `{"predictions":[`...)
	for i := range rows {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendRow(dst, &rows[i])
	}
	dst = append(dst, `],"model":`...)
	dst = appendJSON(dst, v.Ref())
	dst = append(dst, `,"digest":`...)
	dst = appendJSON(dst, v.Digest())
	return append(dst, '}')
}

// appendRow appends what became of a record. The record goes in byte for byte: it was decoded, so that it is JSON.
func appendRow(dst []byte, row *serve.Row) []byte {
	if row.Problem != nil {
		return append(appendProblem(append(dst, '{'), row.Problem), '}')
	}
	dst = append(dst, `{"record":`...)
	dst = append(dst, row.Output...)
	if row.Checks != "" {
		dst = append(dst, `,"checks":`...)
		dst = appendJSON(dst, strings.Split(row.Checks, ","))
	}
	if row.Explanation != nil {
		dst = append(dst, `,"explanation":`...)
		dst = appendExplanation(dst, row.Explanation)
	}
	return append(dst, '}')
}

// problem is a [record.Problem] as answers have it.
type problem struct {
	Stage  string `json:"stage"`
	Class  string `json:"class"`
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
}

func appendProblem(dst []byte, p *record.Problem) []byte {
	return appendJSON(append(dst, `"problem":`...), problem(*p))
}

// appendExplanation appends what the inputs add to a prediction.
func appendExplanation(dst []byte, e *pipeline.Attribution) []byte {
	dst = codec.AppendFloat(append(dst, `{"prediction":`...), e.Prediction)
	dst = codec.AppendFloat(append(dst, `,"baseline":`...), e.Expected)
	dst = append(dst, `,"inputs":[`...)
	for i := range e.Inputs {
		in := &e.Inputs[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSON(append(dst, `{"name":`...), in.Name)
		dst = append(dst, `,"value":`...)
		switch {
		case in.Missing:
			dst = append(dst, "null"...)
		case in.Enum:
			dst = appendJSON(dst, in.Level)
		default:
			dst = appendNumber(dst, in.Number)
		}
		dst = appendNumber(append(dst, `,"adds":`...), in.Adds)
		dst = append(dst, '}')
	}
	return append(dst, "]}"...)
}

// appendNumber appends a number; JSON has none that is not finite.
func appendNumber(dst []byte, v float64) []byte {
	if !pipeline.Finite(v) {
		return appendJSON(dst, strconv.FormatFloat(v, 'g', -1, 64))
	}
	return codec.AppendFloat(dst, v)
}

// appendJSON appends a value whose encoding cannot fail. Characters that mean something in HTML stay as they are.
func appendJSON(dst []byte, v any) []byte {
	b := bytes.NewBuffer(dst)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("api: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
