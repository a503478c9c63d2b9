// Package trial judges a running experiment: it adds up the cohorts of its arms, compares the arms, checks that they can be compared at
// all, and says in words what to do. It also plans experiments. The statistics are those of package experiment.
//
// There is no clock in it: the same arguments give the same report. Functions change nothing that they are given, and are safe for
// concurrent use.
package trial
