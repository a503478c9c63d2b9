// Package gbm trains and scores gradient boosted regression trees on histograms.
//
// # Model
//
// A [Forest] predicts link(initial value + the sum of one leaf value per tree). Training minimises the squared
// error of the label, or of its logarithm. The names and the meaning of [Params] are H2O's; where they differ,
// the field says so. Trees are grown until max_depth, one node at a time: as no limit is set on the number of
// leaves, the order in which nodes are split does not matter.
//
// Numeric inputs are binned once, at global quantiles, into at most 255 bins. A split is `x <= threshold` goes
// left, where the threshold lies half way between two values of the training data. Enum inputs have one bin a
// level, up to nbins_cats; beyond that, rare levels that are neighbours in byte order share a bin. A split of an
// enum sends a set of levels to the left: levels are sorted by the mean residual of their rows in the node, and
// the best cut of that order is taken. For squared error that is the best of all subsets, unless min_rows rules
// it out (Fisher 1958; Breiman, Friedman, Olshen and Stone 1984, section 8.8). With levels of few rows the best
// of all subsets is one that knows single rows by heart: cat_min_rows, cat_smooth and cat_l2 hold it back.
//
// [New] makes a forest of what another system has grown. Such a forest can have more than training makes: the logistic
// link, sums of single precision, and splits for which zeros are missing.
//
// # Missing values
//
// A missing value (NaN, or code -1) goes to the side that lowers the error more; numeric inputs also try missing
// against everything else. Where the rows of a node have no missing value, missing goes with the majority of
// them, to the left if there is none. A level that is not in the training data is missing, in training and in
// scoring; a level of the training data that has no row in the node goes where missing goes.
//
// # Reproducibility
//
// The same data and parameters give the same forest, bit for bit, for any number of threads and on any
// architecture. Residuals are turned into integers by a power of two that changes with each tree, and all sums
// over rows that decide splits and leaf values are sums of integers; the remaining sums run in a fixed order.
// The order of the columns and the order of the levels of an enum do not matter either: ties between inputs go
// to the name that is first in byte order, then to the lowest threshold, then to missing on the right; ties
// between levels go by their text.
//
// # Memory
//
// With n rows, training takes 32 bytes a row, 2 bytes per row and input with at most 255 bins, and 2 bytes per
// row and input with more (enums only), besides the caller's frame; a validation set takes 8 bytes a row.
// A histogram takes 2 KB per input (8 bytes a bin where there are more than 255 bins); max_depth + 1 of them
// live at once, and one more per thread.
package gbm
