// Package report shows a model, a profile, or two profiles beside each other to people: as a page of HTML that needs no other file and
// no script ([Model], [Profile], [Diff]), and as a text for a terminal ([ModelText], [ProfileText], [DiffText]).
//
// The same arguments give the same bytes. Names and texts of the data are untrusted, and shown as [chart.OneLine] says.
// All functions are safe for concurrent use, and change nothing that they are given.
package report
