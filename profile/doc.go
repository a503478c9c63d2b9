// Package profile says what data looks like, and whether other data looks different.
//
// A [Profile] holds, for each column, how many values are missing, their range, mean and deviation, and how often each
// level, or each bin of numbers, came. The bins are frozen when a model is trained: a [Counter] then counts records of
// any other data into the same bins, in whole numbers, so that counters of parts merge in any order to what the whole
// would have given, bit for bit. Every distance between two distributions is computed of such counts alone.
package profile
