// Package remote has rows predicted by models that other servers have.
package remote

import (
	"context"
	"fmt"
	"time"

	"millrace.dev/internal/secret"
	"millrace.dev/record"
)

// Protocol is how a server is spoken to.
type Protocol string

// The protocols.
const (
	OIP       Protocol = "oip"       // Open Inference Protocol V2 over HTTP: Triton, KServe, MLServer, millrace serve
	OIPgRPC   Protocol = "oip-grpc"  // the same over gRPC
	Predict   Protocol = "predict"   // POST /predict of millrace serve: the record as it came
	MLflow    Protocol = "mlflow"    // POST /invocations of mlflow models serve, dataframe_split
	SageMaker Protocol = "sagemaker" // POST /invocations of a container, or an endpoint of SageMaker, text/csv
)

// Protocols returns all protocols.
func Protocols() []Protocol { return []Protocol{OIP, OIPgRPC, Predict, MLflow, SageMaker} }

// Options say where a model is and how it is called. It is for [New] to check them.
type Options struct {
	URL      string // scheme http or https, host, port, and a path that goes before that of the protocol
	Protocol Protocol
	Model    string // its name on the server, for protocols that have one
	Version  string // on the server; "" is the one that the server chooses
	Output   string // of the model's outputs, the one that is the prediction, for protocols that name them; "" is the only one
	Tensors  Tensors
	// Timeout is that of a call, from the connection to the last byte of the answer. Default: 1 s
	Timeout time.Duration
	// Retries is how often a call is made again that failed in a way that may pass, before Score gives up; less than 0 is without
	// end. Default: 0
	Retries int
	// Connections bounds the connections to the server. Default: 64
	Connections int
	// Hosts are the names, addresses and networks (CIDR) that may be called: the host of URL is listed by its name, or all addresses
	// that it leads to by themselves or a network. Addresses are checked after the name was resolved, and those that were checked are
	// dialled. Default: the host of URL, wherever it leads. But a name other than localhost that leads to this machine needs the address
	// in Hosts; and what is link-local, a metadata service or no server's address at all is never called.
	Hosts []string
	Token func() (secret.Text, error) // of Authorization: Bearer, read for each call; nil is none
	TLS   TLS
	// Observe is told of each call when it is over, by the goroutine that made it; nil is nobody.
	Observe func(Call)
	Now     func() time.Time // Default: time.Now
	Random  func() float64   // from [0, 1), for the length of pauses; safe for concurrent use. Default: that of math/rand/v2
}

// Call is what one call to the server came to.
type Call struct {
	Rows     int
	Duration time.Duration // from the connection to the last byte of the answer
	Class    Class         // "" is success
	Err      *Error        // nil where Class is ""
	Probe    bool          // whether it asked if the server is well again, or can predict at all
}

// Tensors is how the inputs of a model are put in tensors.
type Tensors string

// The ways: one tensor for each input, of shape [n]; or one of shape [n, inputs], of numbers alone.
const (
	Columns Tensors = "columns"
	Matrix  Tensors = "matrix"
)

// TLS names the files of connections that are encrypted; the system's authorities are believed where there is no CAFile.
type TLS struct{ CAFile, CertFile, KeyFile string }

// Request is what is to be predicted.
type Request struct {
	// Frame has the inputs of the model, of all rows of a batch: the columns say their names, types and levels.
	Frame *record.Frame
	// Rows are those that are wanted, rising.
	Rows []int
	// Value returns the bytes of the record of a row, JSON.
	Value func(row int) []byte
	// Digest is that of the bundle whose inputs these are: a server that says that its model is another bundle is not believed.
	Digest string
	// Trace is the W3C trace context that goes with the call: traceparent, "" is none; tracestate.
	Traceparent, Tracestate string
}

// Answer is what a model says of the rows of a request, in their order.
type Answer struct {
	Scores   []float64         // of a row without a problem, its prediction
	Problems []*record.Problem // of each row, nil where there is none; nil altogether where there are none at all
	Model    string            // as the server calls it, name or name@version; "" where it does not say
}

// Problem returns the problem of the k-th row of the request, or nil.
func (a *Answer) Problem(k int) *record.Problem {
	if k >= len(a.Problems) {
		return nil
	}
	return a.Problems[k]
}

// Model is a model on a server. It is safe for concurrent use.
type Model interface {
	// Score has rows predicted. It tries again what may pass, and returns when that is no use, or ctx has ended. The error is an [*Error].
	//
	// Rows that the server refuses while it predicts others get a problem of the class [Refused] (or [Failed], of rows at which it
	// fails again and again) and the stage score; they are found by halving. A server that refuses everything, or has predicted nothing
	// yet, is not believed: that is a call that has failed, and no row's fault. So call Score with rows that are known to be good first,
	// such as golden rows.
	//
	// With Retries below 0 it returns when it has succeeded or ctx has ended: it waits for a server that is down. Else it returns at once
	// while the server is known to be down.
	Score(ctx context.Context, r *Request) (*Answer, error)
	// Stats returns what was counted so far, and how the server is.
	Stats() Stats
	// Close lets go of connections. Calls under way fail.
	Close()
}

// Stats is what a model has counted since it was made.
type Stats struct {
	State    State
	Since    time.Time        // of the state
	Opened   uint64           // how often the server was given up for a while
	Calls    uint64           // to the server, probes too
	Rows     uint64           // that were predicted
	Refused  uint64           // rows that got a problem because the server refuses them, or fails at them
	Failures map[Class]uint64 // calls that failed
	InFlight int              // calls under way
}

// State is whether a server is called: it is that of a circuit breaker.
type State string

// The states.
const (
	Closed   State = "closed"    // calls are made
	Open     State = "open"      // the server is down: a probe goes to it every second, and nothing else
	HalfOpen State = "half_open" // a probe is under way
)

// Class is what has gone wrong with a call, for counting and for what to do.
type Class string

// The classes. All but Refused may pass.
const (
	Unavailable Class = "remote_unavailable" // no connection, a time-out, 429, 502, 503, 504, half an answer
	Failed      Class = "remote_failed"      // the server has failed: 500
	Invalid     Class = "remote_invalid"     // an answer that is none: shape, type, too large, not the model that was asked for
	Refused     Class = "remote_refused"     // the server says that the request is wrong: 4xx
	Forbidden   Class = "remote_forbidden"   // the address may not be called, or the server does not let us: 401, 403
)

// Error says why a model has not predicted. Its text never holds a value of a record, or a secret.
type Error struct {
	Class Class
	Where string // the server
	Err   error
	Hint  string // what to do about it, or ""

	after time.Duration // how long the server asks to be left alone
}

// Error returns the text.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s: %v", e.Where, e.Class, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
