package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"connectrpc.com/connect"
	"millrace.dev/internal/oip"
	"millrace.dev/internal/oip/inference"
)

// grpcCaller speaks the Open Inference Protocol over gRPC.
type grpcCaller struct {
	t      *transport
	client inference.GRPCInferenceServiceClient
	known  knowledge
}

func newGRPC(t *transport) *grpcCaller {
	client := inference.NewGRPCInferenceServiceClient(doer{t}, t.place.String(), connect.WithGRPC())
	return &grpcCaller{t: t, client: client, known: knowledge{now: t.o.Now}}
}

func (c *grpcCaller) call(ctx context.Context, r *Request, rows []int) (*Answer, *Error) {
	ctx = context.WithValue(ctx, callKey{}, callInfo{r, answerLimit(len(rows))})
	d, fault := c.known.get(ctx, c.describe)
	if fault != nil {
		return nil, fault
	}
	answer, fault := c.infer(ctx, d, r, rows)
	c.known.heard(fault)
	return answer, fault
}

func (c *grpcCaller) infer(ctx context.Context, d *description, r *Request, rows []int) (*Answer, *Error) {
	request, fault := inferRequest(c.t.o, d, r.Frame, rows)
	if fault != nil {
		return nil, fault
	}
	request.Model, request.Version = c.t.o.Model, c.t.o.Version
	message, err := oip.RequestMessage(request)
	if err != nil {
		return nil, codecFault("the request cannot be written", err)
	}
	reply, err := c.client.ModelInfer(ctx, message)
	if err != nil {
		return nil, rpcFault(ctx, err)
	}
	response, err := oip.ResponseOf(reply, oip.Limits{})
	if err != nil {
		return nil, codecFault("the answer cannot be read", err)
	}
	return inferAnswer(c.t.o, response, len(rows), r.Digest)
}

// describe asks what the server and the model are.
func (c *grpcCaller) describe(ctx context.Context) (*description, *Error) {
	d := &description{binary: true} // raw contents are a part of the protocol over gRPC
	server, err := c.client.ServerMetadata(ctx, &inference.ServerMetadataRequest{})
	if err != nil {
		if fault := silent(rpcFault(ctx, err)); fault != nil {
			return nil, fault
		}
	}
	d.server = server.GetName()
	m, err := c.client.ModelMetadata(ctx, &inference.ModelMetadataRequest{Name: c.t.o.Model, Version: c.t.o.Version})
	if err != nil {
		if fault := silent(rpcFault(ctx, err)); fault != nil {
			return nil, fault
		}
	}
	for _, in := range m.GetInputs() {
		d.inputs = append(d.inputs, oip.TensorMetadata{Name: in.GetName(), Datatype: oip.Datatype(in.GetDatatype()), Shape: slices.Clone(in.GetShape())})
	}
	return d, nil
}

// callKey is the key of a callInfo in a context: the client of gRPC has no other way for what goes with one call.
type callKey struct{}

type callInfo struct {
	request *Request
	limit   int64 // of the answer's body
}

// doer makes the requests of the gRPC client.
type doer struct{ t *transport }

// Do makes a request. An answer that is not of gRPC, and one that is too large, is an [*Error].
func (d doer) Do(req *http.Request) (*http.Response, error) {
	info, _ := req.Context().Value(callKey{}).(callInfo)
	if fault := d.t.authorize(req, nil); fault != nil {
		return nil, fault
	}
	if info.request != nil && info.request.Traceparent != "" {
		req.Header.Set("Traceparent", info.request.Traceparent)
		if info.request.Tracestate != "" {
			req.Header.Set("Tracestate", info.request.Tracestate)
		}
	}
	resp, err := d.t.RoundTrip(req)
	if err != nil {
		return nil, connectFault(req.Context(), err)
	}
	if resp.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, resp.Body, maxDrain) // what it says is not used
		_ = resp.Body.Close()
		return nil, statusFault(resp.StatusCode, resp.Header, d.t.o.Now())
	}
	resp.Body = &limited{ReadCloser: resp.Body, left: info.limit}
	return resp, nil
}

// limited is a body that fails where it is larger than it may be.
type limited struct {
	io.ReadCloser

	left int64
}

// Read reads what may be read.
func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.ReadCloser.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, invalid("", "%w", errTooLarge)
	}
	return n, err
}

// rpcFault returns the error of a call over gRPC, without what the server says of it: that may hold values of records.
func rpcFault(ctx context.Context, err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	code := connect.CodeOf(err)
	e := &Error{Class: Unavailable, Err: fmt.Errorf("the server answers %s", code)}
	switch {
	case errors.Is(err, errTooLarge):
		e.Class, e.Err = Invalid, errTooLarge
		return e
	case !connect.IsWireError(err) && (ctx.Err() != nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return connectFault(ctx, err)
	case !connect.IsWireError(err) && code != connect.CodeUnavailable:
		return invalid("see if model.serve.protocol is the one that the server speaks", "the answer is none of gRPC (%s)", code)
	}
	switch code {
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeResourceExhausted, connect.CodeAborted, connect.CodeCanceled:
	case connect.CodeUnauthenticated, connect.CodePermissionDenied:
		e.Class, e.Err, e.Hint = Forbidden, fmt.Errorf("%w: %w", errForbidden, e.Err), "see what token or certificate the server wants: model.serve.token_file, model.serve.tls"
	case connect.CodeNotFound, connect.CodeUnimplemented:
		e.Class, e.Hint = Invalid, "the server has no such model, or another protocol: compare model.serve.url, protocol, model and version with it"
	case connect.CodeInvalidArgument, connect.CodeFailedPrecondition, connect.CodeOutOfRange, connect.CodeAlreadyExists:
		e.Class, e.Hint = Refused, "the server's log says what is wrong with the request"
	default:
		e.Class, e.Hint = Failed, "the server's log says what has failed"
	}
	return e
}
