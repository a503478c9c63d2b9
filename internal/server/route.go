package server

import (
	"net/http"

	"millrace.dev/internal/auth"
)

// Route is what a method and a pattern of paths lead to.
type Route struct {
	// Method is the method, such as POST. GET answers HEAD too. It must not be "".
	Method string
	// Pattern is a pattern of paths as net/http has them, without host and method: /v2/models/{model}/infer. A procedure of
	// gRPC is a route of its own, with POST: /inference.GRPCInferenceService/ModelInfer.
	Pattern string
	// Role is who may call it.
	Role auth.Role
	// Summary says in one sentence, without a full stop, what the route does: for the documentation.
	Summary string
	// Handler answers. It finds its variables with r.PathValue, who asks with auth.From(r.Context()), and the body, which was
	// read and is within its limit, with [Body] or in r.Body. The context ends with the time limit of the request.
	Handler http.Handler
	// Light is for what must answer when all else is too busy: it is bound neither by the number of requests that are worked
	// on, nor by the rate of a client. Its handler does next to nothing.
	Light bool
	// Error answers for the server, which refuses a request before it comes to the handler, where clients of the route expect
	// another form than that of [Error]. Headers, such as Retry-After and WWW-Authenticate, are set already. Default: Error.
	Error func(w http.ResponseWriter, r *http.Request, status int, message string)
	// MaxBody bounds the body in bytes. Default: 0, the limit of the server. Negative is no body at all.
	MaxBody int64
}
