// Package oip has the Open Inference Protocol, version 2, as data: requests for predictions and their answers, and what
// is said of servers and models. It reads and writes them in the protocol's forms, for servers and clients alike:
// JSON, the binary tensor extension, gzip and deflate, and the messages of gRPC. It opens no connection.
//
// What comes from outside is not believed: sizes are compared with [Limits] and with the bytes that are there before
// memory is asked for. Every error is an [*Error], whose text holds names of tensors, positions and sizes, and no value.
//
// The forms are those of the specification of KServe, with the extensions of Triton: binary_tensor_data,
// model_repository, statistics.
package oip
