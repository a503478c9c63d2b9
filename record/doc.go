// Package record holds the data that flows through millrace: a [Schema] of typed fields, a columnar
// [Batch] of records of one partition or file, and the [Frame] of model inputs that features make of it.
//
// Missing is missing: NaN in a numeric column, [MissingCode] in an enum column, [MissingTime] in a time
// column, and an absent value in a string column; never 0 and never "".
package record
