// Package shadow pairs the predictions of two models for the same records, and says how they differ: by how much, how often, where,
// for which records most, and by labels which model is better.
//
// # Pairing
//
// Predictions are paired by the record that led to them. In a topic of predictions the records of one partition of the source that
// went to one partition are in the order of the source, since a key always goes to the same one. So what two topics say of a
// [Stream] is merged as two sorted lists are, and only what one of them is ahead of the other with is held: see [Merger].
//
// # What is exact
//
// Counts, means, standard deviations and the correlation are of all pairs. Quantiles, the histogram, the groups and the rank
// correlation are of a uniform sample of [SampleSize] pairs, which holds all of them where there are no more; the report says which.
//
// There is no clock and no randomness. Values have no locks: each is for one goroutine at a time.
package shadow
