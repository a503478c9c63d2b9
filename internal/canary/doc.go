// Package canary decides how far a model may go that is let in by steps: a pure function of what its records have come to so far. It
// reads no topic and has no clock.
//
// A candidate predicts a share of the records, which grows by steps. Guards look at what comes of them, as often as one likes:
//
//   - errors: the share of the records that it refuses and the control predicts. What neither can predict is nothing against it.
//   - latency: how many times the control's time it takes for the same rows, in the median of batches.
//   - drift: the share of its predictions that differ by more than a declared part from the control's, for the same records. It needs
//     no labels, and says nothing of which of the two is right: it is there for nonsense. A share, not a mean: one wild prediction does
//     not decide, opposite changes do not cancel, and its test is exact.
//   - loss: by how much its error is above the control's, for the same records, once these have labels.
//
// All of them compare the two models on the same records, so that it does not matter which records the candidate was given.
//
// # What alpha means
//
// Each guard raises its alarm when it is shown that its tolerance is exceeded, by a test that holds at all looks together, and the guards
// share alpha equally (package experiment, Guards); what was seen in one step stays in the next. So the probability that a candidate within
// all tolerances is ever taken back by a guard is alpha at most. For shares and medians that is exact; losses take sums over many
// keys for normal. All evidence is sums, so that it does not matter in which order records were read.
package canary
