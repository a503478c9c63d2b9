package oip

import "encoding/json"

// HeaderLength is the header of HTTP that says how many bytes of a body are JSON where tensors in binary form follow it. 0
// says that there is no JSON: the body of a request is then the elements of the only input.
const HeaderLength = "Inference-Header-Content-Length"

// The extensions of the protocol, as the metadata of servers names them.
const (
	ExtensionBinary     = "binary_tensor_data"
	ExtensionRepository = "model_repository"
	ExtensionStatistics = "statistics"
)

// ParameterInputs is a parameter of requests to millrace serve, which is true where the tensors are the inputs of the model, though their
// names are those of fields of records, too.
const ParameterInputs = "millrace_inputs"

// InferRequest asks for predictions.
type InferRequest struct {
	// Model and Version are those in a message of gRPC; over HTTP the path says them, and they stay empty.
	Model, Version string
	ID             string // comes back in the answer
	Parameters     Parameters
	Inputs         []Tensor
	Outputs        []RequestedOutput // none asks for all
	// BinaryOutput asks for all outputs in binary form, but for those of Outputs that say otherwise. Over gRPC it says
	// that the inputs came, or go, as raw contents, and so do the outputs.
	BinaryOutput bool
	// Raw is the body of a request without JSON, and nil for others: the elements of the only input of the model.
	Raw []byte
}

// RequestedOutput names an output that is wanted.
type RequestedOutput struct {
	Name       string
	Binary     bool // the form that is wanted; what the request says of all outputs is taken into account when it is read
	Parameters Parameters
}

// InferResponse is the answer to an InferRequest.
type InferResponse struct {
	Model, Version string
	ID             string
	Parameters     Parameters
	Outputs        []Tensor
}

// ServerMetadata says what a server is.
type ServerMetadata struct {
	Name       string   `json:"name"`
	Version    string   `json:"version"`
	Extensions []string `json:"extensions"`
}

// ModelMetadata says what a model takes and gives.
type ModelMetadata struct {
	Name     string           `json:"name"`
	Versions []string         `json:"versions,omitempty"`
	Platform string           `json:"platform"`
	Inputs   []TensorMetadata `json:"inputs"`
	Outputs  []TensorMetadata `json:"outputs"`
}

// TensorMetadata describes a tensor. A dimension of -1 may have any size. Other servers know datatypes that are none here.
type TensorMetadata struct {
	Name     string   `json:"name"`
	Datatype Datatype `json:"datatype"`
	Shape    []int64  `json:"shape"`
}

// The states of models in an index.
const (
	StateReady       = "READY"
	StateUnavailable = "UNAVAILABLE"
)

// IndexEntry is a version of a model in the index of a repository.
type IndexEntry struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
}

// Statistics say what a server has done since it began.
type Statistics struct {
	Models []ModelStatistics `json:"model_stats"`
}

// ModelStatistics are those of a version of a model.
type ModelStatistics struct {
	Name       string         `json:"name"`
	Version    string         `json:"version"`
	Last       uint64         `json:"last_inference"`  // when the last request came, milliseconds since 1970
	Inferences uint64         `json:"inference_count"` // rows of requests that succeeded
	Executions uint64         `json:"execution_count"` // batches that were computed
	Requests   InferDurations `json:"inference_stats"`
	Batches    []BatchSize    `json:"batch_stats"`
}

// InferDurations are how long the parts of requests took.
type InferDurations struct {
	Success       Duration `json:"success"`
	Fail          Duration `json:"fail"`
	Queue         Duration `json:"queue"`
	ComputeInput  Duration `json:"compute_input"`
	ComputeInfer  Duration `json:"compute_infer"`
	ComputeOutput Duration `json:"compute_output"`
	CacheHit      Duration `json:"cache_hit"`
	CacheMiss     Duration `json:"cache_miss"`
}

// BatchSize are how long batches with this many rows took.
type BatchSize struct {
	Rows          uint64   `json:"batch_size"`
	ComputeInput  Duration `json:"compute_input"`
	ComputeInfer  Duration `json:"compute_infer"`
	ComputeOutput Duration `json:"compute_output"`
}

// Duration is how often something was done, and how long that took altogether.
type Duration struct {
	Count       uint64 `json:"count"`
	Nanoseconds uint64 `json:"ns"`
}

// ErrorBody returns the body of a response that says what is wrong.
func ErrorBody(message string) []byte {
	body, err := json.Marshal(struct {
		Error string `json:"error"`
	}{message})
	if err != nil { // a string has always a form in JSON
		panic(err)
	}
	return body
}
