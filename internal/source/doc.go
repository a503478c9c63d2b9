// Package source opens data that can be read more than once: a file of CSV, of JSON lines or of Parquet, many files by
// a pattern, or a range of a topic. It gives raw records for [record.Batch], and knows nothing of what they mean: what
// is not CSV already becomes a JSON object, so that all of it goes through the decoders that a stream goes through.
package source
