package api

import "connectrpc.com/connect"

// The encoding of messages that gRPC calls deflate, for clients of tests.
func NewInflater() connect.Decompressor { return newInflater() }
func NewDeflater() connect.Compressor   { return newDeflater() }
