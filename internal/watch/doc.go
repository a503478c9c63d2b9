// Package watch collects what there is to know of the records of a window, from all the parts in which they are processed,
// and says when a window is over.
//
// A [Tally] counts batches, beside others; a [Part] is what one partition has counted since it last said so; a [Board] merges
// the parts of all partitions, in any order, and gives out each window once. Package profile counts; what is said of a
// window is the business of others. Nothing here has a clock, or does input or output.
package watch
