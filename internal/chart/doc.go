// Package chart draws charts as SVG for a page: lines, histograms, bars, a grid of counts, ranges and sparklines. A chart is a
// text that needs no script, no font and no other file; [Style] has the CSS that gives it colours in light and in dark.
//
// # What holds of every chart
//
// The same values give the same text. Names are untrusted: they are escaped, what a terminal or a browser would obey is
// shown as \u001b, and what is too long is cut with an ellipsis, its whole text being in a title. Values that are not finite
// are left out. No text overlaps another or leaves the picture, whatever the values and names are: widths of texts are
// estimated from those of DejaVu Sans, which is wider than what browsers have for sans-serif. A chart is drawn for a width of
// [Width] pixels, the content of a small phone, and may be scaled up by half. Series are told apart by colour, from the
// palette of Okabe and Ito (2008), and by form: dashes, outlines, places.
package chart
