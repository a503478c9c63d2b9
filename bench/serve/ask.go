//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	"millrace.dev/internal/oip"
	"millrace.dev/internal/oip/inference"
)

// modelName is the model's name at both servers.
const modelName = "house-prices"

// way is a way to ask a server for predictions.
type way struct {
	name string
	peer bool // of MLServer
	grpc bool
	path string
	kind string // the content type, of HTTP/1.1
	body func(rows []row) (body []byte, jsonLength int, err error)
	// predictions reads what was predicted from the body of an answer; head is that of HTTP/1.1.
	predictions func(head, body []byte, n int) ([]float64, error)
}

const inferPath = "/v2/models/" + modelName + "/infer"

func ways() []way {
	return []way{
		{name: "POST /predict", path: "/predict/" + modelName, kind: "application/json", body: records, predictions: predicted},
		{name: "OIP, HTTP, JSON", path: inferPath, kind: "application/json", body: inputs(false), predictions: tensors},
		{name: "OIP, HTTP, binary", path: inferPath, kind: "application/octet-stream", body: inputs(true), predictions: tensors},
		{name: "OIP, gRPC", grpc: true, body: message(named), predictions: messageFloats},
		{name: "MLServer: OIP, HTTP, JSON", peer: true, path: inferPath, kind: "application/json", body: matrix, predictions: tensors},
		{name: "MLServer: OIP, gRPC", peer: true, grpc: true, body: message(whole), predictions: messageFloats},
	}
}

// records is the body of POST /predict: one record, or a list.
func records(rows []row) ([]byte, int, error) {
	if len(rows) == 1 {
		return rows[0].Record, 0, nil
	}
	list := make([]json.RawMessage, len(rows))
	for i := range rows {
		list[i] = rows[i].Record
	}
	body, err := json.Marshal(list)
	return body, 0, err
}

// named is a request with a tensor for each input of the model.
func named(rows []row, binary bool) *oip.InferRequest {
	r := &oip.InferRequest{BinaryOutput: binary}
	for _, name := range slices.Sorted(maps.Keys(rows[0].Inputs)) {
		t := oip.Tensor{Name: name, Datatype: oip.FP64, Shape: []int64{int64(len(rows))}, Binary: binary}
		for i := range rows {
			switch v := rows[i].Inputs[name].(type) {
			case float64:
				t.Floats = append(t.Floats, v)
			case string:
				t.Datatype, t.Texts = oip.Bytes, append(t.Texts, []byte(v))
			}
		}
		r.Inputs = append(r.Inputs, t)
	}
	return r
}

// whole is a request with one tensor for all inputs: what MLServer's runtime for LightGBM takes.
func whole(rows []row, binary bool) *oip.InferRequest {
	t := oip.Tensor{Name: "rows", Datatype: oip.FP64, Shape: []int64{int64(len(rows)), int64(len(rows[0].Matrix))}, Binary: binary}
	for i := range rows {
		t.Floats = append(t.Floats, rows[i].Matrix...)
	}
	return &oip.InferRequest{BinaryOutput: binary, Inputs: []oip.Tensor{t}}
}

func inputs(binary bool) func([]row) ([]byte, int, error) {
	return func(rows []row) ([]byte, int, error) { return oip.EncodeRequest(nil, named(rows, binary)) }
}

func matrix(rows []row) ([]byte, int, error) { return oip.EncodeRequest(nil, whole(rows, false)) }

// message is a message of gRPC, with raw contents.
func message(of func([]row, bool) *oip.InferRequest) func([]row) ([]byte, int, error) {
	return func(rows []row) ([]byte, int, error) {
		r := of(rows, true)
		r.Model = modelName
		m, err := oip.RequestMessage(r)
		if err != nil {
			return nil, 0, err
		}
		body, err := proto.Marshal(m)
		return body, 0, err
	}
}

// predicted reads the predictions of POST /predict.
func predicted(_, body []byte, n int) ([]float64, error) {
	var one struct {
		Price *float64 `json:"predicted_price"`
	}
	if n == 1 {
		if err := json.Unmarshal(body, &one); err != nil || one.Price == nil {
			return nil, fmt.Errorf("no prediction in %.200q", body)
		}
		return []float64{*one.Price}, nil
	}
	var many struct {
		Predictions []struct {
			Record struct {
				Price float64 `json:"predicted_price"`
			} `json:"record"`
		} `json:"predictions"`
	}
	if err := json.Unmarshal(body, &many); err != nil {
		return nil, err
	}
	var out []float64
	for _, p := range many.Predictions {
		out = append(out, p.Record.Price)
	}
	return out, nil
}

// tensors reads the predictions of an answer of the protocol over HTTP.
func tensors(head, body []byte, _ int) ([]float64, error) {
	r, err := oip.DecodeResponse(body, headerOf(head, oip.HeaderLength), oip.Limits{})
	if err != nil {
		return nil, err
	}
	if len(r.Outputs) != 1 {
		return nil, fmt.Errorf("%d outputs", len(r.Outputs))
	}
	return r.Outputs[0].Floats, nil
}

// headerOf returns the value of a header of an answer, or "".
func headerOf(head []byte, name string) string {
	for line := range bytes.Lines(head) {
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(key, []byte(name)) {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// messageFloats reads the predictions of an answer over gRPC, raw or not.
func messageFloats(_, body []byte, _ int) ([]float64, error) {
	m := &inference.ModelInferResponse{}
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, err
	}
	switch {
	case len(m.Outputs) != 1:
		return nil, fmt.Errorf("%d outputs", len(m.Outputs))
	case len(m.RawOutputContents) == 1:
		var out []float64
		for b := m.RawOutputContents[0]; len(b) >= 8; b = b[8:] {
			out = append(out, math.Float64frombits(binary.LittleEndian.Uint64(b)))
		}
		return out, nil
	}
	return m.Outputs[0].GetContents().GetFp64Contents(), nil
}

// question is a request that is ready to be sent, with what its answer has to say.
type question struct {
	wire     []byte // what is written: of HTTP/1.1 with the head, of gRPC the message with its prefix
	expected []float64
}

// questions makes requests of n rows each out of all rows.
func (w *way) questions(address string, rows []row, n int) ([]question, error) {
	var out []question
	for part := range slices.Chunk(rows, n) {
		body, jsonLength, err := w.body(part)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		q := question{}
		for i := range part {
			q.expected = append(q.expected, part[i].Expected)
		}
		if w.grpc {
			q.wire = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
		} else {
			q.wire = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n", w.path, address, w.kind, len(body))
			if jsonLength > 0 {
				q.wire = append(q.wire, oip.HeaderLength+": "+strconv.Itoa(jsonLength)+"\r\n"...)
			}
			q.wire = append(append(q.wire, "\r\n"...), body...)
		}
		out = append(out, q)
	}
	return out, nil
}

var errOther = errors.New("another prediction than LightGBM's")

// check compares an answer with what LightGBM predicts, bit by bit.
func (w *way) check(q *question, head, body []byte) error {
	got, err := w.predictions(head, body, len(q.expected))
	if err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	if !slices.Equal(got, q.expected) {
		return fmt.Errorf("%s: %w: %.5v, want %.5v", w.name, errOther, got, q.expected)
	}
	return nil
}
