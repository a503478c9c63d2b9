// Package window computes aggregates over the recent records of a key: how many payments a card made within the last
// hour, the mean of their amounts, the amount before this one. Training computes them from history and a stream from
// state that it keeps for each key, both by the code here, so that they give the same bits.
//
// A [Spec] declares a window and its aggregates, and [Compile] makes a [Window] of it. A [State] is what the window
// knows of one key. [State.Observe] takes a record: it reads the aggregates, then adds the record. The package is
// pure: no input or output, no clock, no goroutine, no randomness.
//
// # The promise
//
// What a record reads depends on the records of its key that came before it, in the order in which they came, and on
// nothing else: not on other keys, on the partition, on how often or when a state was encoded and decoded, on the
// machine. Whatever keeps the records of a key in their order (a file, a topic with any number of partitions, a
// restart) gives the same bits.
//
// # The window of a record
//
// Time is cut into tiles of the length of a hop: tile i has the event times in (i*hop, (i+1)*hop], counted from 1970.
// The window of a record with event time t has the records of the key with event time in
//
//	(start, t]  where  start = floor((t - size) / hop) * hop
//
// that came before the record. The record itself is not in its window; one with the same time that came earlier is.
// The far end is at the start of a tile, so that a window reaches back by size at least and by less than size + hop
// ("sawtooth windows", as Chronon has them). A record of exactly t - size is not in the window if that is a multiple
// of the hop: with daily times, a window of 7 days has 7 days.
//
// # Late records
//
// The key's time is the highest event time among its records so far, or none. A record is
//
//   - [Added]: its time is the key's time or later. The key's time becomes its time.
//   - [Reordered]: its time is earlier, by the grace at most. It is added to the tile of its time.
//   - [TooLate]: it is more than the grace earlier. It reads, and is not added.
//   - [Untimed]: it has no event time (record.MissingTime). It is not added, and all its aggregates are missing.
//
// For a record that comes late the near end of the window is rounded, too: it reads the tiles up to and including its
// own, as far as their records have arrived, so that it may find records that are up to a hop younger than itself.
// last and difference are exact: they go by the times of the values. A record that comes late is never given to those
// that came before it and should have found it.
//
// Tiles are kept while their number is at least floor((T - size - grace) / hop), where T is the key's time. That is
// all that a record within the grace can ask for. One that is too late reads what of its window is kept, and may find
// less than there was.
//
// A record with a wrong clock, far in the future, moves the key's time: older tiles are dropped, and the records that
// follow are too late until true time has caught up. The package has no clock to tell by. The caller has to give such
// a record the time record.MissingTime, by a limit that both training and the stream apply.
//
// # Aggregates
//
// An aggregate goes over the values of one argument in the window. A missing value (the zero [Value]) is not a value.
// An argument is a number or a text; texts are only counted.
//
//	count              the number of records, also of those whose values are missing
//	count(x)           the number of values
//	sum(x), mean(x)
//	min(x), max(x)
//	variance(x)        of the sample: divided by n - 1; missing for fewer than 2 values. stddev(x) is its square root
//	distinct(x)        the number of different values, of numbers or texts; see below
//	first(x)           the value with the earliest event time
//	last(x, k)         the k-th value back from the record, by event time, k from 1 to 100; lag is another name of it
//	difference(x)      the record's own value less last(x, 1)
//	percentile(x, p)   the value of rank ceil(p * n) among n in ascending order, at least the first, p from 0 to 1
//
// Without a value, count and distinct are 0, and everything else is missing, also the sum: 0 would be a sum that
// nobody has seen, and who wants it writes it down. Among values of one event time, the one that came earlier is
// earlier. A result that is not finite is missing, and so is a sum (and what is made of it) that was not finite on
// the way; an infinite number is a missing value. Zero has no sign.
//
// last finds the 16 + k latest values of the key by event time, of those whose tiles are kept; k is the largest that
// the window declares for x, 1 for difference. So a record that 17 or more younger values overtook may miss them.
//
// distinct is exact as long as no tile of the window has more than 64 different values. A tile with more keeps a
// HyperLogLog of 512 registers, and a window with such a tile is an estimate, with a standard error of 4.6 %, never
// more than count(x). Values are told apart by 64 bits of a hash; see [Text].
//
// percentile is exact as long as no tile of the window has more than 64 different values. A tile with more rounds its
// values to as many leading bits as leave 64 different ones: those are steps within a power of 2 (the floats of equal
// exponent), so that the error adapts to how the values of that tile lie. If they are within a factor of 2 of each
// other, like times in epoch seconds, a value is off by at most 1/32 of the range from their lowest to their highest; if
// they spread over d doublings, by at most about d/64 of itself (those below zero have doublings of their own). The
// percentile is off by no more than the worst of its values. In both cases what is kept does not depend on the order.
//
// # Numbers
//
// A tile adds its values in the order in which they came: the sum by plain addition; mean and squared deviations, for
// variance, by Welford's update. A window merges its tiles from the earliest to the latest, deviations by Chan's
// formula. Nothing is ever subtracted, so that nothing drifts, and no product is fused with a sum. Sums of whole
// numbers are exact up to 2^53; the variance of equal values is 0.
//
// # State
//
// A state holds the tiles that are kept and not empty, and for each tile what the aggregates of each argument need,
// once: sum and mean share. Its size is bounded by the declaration, whatever the number of records. [State.Append]
// and [State.Load] have its bytes; [State.Expired] tells when a key can be forgotten.
package window
