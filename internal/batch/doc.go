// Package batch is the driver of the data path for files: it trains a model on labelled history, and it predicts the
// records of a file. The path itself is internal/pipeline, the same that a stream runs through.
package batch
