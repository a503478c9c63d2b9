package remote

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"millrace.dev/internal/oip"
)

// oipCaller speaks the Open Inference Protocol over HTTP.
type oipCaller struct {
	t     *transport
	path  string // of the model
	known knowledge
}

func newOIP(t *transport) *oipCaller {
	path := "/v2/models/" + url.PathEscape(t.o.Model)
	if t.o.Version != "" {
		path += "/versions/" + url.PathEscape(t.o.Version)
	}
	return &oipCaller{t: t, path: path, known: knowledge{now: t.o.Now}}
}

func (c *oipCaller) call(ctx context.Context, r *Request, rows []int) (*Answer, *Error) {
	d, fault := c.known.get(ctx, c.describe)
	if fault != nil {
		return nil, fault
	}
	answer, fault := c.infer(ctx, d, r, rows)
	c.known.heard(fault)
	return answer, fault
}

func (c *oipCaller) infer(ctx context.Context, d *description, r *Request, rows []int) (*Answer, *Error) {
	request, fault := inferRequest(c.t.o, d, r.Frame, rows)
	if fault != nil {
		return nil, fault
	}
	body, jsonLength, err := oip.EncodeRequest(nil, request)
	if err != nil {
		return nil, codecFault("the request cannot be written", err)
	}
	h := headers(r, "application/json", "application/json")
	if jsonLength > 0 {
		h.Set("Content-Type", "application/octet-stream")
		h.Del("Accept")
		h.Set(oip.HeaderLength, strconv.Itoa(jsonLength))
	}
	reply, fault := c.t.post(ctx, c.path+"/infer", h, body, answerLimit(len(rows)))
	if fault != nil {
		return nil, fault
	}
	response, err := oip.DecodeResponse(reply.body, reply.header.Get(oip.HeaderLength), oip.Limits{})
	if err != nil {
		return nil, codecFault("the answer cannot be read", err)
	}
	return inferAnswer(c.t.o, response, len(rows), r.Digest)
}

// describe asks what the server and the model are. Servers need not say: then tensors go as JSON, and numbers as FP64.
func (c *oipCaller) describe(ctx context.Context) (*description, *Error) {
	d := &description{}
	var server oip.ServerMetadata
	if fault := c.get(ctx, "/v2", &server); fault != nil {
		return nil, fault
	}
	var m oip.ModelMetadata
	if fault := c.get(ctx, c.path, &m); fault != nil {
		return nil, fault
	}
	d.server, d.binary, d.inputs = server.Name, slices.Contains(server.Extensions, oip.ExtensionBinary), m.Inputs
	return d, nil
}

// get reads metadata. A server that does not know the path has none.
func (c *oipCaller) get(ctx context.Context, path string, into any) *Error {
	reply, fault := c.t.do(ctx, http.MethodGet, path, http.Header{"Accept": {"application/json"}}, nil, answerBase)
	if fault != nil {
		return silent(fault)
	}
	_ = json.Unmarshal(reply.body, into) // what cannot be read is not known
	return nil
}

// silent returns the fault of a question about metadata if it says something of calls too, and nil where the server only has no answer.
func silent(fault *Error) *Error {
	if fault.Class == Unavailable || fault.Class == Forbidden {
		return fault
	}
	return nil
}

// metadataAge is how old metadata may be when the server refuses a call, before it is asked again: it may serve another model by now.
const metadataAge = 10 * time.Second

// knowledge keeps the description of a server. It is safe for concurrent use.
type knowledge struct {
	now func() time.Time

	mu sync.Mutex
	d  *description
	at time.Time
}

// get returns what is known, which ask finds out first where nothing is.
func (k *knowledge) get(ctx context.Context, ask func(context.Context) (*description, *Error)) (*description, *Error) {
	k.mu.Lock()
	d := k.d
	k.mu.Unlock()
	if d != nil {
		return d, nil
	}
	d, fault := ask(ctx)
	if fault != nil {
		return nil, fault
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.d, k.at = d, k.now()
	return d, nil
}

// heard is told of how a call has ended: after a refusal the server is asked again, now and then.
func (k *knowledge) heard(fault *Error) {
	if fault == nil || fault.Class != Refused && fault.Class != Invalid {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now().Sub(k.at) >= metadataAge {
		k.d = nil
	}
}
