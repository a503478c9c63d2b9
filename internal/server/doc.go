// Package server is an HTTP server for clients that are not trusted. What a client may do and how much of the server it can
// hold is decided here, once for all routes: who it is and which role a route needs, how large, slow and many its requests
// can be, what of them is logged, and how they end when the process does. It knows nothing of models.
//
// HTTP/1.1, HTTP/2 and HTTP/2 without TLS (by prior knowledge, as gRPC clients speak it) are answered by one listener, and
// gRPC goes by the same routes, roles and limits as everything else.
package server
