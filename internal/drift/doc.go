// Package drift says what windows that were judged mean: which columns have moved away from the training data, since when,
// what that does to the predictions, whether labels confirm that the model has become worse, and what to do.
//
// It is pure: it gets windows with their findings, and what is known of the model, and gives figures and words. The same
// windows give the same report. The rules of its recommendation are in advice.go, and in docs/drift.md for users.
package drift
