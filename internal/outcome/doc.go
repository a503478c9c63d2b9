// Package outcome has what becomes of predictions once the truth is known: the two kinds of records that `millrace outcomes` writes, and
// the rules by which it joins predictions with labels and adds up cohorts of them. It has no clock, and keeps what it knows in [Rows]
// that its caller commits.
//
// A prediction waits for a label of its key. It is resolved by the first label, in event time, from [Options.Early] before to
// [Options.Horizon] after its own time, in whichever order the two come; a prediction without one expires. Either is an [Outcome], and
// each prediction has one, for good. Outcomes are added up in [Cohort] records by experiment, arm, model and day.
package outcome
