// Package backtest has the figures of a backtest: what models would have predicted of past records, and how far from the
// labels, period by period. It accumulates them from predictions and labels, and knows nothing of where these come from.
//
// What it answers depends on the records alone, not on their order: sums are exact (internal/stat).
package backtest
