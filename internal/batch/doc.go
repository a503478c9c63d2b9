// Package batch is the driver of the data path for data that has an end, files and ranges of topics: it trains a model
// on labelled history, and it predicts records. The path itself is internal/pipeline, the same that a stream runs through.
package batch
