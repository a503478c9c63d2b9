package cli

import "millrace.dev/internal/chart"

// oneLine returns a text without what a terminal would obey.
func oneLine(s string) string { return chart.OneLine(s) }
