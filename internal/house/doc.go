// Package house makes synthetic house sales that resemble those of King County, Washington, in May to July
// 2014: as many as one likes, the same ones for the same seed on every machine, and with a known noise, so
// that one can tell how good a model of them is from how good a model can be.
//
// It also plays the producer that somebody wrote without looking at the data, whose houses are right in form and nothing
// else: see [Generator.Mock].
//
// Every number in the package is a fitted summary figure (a share, a quantile, a coefficient); no sale, no
// address and no owner of a real house is in it.
package house
