// Package metrics shows a running engine over HTTP: its counters for Prometheus, its health, and its topology with live
// rates.
package metrics
