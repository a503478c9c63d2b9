//go:build !mutant_offsets && !mutant_restore

package kafka

import "context"

// Applications that are wrong on purpose, for the e2e tests of stream applications to hold their oracle against: each
// has a build tag that nothing else has.
const (
	mutantOffsets = false // offsets are committed outside of the transaction, as soon as records are read
	mutantRestore = false // changelogs are read to the last stable offset only
)

func (*Session) commitTooEarly(context.Context, []Run) {}
