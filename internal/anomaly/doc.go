// Package anomaly says what is odd about data: about its profile alone, and beside that of a reference. It judges figures
// that others have counted, and computes the same from the same figures. What it says never holds more of the data than the
// names of columns, levels and numbers that a profile has.
package anomaly
