// Package stat has the accumulators that fitted features and profiles need: exact sums and moments, samples with
// their quantiles, counts of texts, estimates of how many texts differ, and minimum-description-length cuts.
//
// # Merging
//
// What an accumulator answers depends on the rows that it has seen, not on their order nor on how they were cut into
// parts: parts that were filled apart and merged, in any order and grouping, give the same bits as one accumulator
// that saw all rows. So training gives the same model on any number of threads. Sums are exact, samples go by a hash
// of the row's number, and everything else is made of integers.
//
// # Common rules
//
// Memory is bounded, whatever is added; each type says how. Numbers that are not finite are ignored: a missing value
// is no value. Accumulators have no locks: each is for one goroutine at a time. Merge leaves its argument as it is,
// and panics where the two were made for different settings, which no data can bring about. An answer changes nothing
// that a later Add, Merge or answer would tell.
package stat
