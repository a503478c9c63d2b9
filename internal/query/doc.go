// Package query answers questions about the rows of stores over HTTP: one row, the rows of a range of keys, those of windows.
//
// What is answered is committed: each partition as of one commit, which the answer names. A partition is with one instance of the
// application; whoever of them is asked asks the others for what they have, which it learns from the consumer group. A request
// is passed on once: who gets one that was passed on answers for itself alone.
package query
