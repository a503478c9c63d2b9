package profile

// Figure writes a number for people, as the words of findings do: three digits, or all of the whole part, in groups of three.
func Figure(x float64) string { return figure(x) }

// Percent writes a share for people: 0.123 is 12.3 %.
func Percent(share float64) string { return percent(share) }
