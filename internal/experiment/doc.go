// Package experiment has the statistics of comparisons between models: accumulators, tests that may be looked at as often as one
// likes, tests at a size that was planned, and the decisions that are taken from them. docs/statistics.md says what holds when.
//
// # Common rules
//
// There is no clock and no randomness: the answers depend on what was added alone. Memory is bounded, and none of it grows with
// the records. Values have no locks: each is for one goroutine at a time, and a copy has its own state. What is not a finite number,
// or lies beyond [MostLoss], is refused with an error: no answer is made of it.
//
// # Words
//
// A unit is what is assigned to an arm (a key, say a customer); it may have several records. The control is the arm that the others
// (treatments) are compared with. Losses are better the smaller they are, so a difference, treatment minus control, below 0 says that
// the treatment is better.
package experiment
